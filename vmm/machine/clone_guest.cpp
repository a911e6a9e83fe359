#include "vmm/machine/clone_guest.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "block/image_lock.h"
#include "block/new_file.h"
#include "block/new_overlay.h"
#include "vmm/base/unique_fd.h"
#include "vmm/domain/clone_text.h"
#include "vmm/domain/load.h"
#include "vmm/machine/image_options.h"

namespace vmm {
namespace {

namespace fs = std::filesystem;

// Of version 4, variant 1 (RFC 9562, section 5.4).
Result<std::array<uint8_t, 16>> random_uuid() {
  std::array<uint8_t, 16> uuid{};
  if (::getrandom(uuid.data(), uuid.size(), 0) != ssize_t{uuid.size()}) {
    return fail("the host gives no random numbers for a uuid: {}", errno_text(errno));
  }
  uuid[6] = static_cast<uint8_t>((uuid[6] & 0x0fU) | 0x40U);
  uuid[8] = static_cast<uint8_t>((uuid[8] & 0x3fU) | 0x80U);
  return uuid;
}

// Absolute, and without links or dots in the way: it will be read from elsewhere. The file itself may be a
// link.
fs::path settled(const fs::path& path) {
  std::error_code error;
  const fs::path folder = fs::weakly_canonical(fs::absolute(path).parent_path(), error);
  return error ? fs::absolute(path) : folder / path.filename();
}

Status refuse_existing(const fs::path& path) {
  std::error_code error;
  if (fs::exists(fs::symlink_status(path, error))) {
    return fail_configuration("{}: there is such a file already, and vmm does not write over it",
                              path.native());
  }
  return {};
}

// Opening it would tell too, with advice for guests that run beside each other.
Status refuse_written_to(const fs::path& image) {
  const UniqueFd fd(::open(image.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd && !block::lock_image(fd, image, block::ImageUse::kRead)) {
    return fail(
        "{} is in use; a guest must be off while it is cloned: shut it down, or what else writes to it",
        image.native());
  }
  return {};
}

Status write_text(const std::string& path, std::string_view text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  while (fd && !text.empty()) {
    const ssize_t count = ::write(fd.get(), text.data(), text.size());
    if (count < 0 && errno != EINTR) {
      break;
    }
    text.remove_prefix(count < 0 ? 0 : static_cast<size_t>(count));
  }
  return text.empty() ? Status() : fail("{} cannot be written: {}", path, errno_text(errno));
}

// Files that have got their names, until all of them have.
class NamedFiles {
 public:
  NamedFiles() = default;
  NamedFiles(const NamedFiles&) = delete;
  NamedFiles& operator=(const NamedFiles&) = delete;
  ~NamedFiles() {
    for (const fs::path& path : paths_) {
      ::unlink(path.c_str());
    }
  }

  Status keep(block::NewFile& file, const fs::path& path) {
    VMM_TRY(file.keep(false));
    paths_.push_back(path);
    return {};
  }
  void commit() { paths_.clear(); }

 private:
  std::vector<fs::path> paths_;
};

class Cloning {
 public:
  Cloning(domain::Domain domain, domain::CloneText clone, const DiskSecrets& secrets)
      : domain_(std::move(domain)), clone_(std::move(clone)), secrets_(secrets) {}

  // All that takes long comes first, so that a file that is half made is there for a moment only. Then all
  // files come about, then all of them get their names: that of the domain file last.
  Status make(const fs::path& new_file) {
    VMM_TRY(check(new_file));
    std::vector<block::NewOverlay> prepared;
    for (const domain::CloneText::Overlay& each : clone_.overlays) {
      VMM_ASSIGN_OR_RETURN(block::NewOverlay overlay, prepare(each));
      prepared.push_back(std::move(overlay));
    }
    std::vector<block::NewFile> overlays;
    for (const block::NewOverlay& each : prepared) {
      VMM_ASSIGN_OR_RETURN(block::NewFile overlay, each.make());
      overlays.push_back(std::move(overlay));
    }
    VMM_ASSIGN_OR_RETURN(block::NewFile file, block::NewFile::create(new_file));
    VMM_TRY(write_text(file.path(), clone_.text));
    NamedFiles named;
    for (size_t i = 0; i < overlays.size(); ++i) {
      VMM_TRY(named.keep(overlays[i], clone_.overlays[i].path));
    }
    VMM_TRY(named.keep(file, new_file));
    named.commit();
    return {};
  }

  std::string report(const fs::path& new_file) const {
    std::string text;
    for (const auto& [disk, path] : clone_.overlays) {
      text += fmt::format("{}: {} stands on {}\n", domain_.disks[disk].target, path.native(),
                          base_of(disk).native());
    }
    for (const domain::Disk& disk : domain_.disks) {
      if (!disk.source.empty() && !has_overlay(disk)) {
        text += fmt::format("{}: {} is shared with {}\n", disk.target, settled(disk.source).native(),
                            domain_.name);
      }
    }
    for (const auto& [from, to] : clone_.serial_ports) {
      text += fmt::format("serial port: {} in place of {}\n", to.native(), from.native());
    }
    text += fmt::format("domain file: {}\n", new_file.native());
    if (!clone_.overlays.empty()) {
      text += fmt::format(
          "What clones stand on must not change any more: run {} only with --ephemeral from now on\n",
          domain_.name);
    }
    return text;
  }

 private:
  // What the text is for the reader of domain files, and what is there already.
  Status check(const fs::path& new_file) const {
    VMM_TRY(refuse_existing(new_file));
    for (const domain::CloneText::Overlay& each : clone_.overlays) {
      VMM_TRY(refuse_existing(each.path));
    }
    for (const domain::CloneText::Moved& each : clone_.serial_ports) {
      VMM_TRY(refuse_existing(each.to));
    }
    const domain::Reading reading =
        domain::parse_domain(clone_.text, new_file.native(), new_file.parent_path());
    for (const domain::Diagnostic& each : reading.diagnostics) {
      if (each.severity == domain::Severity::kError) {
        return fail_configuration("{}", domain::to_line(each));
      }
    }
    return {};
  }

  Result<block::NewOverlay> prepare(const domain::CloneText::Overlay& wanted) const {
    const domain::Disk& disk = domain_.disks[wanted.disk];
    auto prepared = prepare_disk(wanted, disk);
    return prepared ? std::move(prepared)
                    : std::unexpected(prepared.error().within(
                          fmt::format("{}: <disk> {}", domain_.where(disk.line), disk.target)));
  }

  Result<block::NewOverlay> prepare_disk(const domain::CloneText::Overlay& wanted,
                                         const domain::Disk& disk) const {
    block::NewOverlay::Options overlay{.path = wanted.path, .base = to_block(disk)};
    overlay.base.path = base_of(wanted.disk);
    VMM_TRY(refuse_written_to(base_of(wanted.disk)));
    if (disk.secret) {
      VMM_ASSIGN_OR_RETURN(overlay.passphrase, passphrase_of(disk, secrets_));
      overlay.base.passphrases = {overlay.passphrase};
    }
    return block::NewOverlay::prepare(overlay);
  }

  fs::path base_of(size_t disk) const { return settled(domain_.disks[disk].source); }

  bool has_overlay(const domain::Disk& disk) const {
    for (const domain::CloneText::Overlay& each : clone_.overlays) {
      if (&domain_.disks[each.disk] == &disk) {
        return true;
      }
    }
    return false;
  }

  domain::Domain domain_;
  domain::CloneText clone_;
  const DiskSecrets& secrets_;
};

}  // namespace

Result<std::string> clone_guest(const CloneRequest& request) {
  VMM_ASSIGN_OR_RETURN(const std::string text, domain::read_domain_file(request.domain_file));
  VMM_ASSIGN_OR_RETURN(domain::Domain domain, domain::load_domain_text(text, request.domain_file));
  const fs::path old_folder = settled(request.domain_file).parent_path();
  const fs::path new_file =
      request.new_file.empty() ? old_folder / (request.name + ".xml") : settled(request.new_file);
  domain::CloneOptions options{
      .name = request.name, .old_folder = old_folder, .new_folder = new_file.parent_path()};
  VMM_ASSIGN_OR_RETURN(options.uuid, random_uuid());
  VMM_ASSIGN_OR_RETURN(domain::CloneText clone, domain::clone_domain_text(text, domain, options));
  Cloning cloning(std::move(domain), std::move(clone), request.secrets);
  VMM_TRY(cloning.make(new_file));
  return cloning.report(new_file);
}

}  // namespace vmm
