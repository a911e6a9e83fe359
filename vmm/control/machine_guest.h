// MachineGuest: a Machine as the control socket sees it.
#pragma once

#include "vmm/base/event_loop.h"
#include "vmm/control/guest.h"
#include "vmm/machine/machine.h"

namespace vmm::control {

class MachineGuest final : public Guest {
 public:
  // loop: that which the machine runs. REQUIRES: all outlive it.
  MachineGuest(const domain::Domain& domain, Machine& machine, EventLoop& loop)
      : domain_(domain), machine_(machine), loop_(loop) {}

  const domain::Domain& domain() const override { return domain_; }
  State state() const override;
  std::vector<Drive> drives() const override;
  std::vector<int> vcpu_threads() const override { return machine_.vcpu_threads(); }
  MachineStatistics statistics() const override { return machine_.statistics(); }
  std::vector<ConsoleInfo> consoles() const override { return machine_.consoles(); }
  std::vector<InterfaceInfo> interfaces() const override { return machine_.interfaces(); }
  void watch_filter(std::string_view interface) override { machine_.watch_filter(interface); }
  Status set_link(std::string_view name, bool is_up) override { return machine_.set_link(name, is_up); }
  std::vector<PciFunctionInfo> pci_functions() const override { return machine_.pci_functions(); }
  void set_observer(std::function<void(const MachineEvent&)> observer) override {
    machine_.set_observer(std::move(observer));
  }
  Status pause() override { return machine_.pause(); }
  Status go_on() override { return machine_.go_on(); }
  void press_nmi() override { machine_.press_nmi(); }
  // As QEMU, what these two bring about comes behind the answer to who asked for it.
  void power_down() override {
    loop_.post([this] { machine_.press_power_button(); });
  }
  void reset() override { machine_.press_reset_button(); }
  void quit() override {
    loop_.post([this] { machine_.quit(MachineEvent::Cause::kHostCommand); });
  }
  std::optional<Throwaway> throwaway() const override;
  void set_throwaway_limit(std::optional<uint64_t> bytes) override { machine_.set_throwaway_limit(bytes); }
  void set_actions(const MachineActionChange& change) override { machine_.set_actions(change); }
  Status boot_once_from(std::string_view device) override { return machine_.boot_once_from(device); }
  DiskJobs* disk_jobs() override { return machine_.disk_jobs(); }
  Status set_limits(std::string_view device, const std::optional<domain::IoTune>& limits) override {
    return machine_.disks().set_limits(device, limits);
  }
  Status free_console(std::string_view device, bool is_forced) override;
  Status attach_to_console(std::string_view device, UniqueFd socket) override;
  Result<Opened> open_tray(std::string_view device, bool is_forced) override;
  Status close_tray(std::string_view device) override { return machine_.disks().close_tray(device); }
  Status remove_disc(std::string_view device) override { return machine_.disks().remove_disc(device); }
  Status insert_disc(std::string_view device, const std::filesystem::path& file,
                     std::optional<domain::ImageFormat> format) override {
    return machine_.disks().insert_disc(device, file, format);
  }
  Status change_disc(std::string_view device, const std::filesystem::path& file,
                     std::optional<domain::ImageFormat> format, bool is_forced) override {
    return machine_.disks().change_disc(device, file, format, is_forced);
  }

 private:
  const domain::Domain& domain_;
  Machine& machine_;
  EventLoop& loop_;
};

}  // namespace vmm::control
