#include "vmm/machine/throwaway_disk.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <system_error>
#include <utility>

#include "block/commit.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/log.h"
#include "vmm/base/size.h"

namespace vmm {
namespace {

namespace fs = std::filesystem;

std::string mib_of(const ThrowawayDisk& disk) {
  constexpr double kMiB = 1 << 20;
  const uint64_t bytes = disk.file->allocated_bytes();
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes - std::min(bytes, disk.bytes_at_start)) / kMiB);
}

// Beside the base, or where the overlay was to be.
fs::path name_to_save(const ThrowawayDisk& disk) {
  const fs::path base = disk.base->path;
  return disk.file->folder() / fmt::format("{}.uncommitted-{}", base.filename().native(), ::getpid());
}

// Where the name is taken meanwhile it gets another one.
Status keep(const ThrowawayDisk& disk) {
  const Status kept = disk.file->keep(disk.kept_as);
  if (kept) {
    return kept;
  }
  const fs::path other = fmt::format("{}.{}-{}", disk.kept_as.native(), disk.target, ::getpid());
  return disk.file->keep(other) ? fail("{}; what the guest wrote to {} is kept in {}", kept.error().message(),
                                       disk.target, other.native())
                                : kept;
}

// All of the overlay may be new to the base. A file that has all of its space needs none.
Status check_room(const ThrowawayDisk& disk) {
  struct stat info{};
  struct statvfs system{};
  const std::string& base = disk.base->path;
  if (::stat(base.c_str(), &info) != 0 || !S_ISREG(info.st_mode) || ::statvfs(base.c_str(), &system) != 0) {
    return {};
  }
  constexpr uint64_t kStatBlockBytes = 512;
  const bool is_whole =
      disk.base->format == block::Format::kRaw &&
      static_cast<uint64_t>(info.st_blocks) * kStatBlockBytes >= static_cast<uint64_t>(info.st_size);
  const uint64_t wanted = disk.file->allocated_bytes();
  const uint64_t free = system.f_bavail * system.f_frsize;
  if (!is_whole && wanted > free) {
    return fail("{} cannot take it: up to {} may be needed, and its file system has {} free", base,
                size_text(wanted), size_text(free));
  }
  return {};
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
  Status merged = check_room(disk);
  merged = merged ? merge(disk, saved) : merged;
  if (!merged) {
    return fail("{}; what the guest wrote to {} is kept in {} (vmm-img commit -f qcow2)",
                merged.error().message(), disk.target, saved.native());
  }
  std::error_code error;
  if (!fs::remove(saved, error)) {
    log::warning("{} is committed, and cannot be removed: {}", saved.native(), error.message());
  }
  return {};
}

}  // namespace

Status finish_throwaway(std::span<const ThrowawayDisk> disks, const std::string& why_not_to_commit,
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
      note(keep(disk), fmt::format("what the guest wrote to {} is kept in {} ({})", disk.target,
                                   disk.kept_as.native(), mib));
    } else if (disk.base && why_not_to_commit.empty()) {
      note(commit(disk), fmt::format("what the guest wrote to {} is committed to {} ({})", disk.target,
                                     disk.base->path, mib));
    } else {
      thrown_away += fmt::format("{}{} of {}", thrown_away.empty() ? "" : ", ", mib, disk.target);
      reason = disk.base ? fmt::format(" ({}, so that nothing is committed)", why_not_to_commit) : reason;
    }
  }
  if (!thrown_away.empty()) {
    tell(fmt::format("what the guest wrote is thrown away: {}{}", thrown_away, reason));
  }
  return first_failure;
}

}  // namespace vmm
