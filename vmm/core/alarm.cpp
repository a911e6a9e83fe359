#include "vmm/core/alarm.h"

#include <utility>

#include "vmm/base/check.h"

namespace vmm {
namespace {

class LoopAlarm final : public Alarm {
 public:
  static Result<std::unique_ptr<Alarm>> create(EventLoop& loop) {
    auto alarm = std::make_unique<LoopAlarm>();
    LoopAlarm* raw = alarm.get();
    VMM_ASSIGN_OR_RETURN(alarm->timer_, loop.make_timer([raw] { raw->handler_(); }));
    return alarm;
  }

  void set_handler(std::function<void()> handler) override {
    VMM_CHECK(!handler_, "an alarm has one handler");
    handler_ = std::move(handler);
  }
  void arm(std::chrono::nanoseconds delay) override { timer_.arm(delay); }
  void disarm() override { timer_.disarm(); }

 private:
  std::function<void()> handler_;
  EventLoop::Timer timer_;
};

}  // namespace

Result<std::unique_ptr<Alarm>> make_loop_alarm(EventLoop& loop) { return LoopAlarm::create(loop); }

}  // namespace vmm
