// The interrupt lines and message-signalled vectors that devices under test drive.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "vmm/core/interrupt.h"

namespace vmm {

class FakeLine final : public InterruptLine {
 public:
  void set(bool new_level) override {
    if (new_level && !level.exchange(true)) {
      ++rises;
    } else if (!new_level) {
      level = false;
    }
  }

  std::atomic<bool> level{false};
  std::atomic<int> rises{0};
};

// Vectors in the order in which they were taken. The sink outlives the devices that use it.
class FakeMsiSink final : public MsiSink {
 public:
  struct Vector {
    MsiMessage message;
    int messages_set = 0;
    std::atomic<int> signals{0};
    EventFd event = *EventFd::create();  // for who goes by it
  };

  Result<std::unique_ptr<MsiVector>> make_vector() override {
    if (is_exhausted) {
      return fail("no vectors left");
    }
    vectors.push_back(std::make_unique<Vector>());
    return std::make_unique<Handle>(*vectors.back());
  }

  // Signals of all vectors whose message has this data.
  int signals(uint32_t data) const {
    int sum = 0;
    for (const auto& vector : vectors) {
      sum += vector->message.data == data ? vector->signals.load() : 0;
    }
    return sum;
  }

  bool is_exhausted = false;
  std::vector<std::unique_ptr<Vector>> vectors;

 private:
  class Handle final : public MsiVector {
   public:
    explicit Handle(Vector& vector) : vector_(vector) {}
    void set_message(const MsiMessage& message) override {
      vector_.message = message;
      ++vector_.messages_set;
    }
    void signal() override { ++vector_.signals; }
    const EventFd* event() const override { return &vector_.event; }

   private:
    Vector& vector_;
  };
};

}  // namespace vmm
