// Engine: moves bytes between memory and files. It knows nothing of formats, alignment or guests.
//
// Threads: an engine belongs to one EventLoop; all of it is called on that loop's thread (before run()
// starts, on the thread that made the loop), and every done runs there, never from within submit(). It must
// be gone before its loop is, with nothing in flight.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "block/engine/file_operation.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"

namespace vmm::block {

enum class EngineKind : uint8_t { kIoUring, kThreads };

class Engine {
 public:
  virtual ~Engine() = default;

  // The loop's engine of that kind, made when first asked for and shared by the loop's disks, so that a turn
  // of the loop costs one system call whatever their number. Where the host does not allow io_uring, the
  // thread pool is given instead, with one warning.
  static Result<std::shared_ptr<Engine>> for_loop(EventLoop& loop, EngineKind kind);

  virtual EngineKind kind() const = 0;

  // Takes the operation, which stays alive and in place until its done is called; exactly once. There is no
  // limit: those that do not fit wait their turn.
  virtual void submit(FileOperation& operation) = 0;

  // Calls the operation's done with `status` at the next turn of the loop, and does nothing else.
  virtual void finish_later(FileOperation& operation, IoStatus status) = 0;

  // Operations taken and not yet done.
  virtual uint32_t in_flight() const = 0;
};

}  // namespace vmm::block
