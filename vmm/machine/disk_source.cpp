#include "vmm/machine/disk_source.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <system_error>
#include <utility>

#include "block/image_mark.h"
#include "block/open.h"
#include "vmm/base/log.h"
#include "vmm/base/unique_fd.h"
#include "vmm/machine/image_options.h"

namespace vmm {
namespace {

// What is not there is found out when it is opened.
Status check_block_source(const domain::Disk& disk) {
  std::error_code error;
  const auto status = std::filesystem::status(disk.source, error);
  if (disk.source_type == domain::DiskSource::kBlock && std::filesystem::exists(status) &&
      !std::filesystem::is_block_file(status)) {
    return fail_configuration(
        "<source dev=…>: {} is no block device; write <disk type='file'> and <source file=…>",
        disk.source.native());
  }
  return {};
}

}  // namespace

Result<block::DiskOptions> disk_options(const domain::Disk& disk, const DiskSecrets& secrets) {
  block::DiskOptions options = to_block(disk);
  if (disk.secret) {
    VMM_ASSIGN_OR_RETURN(auto passphrase, passphrase_of(disk, secrets));
    options.passphrases = {std::move(passphrase)};
  }
  return options;
}

Result<OpenedSource> open_source(EventLoop& loop, const domain::Disk& disk,
                                 const block::DiskOptions& options) {
  VMM_TRY(check_block_source(disk));
  OpenedSource source;
  if (disk.device == domain::DiskDevice::kCdrom && disk.format == domain::ImageFormat::kRaw) {
    VMM_ASSIGN_OR_RETURN(source.boot, check_disc(disk.source));
  }
  VMM_ASSIGN_OR_RETURN(source.image, block::open_disk(loop, options));
  // A commit at the end writes to it too.
  const bool is_written = !disk.read_only && (!disk.transient || disk.is_committed);
  VMM_TRY(block::check_marks(source.image->layers(), is_written));
  if (is_written && !options.is_trial && !disk.transient) {
    if (const Status marked = block::mark_use(source.image->layers()); !marked) {
      log::warning("{}", marked.error().message());
    }
  }
  if (disk.logical_block_bytes != 0 && source.image->size_bytes() % disk.logical_block_bytes != 0) {
    return fail("its {} bytes are no multiple of logical_block_size='{}'; the guest could not read its end",
                source.image->size_bytes(), disk.logical_block_bytes);
  }
  return source;
}

bool begins_as_qcow2(const std::filesystem::path& file) {
  constexpr std::array<char, 4> kMagic = {'Q', 'F', 'I', '\xfb'};
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  UniqueFd fd(::open(file.c_str(), kFlags | O_NOATIME));
  if (!fd) {
    fd = UniqueFd(::open(file.c_str(), kFlags));  // of another user
  }
  std::array<char, 4> bytes{};
  return fd && ::pread(fd.get(), bytes.data(), bytes.size(), 0) == ssize_t{bytes.size()} && bytes == kMagic;
}

bool is_there(const std::filesystem::path& file) {
  std::error_code error;
  return std::filesystem::status(file, error).type() != std::filesystem::file_type::not_found;
}

}  // namespace vmm
