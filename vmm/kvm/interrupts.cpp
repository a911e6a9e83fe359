// The wires of Vm: level lines (KVM_IRQ_LINE), edges and messages (irqfd), and the routing table behind them.
#include <linux/kvm.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "vmm/base/check.h"
#include "vmm/base/log.h"
#include "vmm/kvm/kvm_lists.h"
#include "vmm/kvm/vm.h"

namespace vmm {

class Vm::LevelLine final : public InterruptLine {
 public:
  LevelLine(const Vm& vm, uint32_t gsi) : vm_(vm), gsi_(gsi) {}
  void set(bool level) override {
    // Held across the ioctl, so that the kernel sees the levels in the order in which they were set.
    const MutexLock lock(mutex_);
    if (std::exchange(level_, level) == level) {
      return;
    }
    kvm_irq_level request{};
    request.irq = gsi_;
    request.level = level ? 1 : 0;
    VMM_CHECK(kvm_ioctl(vm_.fd(), KVM_IRQ_LINE, &request) >= 0, "KVM_IRQ_LINE failed");
  }

 private:
  const Vm& vm_;
  const uint32_t gsi_;
  Mutex mutex_;
  bool level_ VMM_GUARDED_BY(mutex_) = false;
};

class Vm::EdgeLine final : public InterruptLine {
 public:
  explicit EdgeLine(EventFd event) : event_(std::move(event)) {}
  void set(bool level) override {
    if (level) {
      event_.signal();
    }
  }
  const EventFd& event() const { return event_; }

 private:
  EventFd event_;
};

class Vm::Vector final : public MsiVector {
 public:
  Vector(Vm& vm, EventFd event, uint32_t gsi) : vm_(vm), event_(std::move(event)), gsi_(gsi) {}
  ~Vector() override {
    if (is_bound_) {
      const Status status = vm_.bind_irqfd(event_, gsi_, KVM_IRQFD_FLAG_DEASSIGN);
      VMM_CHECK(status.has_value(), "an irqfd was lost");
    }
    vm_.free_gsi(gsi_);
  }
  Vector(const Vector&) = delete;
  Vector& operator=(const Vector&) = delete;

  void set_message(const MsiMessage& message) override {
    if (is_bound_ && message == message_) {
      return;
    }
    Status status = vm_.set_msi_route(gsi_, message);
    if (status && !is_bound_) {
      status = vm_.bind_irqfd(event_, gsi_, 0);
      is_bound_ = status.has_value();
    }
    if (!status && limit_.allows()) {
      // The guest wrote a message that KVM cannot route: its own interrupts are lost, nothing else.
      log::warning("MSI vector not set up: {}", status.error().message());
    }
    message_ = message;
  }
  void signal() override { event_.signal(); }
  const EventFd* event() const override { return &event_; }

 private:
  Vm& vm_;
  EventFd event_;
  const uint32_t gsi_;
  MsiMessage message_;
  bool is_bound_ = false;
  log::RateLimit limit_;
};

std::unique_ptr<InterruptLine> Vm::make_level_line(uint32_t gsi) {
  return std::make_unique<LevelLine>(*this, gsi);
}

Result<std::unique_ptr<InterruptLine>> Vm::make_edge_line(uint32_t gsi) {
  VMM_ASSIGN_OR_RETURN(EventFd event, EventFd::create());
  auto line = std::make_unique<EdgeLine>(std::move(event));
  VMM_TRY(bind_irqfd(line->event(), gsi, 0));
  return line;
}

Result<std::unique_ptr<MsiVector>> Vm::make_vector() {
  VMM_ASSIGN_OR_RETURN(EventFd event, EventFd::create());
  VMM_ASSIGN_OR_RETURN(const uint32_t gsi, allocate_gsi());
  return std::make_unique<Vector>(*this, std::move(event), gsi);
}

Status Vm::bind_irqfd(const EventFd& event, uint32_t gsi, uint32_t flags) {
  kvm_irqfd request{};
  request.fd = static_cast<uint32_t>(event.fd());
  request.gsi = gsi;
  request.flags = flags;
  if (kvm_ioctl(fd(), KVM_IRQFD, &request) < 0) {
    return fail("KVM refuses an irqfd for interrupt {}: {}", gsi, errno_text(errno));
  }
  return {};
}

Result<uint32_t> Vm::allocate_gsi() {
  const MutexLock lock(routes_mutex_);
  const auto free_place = std::ranges::find(gsi_in_use_, false);
  if (free_place == gsi_in_use_.end()) {
    return fail("the machine has no interrupt vectors left ({} are in use)", gsi_in_use_.size());
  }
  *free_place = true;
  return static_cast<uint32_t>(free_place - gsi_in_use_.begin());
}

void Vm::free_gsi(uint32_t gsi) {
  const MutexLock lock(routes_mutex_);
  gsi_in_use_[gsi] = false;
  std::erase_if(routes_, [gsi](const auto& entry) { return entry.gsi == gsi; });
  const Status status = apply_routes();
  VMM_CHECK(status.has_value(), "KVM refused a shorter routing table");
}

Status Vm::set_msi_route(uint32_t gsi, const MsiMessage& message) {
  kvm_irq_routing_entry entry{};
  entry.gsi = gsi;
  entry.type = KVM_IRQ_ROUTING_MSI;
  entry.u.msi.address_lo = static_cast<uint32_t>(message.address);
  entry.u.msi.address_hi = static_cast<uint32_t>(message.address >> 32);
  entry.u.msi.data = message.data;

  const MutexLock lock(routes_mutex_);
  const auto place = std::ranges::find(routes_, gsi, &kvm_irq_routing_entry::gsi);
  if (place == routes_.end()) {
    routes_.push_back(entry);
    Status status = apply_routes();
    if (!status) {
      routes_.pop_back();
    }
    return status;
  }
  const kvm_irq_routing_entry before = std::exchange(*place, entry);
  Status status = apply_routes();
  if (!status) {
    *place = before;
  }
  return status;
}

Status Vm::apply_routes() {
  KvmList<kvm_irq_routing_entry> table{std::span<const kvm_irq_routing_entry>(routes_)};
  if (kvm_ioctl(fd(), kKvmSetGsiRouting, table.argument()) < 0) {
    return fail("KVM refuses the interrupt routing table: {}", errno_text(errno));
  }
  return {};
}

}  // namespace vmm
