#include "vmm/machine/throwaway_disk.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <system_error>
#include <utility>

#include "block/commit.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/log.h"

namespace vmm {
namespace {

namespace fs = std::filesystem;

std::string mib_of(const ThrowawayDisk& disk) {
  constexpr double kMiB = 1 << 20;
  const uint64_t bytes = disk.file->allocated_bytes();
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes - std::min(bytes, disk.bytes_at_start)) / kMiB);
}

// Beside the base, where nothing is yet.
fs::path name_to_save(const ThrowawayDisk& disk) {
  const fs::path base = disk.base->path;
  std::string name = fmt::format("{}.uncommitted-{}", base.filename().native(), ::getpid());
  return (disk.file->folder().empty() ? base.parent_path() : disk.file->folder()) / name;
}

Status merge(const ThrowawayDisk& disk, const fs::path& saved) {
  VMM_ASSIGN_OR_RETURN(std::unique_ptr<EventLoop> loop, EventLoop::create());
  const block::DiskOptions overlay{
      .path = saved, .format = block::Format::kQcow2, .passphrases = disk.base->passphrases};
  return block::commit(std::move(loop), overlay, *disk.base);
}

// It has a name meanwhile: whatever happens, nothing is lost, and a commit that is cut short can be done
// again.
Status commit(const ThrowawayDisk& disk) {
  const fs::path saved = name_to_save(disk);
  VMM_TRY(disk.file->keep(saved));
  if (const Status merged = merge(disk, saved); !merged) {
    return fail("{}; what the guest wrote to {} is kept in {} (qemu-img commit)", merged.error().message(),
                disk.target, saved.native());
  }
  std::error_code error;
  if (!fs::remove(saved, error)) {
    log::warning("{} is committed, and cannot be removed: {}", saved.native(), error.message());
  }
  return {};
}

}  // namespace

Status finish_throwaway(std::span<const ThrowawayDisk> disks, bool is_clean_end,
                        const std::function<void(const std::string&)>& tell) {
  std::string thrown_away;
  std::string reason;
  Status first_failure;
  const auto note = [&](const Status& done, const std::string& text) {
    if (done) {
      tell(text);
    } else if (first_failure) {
      first_failure = done;
    } else {
      tell(done.error().message());
    }
  };
  for (const ThrowawayDisk& disk : disks) {
    const std::string mib = mib_of(disk);
    if (!disk.kept_as.empty()) {
      note(disk.file->keep(disk.kept_as), fmt::format("what the guest wrote to {} is kept in {} ({})",
                                                      disk.target, disk.kept_as.native(), mib));
    } else if (disk.base && is_clean_end) {
      note(commit(disk), fmt::format("what the guest wrote to {} is committed to {} ({})", disk.target,
                                     disk.base->path, mib));
    } else {
      thrown_away += fmt::format("{}{} of {}", thrown_away.empty() ? "" : ", ", mib, disk.target);
      reason = disk.base ? " (it has not switched itself off, so that nothing is committed)" : reason;
    }
  }
  if (!thrown_away.empty()) {
    tell(fmt::format("what the guest wrote is thrown away: {}{}", thrown_away, reason));
  }
  return first_failure;
}

}  // namespace vmm
