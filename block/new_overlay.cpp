#include "block/new_overlay.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "block/crypto/luks.h"
#include "block/image_file.h"
#include "block/image_mark.h"
#include "block/open.h"
#include "block/sync_file.h"

namespace vmm::block {
namespace {

Status encrypt_overlay(const Secret& passphrase, qcow2::CreateOptions& create) {
  VMM_ASSIGN_OR_RETURN(NewLuks luks, format_luks_for({}, kLuksTime, passphrase));
  create.crypt = qcow2::CryptMethod::kLuks;
  create.crypto_header = std::move(luks.bytes);
  return {};
}

}  // namespace

Result<NewOverlay> NewOverlay::prepare(const Options& options) {
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::symlink_status(options.path, error))) {
    return fail("{}: there is such a file already, and it is not written over", options.path);
  }
  DiskOptions base = options.base;
  base.read_only = true;
  base.discard = DiscardMode::kIgnore;
  NewOverlay overlay;
  overlay.path_ = options.path;
  VMM_ASSIGN_OR_RETURN(overlay.loop_, EventLoop::create());
  VMM_ASSIGN_OR_RETURN(overlay.base_, open_disk(*overlay.loop_, base));
  VMM_TRY(check_marks(overlay.base_->layers(), /*is_written=*/true));  // a clone is of what there is now
  overlay.create_.size_bytes = overlay.base_->size_bytes();
  overlay.create_.backing_file = std::filesystem::absolute(base.path);
  overlay.create_.backing_format = base.format == Format::kRaw ? "raw" : "qcow2";
  if (options.passphrase != nullptr) {
    VMM_TRY(encrypt_overlay(*options.passphrase, overlay.create_));
  }
  return overlay;
}

Result<NewFile> NewOverlay::make() const {
  VMM_ASSIGN_OR_RETURN(NewFile file, NewFile::create(path_));
  VMM_ASSIGN_OR_RETURN(const ImageFile image, open_image_file({.path = file.path(), .for_guest = false}));
  VMM_TRY(qcow2::create(*make_sync_file(image.files.main, file.path()), create_));
  return file;
}

}  // namespace vmm::block
