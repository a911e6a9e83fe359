#include "block/tool/disk.h"

#include <chrono>
#include <optional>
#include <utility>

#include "block/open.h"

namespace vmm::block::tool {
namespace {

std::string_view status_text(IoStatus status) {
  switch (status) {
    case IoStatus::kOk:
      return "done";
    case IoStatus::kIoError:
      return "the host or the image failed";
    case IoStatus::kNoSpace:
      return "there is no space left";
    case IoStatus::kOutOfRange:
      return "it is past the end";
    case IoStatus::kReadOnly:
      return "it is read-only";
    case IoStatus::kUnsupported:
      return "the image cannot do that";
  }
  return "";
}

}  // namespace

Result<std::unique_ptr<Disk>> Disk::open(const DiskOptions& options) {
  VMM_ASSIGN_OR_RETURN(auto loop, EventLoop::create());
  std::unique_ptr<Disk> disk(new Disk(std::move(loop)));
  DiskOptions wanted = options;
  wanted.for_guest = false;
  VMM_ASSIGN_OR_RETURN(disk->device_, open_disk(*disk->loop_, wanted));
  disk->path_ = options.path;
  return disk;
}

Status Disk::read(uint64_t offset, std::span<std::byte> to) {
  const iovec buffer{.iov_base = to.data(), .iov_len = to.size()};
  std::optional<IoStatus> result;
  BlockRequest request;
  request.op = BlockOp::kRead;
  request.offset = DiskOffset(offset);
  request.length_bytes = to.size();
  request.buffers = std::span(&buffer, 1);
  request.completion =
      Completion([](void* context, uint64_t /*cookie*/,
                    IoStatus status) { *static_cast<std::optional<IoStatus>*>(context) = status; },
                 &result, 0);
  device_->submit(std::move(request));
  while (!result) {
    loop_->run_once(std::chrono::seconds(1));
  }
  if (*result != IoStatus::kOk) {
    return fail("{}: the {} bytes at offset {} cannot be read: {}", path_, to.size(), offset,
                status_text(*result));
  }
  return {};
}

}  // namespace vmm::block::tool
