#include "block/copy/disk.h"

#include <chrono>
#include <optional>
#include <utility>

#include "block/open.h"

namespace vmm::block {

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

Result<std::unique_ptr<Disk>> Disk::open(const DiskOptions& options, std::shared_ptr<EventLoop> loop) {
  if (loop == nullptr) {
    VMM_ASSIGN_OR_RETURN(loop, EventLoop::create());
  }
  std::unique_ptr<Disk> disk(new Disk(std::move(loop)));
  DiskOptions wanted = options;
  wanted.for_guest = false;
  VMM_ASSIGN_OR_RETURN(disk->device_, open_disk(*disk->loop_, wanted));
  disk->path_ = options.path;
  return disk;
}

Disk::~Disk() {
  if (device_ != nullptr) {
    static_cast<void>(drain(*loop_, *device_, std::chrono::hours(1)));
  }
}

Result<BlockRun> Disk::map(uint64_t offset, uint64_t length) {
  BlockMap* const map = device_->block_map();
  if (map == nullptr) {
    return BlockRun{.kind = BlockRun::Kind::kKnown, .length = length, .is_present = true, .is_data = true};
  }
  struct Waiting {
    bool is_told = false;
    IoStatus status = IoStatus::kOk;
  };
  Waiting waiting;
  Waiter waiter{.wake =
                    [](Waiter& told, IoStatus status) {
                      *static_cast<Waiting*>(told.context) = {.is_told = true, .status = status};
                    },
                .context = &waiting};
  BlockRun run = map->map(DiskOffset(offset), length, waiter);
  while (run.kind == BlockRun::Kind::kWait) {
    while (!waiting.is_told) {
      loop_->run_once(std::chrono::seconds(1));
    }
    waiting.is_told = false;
    run = waiting.status == IoStatus::kOk
              ? map->map(DiskOffset(offset), length, waiter)
              : BlockRun{.kind = BlockRun::Kind::kError, .status = waiting.status};
  }
  if (run.kind == BlockRun::Kind::kError) {
    return fail("{}: what is at offset {} cannot be told: {}", path_, offset, status_text(run.status));
  }
  return run;
}

IoStatus Disk::run(BlockOp op, uint64_t offset, uint64_t length, std::span<const iovec> buffers) {
  std::optional<IoStatus> result;
  BlockRequest request;
  request.op = op;
  request.offset = DiskOffset(offset);
  request.length_bytes = length;
  request.buffers = buffers;
  request.completion =
      Completion([](void* context, uint64_t /*cookie*/,
                    IoStatus status) { *static_cast<std::optional<IoStatus>*>(context) = status; },
                 &result, 0);
  device_->submit(std::move(request));
  while (!result) {
    loop_->run_once(std::chrono::seconds(1));
  }
  return *result;
}

Status Disk::read(uint64_t offset, std::span<std::byte> to) {
  const iovec buffer{.iov_base = to.data(), .iov_len = to.size()};
  const IoStatus status = run(BlockOp::kRead, offset, to.size(), std::span(&buffer, 1));
  if (status != IoStatus::kOk) {
    return fail("{}: the {} bytes at offset {} cannot be read: {}", path_, to.size(), offset,
                status_text(status));
  }
  return {};
}

}  // namespace vmm::block
