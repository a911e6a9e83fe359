#include "vmm/console/shared_console.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "vmm/console/stream_console.h"

namespace vmm {

// Who is attached, if anybody is.
class AttachedConsole final : public StreamConsole {
 public:
  AttachedConsole(EventLoop& loop, const std::string& name)
      : StreamConsole(loop, "who is attached to " + name) {}
  ~AttachedConsole() override = default;

  using StreamConsole::detach;
  using StreamConsole::is_attached;
  using StreamConsole::start;

  Status attach_socket(UniqueFd socket) {
    UniqueFd second(::fcntl(socket.get(), F_DUPFD_CLOEXEC, 3));
    if (!second) {
      return fail("cannot duplicate a socket: {}", errno_text(errno));
    }
    attach(StreamEnd(std::move(socket)), StreamEnd(std::move(second)));
    return {};
  }

 private:
  void handle_end_of_input() override { detach(); }
  void handle_end_of_output() override { detach(); }
  bool holds_back() const override { return false; }
};

SharedConsole::SharedConsole(EventLoop& loop, std::string name, std::unique_ptr<Console> own,
                             std::unique_ptr<Console> log)
    : loop_(loop), name_(std::move(name)), own_(std::move(own)), log_(std::move(log)) {}

SharedConsole::~SharedConsole() = default;

size_t SharedConsole::write(std::span<const std::byte> bytes) {
  const size_t taken = own_->write(log_ == nullptr ? bytes : bytes.first(log_->room_for(bytes.size())));
  if (log_ != nullptr) {
    log_->write(bytes.first(taken));
  }
  if (AttachedConsole* const attached = attached_.load(std::memory_order_acquire)) {
    attached->write(bytes.first(taken));
  }
  return taken;
}

size_t SharedConsole::room_for(size_t bytes) {
  return own_->room_for(log_ == nullptr ? bytes : log_->room_for(bytes));
}

void SharedConsole::input_room() {
  own_->input_room();
  if (AttachedConsole* const attached = attached_.load(std::memory_order_acquire)) {
    attached->input_room();
  }
}

void SharedConsole::connect(ByteReceiver& receiver) {
  receiver_ = &receiver;
  own_->connect(receiver);
  if (log_ != nullptr) {
    log_->connect(receiver);
  }
}

Status SharedConsole::begin() {
  VMM_TRY(own_->begin());
  return log_ == nullptr ? Status() : log_->begin();
}

void SharedConsole::flush() {
  own_->flush();
  if (log_ != nullptr) {
    log_->flush();
  }
  if (attached_owner_ != nullptr) {
    attached_owner_->flush();
  }
}

bool SharedConsole::is_attached() const {
  return attached_owner_ != nullptr && attached_owner_->is_attached();
}

Status SharedConsole::attach(UniqueFd socket) {
  if (attached_owner_ == nullptr) {
    auto made = std::make_unique<AttachedConsole>(loop_, name_);
    VMM_TRY(made->start());
    made->connect(*receiver_);
    attached_owner_ = std::move(made);
    attached_.store(attached_owner_.get(), std::memory_order_release);
  }
  return attached_owner_->attach_socket(std::move(socket));
}

void SharedConsole::detach() {
  if (attached_owner_ != nullptr) {
    attached_owner_->detach();
  }
}

}  // namespace vmm
