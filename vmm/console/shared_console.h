// SharedConsole: a console of the domain to which somebody can attach while the guest runs (`vmm ctl
// console`), and which may have a log (<log>).
//
// What the guest writes goes to the console's own end, to the log and to who is attached; what is typed at
// either end goes to the guest. The own end and the log hold the guest's output back as consoles do
// (console.h); who is attached never does: what he does not read in time is lost to him.
//
// Threads: as Console; what is of this class alone is the loop's thread's.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/unique_fd.h"
#include "vmm/console/console.h"

namespace vmm {

class AttachedConsole;

class SharedConsole final : public Console {
 public:
  // name: for the log, as "serial port 0". own: what the domain names. log: null where it names none.
  SharedConsole(EventLoop& loop, std::string name, std::unique_ptr<Console> own,
                std::unique_ptr<Console> log = nullptr);
  ~SharedConsole() override;
  SharedConsole(const SharedConsole&) = delete;
  SharedConsole& operator=(const SharedConsole&) = delete;

  size_t write(std::span<const std::byte> bytes) override;
  size_t room_for(size_t bytes) override;
  void input_room() override;
  void connect(ByteReceiver& receiver) override;
  Status begin() override;
  void flush() override;
  std::string host_end() const override { return own_->host_end(); }

  bool is_attached() const;
  // A stream socket, non-blocking, until its other side closes it. REQUIRES: nobody is attached; connected.
  Status attach(UniqueFd socket);
  // Whoever is attached is cut off.
  void detach();

 private:
  EventLoop& loop_;
  const std::string name_;
  const std::unique_ptr<Console> own_;
  const std::unique_ptr<Console> log_;
  ByteReceiver* receiver_ = nullptr;
  // Made when somebody first attaches; it stays, for the threads that write.
  std::unique_ptr<AttachedConsole> attached_owner_;
  std::atomic<AttachedConsole*> attached_{nullptr};
};

}  // namespace vmm
