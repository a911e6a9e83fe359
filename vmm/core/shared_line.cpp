#include "vmm/core/shared_line.h"

#include "vmm/base/check.h"

namespace vmm {

class SharedLine::Input final : public InterruptLine {
 public:
  Input(SharedLine& owner, uint64_t mask) : owner_(owner), mask_(mask) {}
  void set(bool level) override { owner_.set_input(mask_, level); }

 private:
  SharedLine& owner_;
  uint64_t mask_;
};

std::unique_ptr<InterruptLine> SharedLine::make_input() {
  VMM_CHECK(input_count_ < kMaxInputs, "too many devices on one interrupt line");
  return std::make_unique<Input>(*this, uint64_t{1} << input_count_++);
}

void SharedLine::set_input(uint64_t mask, bool level) {
  {
    const MutexLock lock(mutex_);
    high_inputs_ = level ? high_inputs_ | mask : high_inputs_ & ~mask;
    driver_.request(high_inputs_ != 0);
  }
  driver_.publish();
}

}  // namespace vmm
