// Machine: one virtual machine, from power-on to its end.
//
// Threads: made, run and destroyed by the main thread. Members are declared in the order in which they are
// needed, so that they go in the reverse: vCPUs stop, then I/O is drained and images are flushed, then
// devices, then memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/log.h"
#include "vmm/base/mapping.h"
#include "vmm/core/cpu_entry.h"
#include "vmm/core/guest_memory.h"
#include "vmm/core/io_bus.h"
#include "vmm/domain/domain.h"
#include "vmm/kvm/cpuid.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/balloon.h"
#include "vmm/machine/console_info.h"
#include "vmm/machine/console_names.h"
#include "vmm/machine/disks.h"
#include "vmm/machine/firmware.h"
#include "vmm/machine/isa_interrupts.h"
#include "vmm/machine/machine_actions.h"
#include "vmm/machine/machine_disk_jobs.h"
#include "vmm/machine/machine_event.h"
#include "vmm/machine/machine_statistics.h"
#include "vmm/machine/network.h"
#include "vmm/machine/pc_chipset.h"
#include "vmm/machine/pci_info.h"
#include "vmm/machine/platform.h"
#include "vmm/machine/restart_pace.h"
#include "vmm/machine/thread_pins.h"
#include "vmm/machine/vcpu_thread.h"
#include "vmm/machine/virtio_extras.h"
#include "vmm/machine/virtio_places.h"
#include "vmm/machine/watchdog.h"

namespace vmm {

// How a run ended.
enum class MachineEnd : uint8_t {
  kPowerOff,  // the guest switched itself off (or rebooted with <on_reboot>destroy)
  kQuit,      // the host wanted it
  kCrash,     // the guest crashed; the report has been printed
  kExit,      // the guest ended it at its exit port; see Machine::exit_status
  kTimeout,   // the guest had no more time
};

class Machine {
 public:
  // Everything that can fail on the host fails here, before the guest's first instruction. The secrets
  // outlive the machine.
  static Result<std::unique_ptr<Machine>> build(const domain::Domain& domain, EventLoop& main_loop,
                                                const DiskSecrets& secrets);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // Runs the guest, and the main loop, until the end. An error is the host's: the guest could not be
  // (re)started, or its last writes could not be flushed.
  Result<MachineEnd> run();
  // What the guest wrote to its exit port. With MachineEnd::kExit.
  uint8_t exit_status() const { return exit_status_; }

  // While it runs, on the main loop's thread:
  enum class State : uint8_t {
    kRunning,
    kPaused,         // by pause()
    kPausedForDisk,  // the host could not do what a disk wanted
    kWatchdog,       // its watchdog has paused it
    kKept,           // the guest has ended and is kept as it is (preserve)
  };
  State state() const;
  // Told of what happens, on this thread, within the call that makes it happen. Before run().
  void set_observer(std::function<void(const MachineEvent&)> observer) { observer_ = std::move(observer); }
  void press_power_button();
  void quit(MachineEvent::Cause cause = MachineEvent::Cause::kHostSignal);
  // The vCPUs stop, kvmclock too, until go_on(). What disks have been asked for is still done. An error: the
  // guest has ended.
  Status pause();
  // After pause(), after a watchdog's, and where a disk waits: it tries again at once.
  Status go_on();
  // As a PC's NMI button, on every vCPU.
  void press_nmi();
  // The vCPUs' threads, as the kernel numbers them.
  std::vector<int> vcpu_threads() const;
  // Ends it as quit() does, with MachineEnd::kTimeout. False where it has ended already.
  bool time_out();
  // As if the guest had asked for it (<on_reboot>); one that has ended and is kept begins anew.
  void press_reset_button();
  // At the next reset, and only then, firmware boots from this disk first. An error: there is none of that
  // name, or no firmware.
  Status boot_once_from(std::string_view target);
  // Of what throwaway disks take on the host, all together; a guest that waits for room tries again.
  void set_throwaway_limit(std::optional<uint64_t> bytes);
  // From the next such event on.
  void set_actions(const MachineActionChange& change);
  Disks& disks() { return *disks_; }
  // Until the run is over.
  DiskJobs* disk_jobs() { return disk_jobs_.get(); }
  MachineStatistics statistics() const;  // REQUIRES: it runs
  std::vector<ConsoleInfo> consoles() const;
  std::vector<InterfaceInfo> interfaces() const;
  void watch_filter(std::string_view name);  // see Network
  // As if the cable of the interface `name` were plugged or not. An error: there is none of this name.
  Status set_link(std::string_view name, bool is_up);
  std::vector<PciFunctionInfo> pci_functions() const;  // empty: the machine has no PCI
  // REQUIRES: of this domain.
  SharedConsole& console(const ConsolePlace& place);

 private:
  // What the guest did that stops all vCPUs. The first one counts.
  enum class Event : uint8_t {
    kNone,
    kPowerOff,
    kReset,
    kResetByHost,
    kExit,
    kPanic,
    kWatchdogOff,
    kTripleFault,
    kCrash
  };

  Machine(const domain::Domain& domain, EventLoop& main_loop, const ThreadPins& pins, Kvm kvm,
          GuestMemory memory);
  Status create_vm();
  Status create_devices(const DiskSecrets& secrets);
  Status create_vcpus();
  void describe_to_firmware();
  void set_boot_order();
  Status assign_resources();
  std::optional<std::future<Result<EntryState>>> begin_to_read_kernel() const;
  Result<EntryState> read_kernel(uint32_t mmio_mask) const;
  Status load_guest(std::optional<std::future<Result<EntryState>>> kernel = std::nullopt);
  Status start_threads();

  void raise(Event event, unsigned vcpu_index);
  void raise_exit(uint8_t status);
  void handle_event();
  void report_crash(unsigned vcpu_index);
  void report_panic();
  void bark();
  bool is_crash_told();
  void log_end(domain::LifecycleAction action, std::string_view what);
  void obey(domain::LifecycleAction action, MachineEnd end, MachineEvent::Cause cause);
  void go_on_after_panic();
  void obey_after_crash();
  void restart_after_pause();
  void restart();
  Status reset();
  void end(MachineEnd how, MachineEvent::Cause cause);
  void tell(const MachineEvent& event) const;

  void pause_for_disk(const std::string& disk, const std::string& reason);
  void go_on_after_pause();

  void quiesce_devices(Disks::Waiting waiting);
  void flush_consoles();
  void resume_vcpus();
  void park_vcpus();
  bool is_held() const;
  void hold_guest();
  void let_guest_go();

  // Constant after construction.
  const domain::Domain& domain_;
  EventLoop& main_loop_;
  const ThreadPins pins_;
  const Kvm kvm_;
  const GuestMemory memory_;
  CpuPlan cpu_plan_;

  IoBus ports_;
  IoBus mmio_;
  std::unique_ptr<Vm> vm_;
  Mapping generation_id_;               // empty: the domain has no <genid>
  std::unique_ptr<Firmware> firmware_;  // where there is no <kernel>
  std::unique_ptr<IsaInterrupts> interrupts_;
  std::unique_ptr<Platform> platform_;
  std::unique_ptr<PcChipset> chipset_;  // machine='pc' only
  std::unique_ptr<VirtioPlaces> virtio_places_;
  std::unique_ptr<Disks> disks_;
  std::unique_ptr<MachineDiskJobs> disk_jobs_;
  std::unique_ptr<Balloon> balloon_;      // null: the domain has none
  std::unique_ptr<VirtioExtras> extras_;  // null: the domain has none of these
  std::unique_ptr<Network> network_;      // null: the domain has no interface
  std::unique_ptr<Watchdog> watchdog_;    // null: the domain has none
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;

  std::atomic<Event> event_{Event::kNone};
  std::atomic<unsigned> event_vcpu_{0};
  std::atomic<uint8_t> exit_status_{0};

  // The main loop's thread only.
  MachineActions actions_;
  Result<MachineEnd> end_{MachineEnd::kPowerOff};
  bool has_ended_ = false;
  bool is_stopped_ = false;     // by pause()
  bool is_paused_ = false;      // a disk holds requests
  bool is_barked_ = false;      // the watchdog has paused it
  bool is_preserved_ = false;   // the guest has ended and is kept
  bool is_restarting_ = false;  // it has ended, and is started again after a pause
  bool is_told_stopped_ = false;
  std::optional<uint64_t> held_clock_ns_;  // kvmclock, while the guest is held
  std::function<void(const MachineEvent&)> observer_;
  std::string boot_once_;  // the disk that is booted first at the next start; empty: none
  EventLoop::Timer retry_timer_;
  RestartPace pace_;
  EventLoop::Timer restart_timer_;
  log::RateLimit pause_log_limit_;
  log::RateLimit end_log_limit_;
  log::RateLimit watchdog_log_limit_;
};

}  // namespace vmm
