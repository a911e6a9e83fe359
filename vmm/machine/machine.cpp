#include "vmm/machine/machine.h"

#include <chrono>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "boot/acpi_tables.h"
#include "boot/boot_plan.h"
#include "boot/memory_map.h"
#include "boot/virtio_mmio_args.h"
#include "vmm/base/check.h"
#include "vmm/base/log.h"
#include "vmm/core/layout.h"
#include "vmm/domain/boot_order.h"
#include "vmm/machine/cpu_plan.h"
#include "vmm/machine/generation_id.h"
#include "vmm/machine/memory_builder.h"
#include "vmm/machine/smbios.h"

namespace vmm {
namespace {

constexpr std::chrono::seconds kRetryInterval(5);

boot::AcpiConfig make_acpi_config(const domain::Domain& domain, const CpuPlan& plan, uint32_t mmio_mask) {
  boot::AcpiConfig config;
  config.machine =
      domain.os.machine == domain::MachineType::kPc ? boot::MachineKind::kPc : boot::MachineKind::kMicrovm;
  for (uint32_t i = 0; i < domain.vcpus; ++i) {
    config.apic_ids.push_back(apic_id(plan.topology, i));
  }
  for (const domain::Serial& serial : domain.serials) {
    config.serial_mask |= 1U << serial.port;
  }
  config.virtio_mmio_mask = mmio_mask;
  if (domain.generation_id) {
    config.generation_id = GuestAddress(layout::kGenerationIdPage);
  }
  config.has_panic_device = domain.panic_device.has_value();
  return config;
}

}  // namespace

Machine::Machine(const domain::Domain& domain, EventLoop& main_loop, const ThreadPins& pins, Kvm kvm,
                 GuestMemory memory)
    : domain_(domain),
      main_loop_(main_loop),
      pins_(pins),
      kvm_(std::move(kvm)),
      memory_(std::move(memory)),
      cpu_plan_(make_cpu_plan(domain)),
      actions_(MachineActions::of(domain)),
      boot_once_(domain.os.install_target) {}

Machine::~Machine() = default;

Result<std::unique_ptr<Machine>> Machine::build(const domain::Domain& domain, EventLoop& main_loop,
                                                const DiskSecrets& secrets) {
  VMM_ASSIGN_OR_RETURN(Kvm kvm, Kvm::open());
  VMM_TRY(check_vcpus(domain, kvm));
  // Before there is memory: it is the host's to place, beside who asks for it.
  VMM_ASSIGN_OR_RETURN(const ThreadPins pins, ThreadPins::create(domain));
  VMM_TRY(pins.pin_emulator());
  VMM_ASSIGN_OR_RETURN(GuestMemory memory, build_memory(domain));
  std::unique_ptr<Machine> machine(new Machine(domain, main_loop, pins, std::move(kvm), std::move(memory)));
  auto kernel = machine->begin_to_read_kernel();
  VMM_TRY(machine->create_vm());
  VMM_TRY(machine->create_devices(secrets));
  VMM_TRY(machine->create_vcpus());
  VMM_TRY(machine->load_guest(std::move(kernel)));
  VMM_TRY(machine->platform_->begin());
  if (machine->extras_ != nullptr) {
    VMM_TRY(machine->extras_->begin());
  }
  return machine;
}

Status Machine::create_vm() {
  VMM_ASSIGN_OR_RETURN(vm_, Vm::create(kvm_, memory_, domain_.clock.pit));
  interrupts_ = std::make_unique<IsaInterrupts>(*vm_);
  return {};
}

Status Machine::create_devices(const DiskSecrets& secrets) {
  const MachineSwitches switches = {
      .power_off = [this] { raise(Event::kPowerOff, 0); },
      .reset = [this] { raise(Event::kReset, 0); },
      .exit = [this](uint8_t status) { raise_exit(status); },
      .panic = [this] { raise(Event::kPanic, 0); },
      .quit = [this] { quit(); },
  };
  VMM_ASSIGN_OR_RETURN(platform_, Platform::create(domain_, main_loop_, memory_, *interrupts_, switches));
  const bool is_pc = domain_.os.machine == domain::MachineType::kPc;
  VMM_TRY(platform_->attach(ports_, !is_pc));
  if (is_pc) {
    VMM_ASSIGN_OR_RETURN(chipset_, PcChipset::create(ports_, mmio_, *interrupts_, platform_->reset_port(),
                                                     platform_->power().pm_block()));
  }
  virtio_places_ = std::make_unique<VirtioPlaces>(
      domain_, VirtioPlaces::World{.memory = memory_, .mmio = mmio_, .vm = *vm_, .chipset = chipset_.get()});
  VMM_ASSIGN_OR_RETURN(
      disks_,
      Disks::create(domain_, {.places = *virtio_places_,
                              .secrets = secrets,
                              .pins = pins_,
                              .main_loop = main_loop_,
                              .on_event = [this](const MachineEvent& event) { tell(event); },
                              .on_held =
                                  [this](const std::string& disk, const std::string& reason) {
                                    main_loop_.post([this, disk, reason] { pause_for_disk(disk, reason); });
                                  }}));
  disk_jobs_ = std::make_unique<MachineDiskJobs>(*disks_, main_loop_);
  VMM_ASSIGN_OR_RETURN(balloon_, Balloon::create(domain_, *virtio_places_));
  VMM_ASSIGN_OR_RETURN(extras_, VirtioExtras::create(domain_, *virtio_places_, main_loop_, switches.quit));
  VMM_ASSIGN_OR_RETURN(network_,
                       Network::create(domain_, *virtio_places_, [this](const std::string& interface) {
                         main_loop_.post([this, interface] {
                           tell({.kind = MachineEvent::Kind::kFilterChanged, .interface = interface});
                         });
                       }));
  VMM_ASSIGN_OR_RETURN(watchdog_,
                       Watchdog::create(domain_, main_loop_, ports_, *virtio_places_, [this] { bark(); }));
  if (domain_.generation_id) {
    VMM_ASSIGN_OR_RETURN(generation_id_, make_generation_id_page(domain_));
    VMM_TRY(vm_->add_rom(GuestAddress(layout::kGenerationIdPage), generation_id_));
  }
  VMM_TRY(assign_resources());
  if (domain_.os.kernel.empty()) {
    VMM_ASSIGN_OR_RETURN(firmware_, Firmware::create(domain_, memory_, ports_, *vm_));
    describe_to_firmware();
  }
  VMM_TRY(platform_->attach_chosen_ports(domain_, ports_));
  VMM_ASSIGN_OR_RETURN(retry_timer_, main_loop_.make_timer([this] { go_on_after_pause(); }));
  VMM_ASSIGN_OR_RETURN(restart_timer_, main_loop_.make_timer([this] { restart(); }));
  return {};
}

Status Machine::create_vcpus() {
  VMM_TRY(Vcpu::install_kick_handler());
  VMM_ASSIGN_OR_RETURN(const Cpuid cpuid, cpuid_of_domain(domain_, kvm_));
  for (unsigned i = 0; i < domain_.vcpus; ++i) {
    VMM_ASSIGN_OR_RETURN(std::unique_ptr<Vcpu> vcpu,
                         Vcpu::create(*vm_, apic_id(cpu_plan_.topology, i),
                                      cpuid_of_vcpu(cpuid, cpu_plan_, i), ports_, mmio_));
    vcpus_.push_back(std::make_unique<VcpuThread>(std::move(vcpu), [this, i](VcpuStop stop) {
      raise(stop == VcpuStop::kTripleFault ? Event::kTripleFault : Event::kCrash, i);
    }));
  }
  return {};
}

void Machine::describe_to_firmware() {
  if (domain_.features.acpi) {
    boot::AcpiConfig config = make_acpi_config(domain_, cpu_plan_, 0);
    if (domain_.memory_bytes <= layout::kFirmwarePciMmioStart) {
      config.pci_window32_start = layout::kFirmwarePciMmioStart;
    }
    firmware_->set_acpi(config);
  }
  if (network_ != nullptr) {
    network_->add_option_roms(*firmware_);
  }
}

void Machine::set_boot_order() {
  std::vector<std::string> paths;
  for (const domain::BootSource& source : domain::boot_sources(domain_, std::exchange(boot_once_, {}))) {
    if (source.disk != nullptr) {
      paths.push_back(disks_->boot_path(*source.disk));
    } else if (const auto path =
                   network_->boot_path(static_cast<size_t>(source.interface - domain_.interfaces.data()))) {
      paths.push_back(*path);
    }
  }
  firmware_->set_boot_order(paths);
}

// Firmware gives the PCI functions their addresses itself.
Status Machine::assign_resources() {
  return chipset_ != nullptr && !domain_.os.kernel.empty() ? chipset_->assign_resources() : Status();
}

// The vCPUs are in the state of a reset by now, in which firmware begins.
Status Machine::load_guest(std::optional<std::future<Result<EntryState>>> kernel) {
  if (firmware_ != nullptr) {
    set_boot_order();
    return firmware_->reset();
  }
  VMM_ASSIGN_OR_RETURN(const EntryState entry,
                       kernel ? kernel->get() : read_kernel(virtio_places_->mmio_mask()));
  return vcpus_.front()->vcpu().set_entry(entry);
}

// While KVM makes the machine, and mostly waits for other processors of the host. What is small is not worth
// a thread; and what a microvm's kernel is told hangs on its devices.
std::optional<std::future<Result<EntryState>>> Machine::begin_to_read_kernel() const {
  constexpr uint64_t kWorthAThreadBytes = uint64_t{1} << 20U;
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(domain_.os.kernel, error);
  if (domain_.os.machine != domain::MachineType::kPc || error || bytes < kWorthAThreadBytes) {
    return std::nullopt;
  }
  return std::async(std::launch::async, [this] { return read_kernel(0); });
}

// Puts the kernel, or the program, into memory, and tells where the first vCPU begins.
Result<EntryState> Machine::read_kernel(uint32_t mmio_mask) const {
  std::optional<GuestAddress> rsdp;
  boot::DirectBoot direct{.kernel_path = domain_.os.kernel,
                          .initrd_path = domain_.os.initrd,
                          .command_line = domain_.os.command_line,
                          .memory_is_zero = true};
  if (domain_.features.acpi) {
    VMM_ASSIGN_OR_RETURN(rsdp, boot::install_acpi(memory_, make_acpi_config(domain_, cpu_plan_, mmio_mask)));
  } else {
    direct.command_line += boot::virtio_mmio_arguments(mmio_mask);
  }
  VMM_TRY(boot::install_smbios(memory_, smbios_config(domain_)));
  VMM_ASSIGN_OR_RETURN(const boot::MemoryMap map, boot::make_memory_map(domain_.memory_bytes));
  auto entry = boot::load_direct(memory_, direct, map, rsdp);
  if (!entry) {
    return std::unexpected(entry.error().within(domain_.where(domain_.os.line)));
  }
  return entry;
}

// They all wait for what is to be done.
Status Machine::start_threads() {
  VMM_TRY(disks_->start());
  if (balloon_ != nullptr) {
    balloon_->start();
  }
  if (extras_ != nullptr) {
    extras_->start();
  }
  if (network_ != nullptr) {
    network_->start();
  }
  for (unsigned i = 0; i < vcpus_.size(); ++i) {
    vcpus_[i]->start(i);
    VMM_TRY(pins_.pin_vcpu(i, vcpus_[i]->handle()));
  }
  return {};
}

Result<MachineEnd> Machine::run() {
  VMM_TRY(start_threads());
  pace_.started(std::chrono::steady_clock::now());
  let_guest_go();
  main_loop_.run();
  park_vcpus();
  platform_->flush_consoles();
  quiesce_devices(Disks::Waiting::kDone);
  if (extras_ != nullptr) {
    extras_->flush_consoles();
  }
  disk_jobs_.reset();
  VMM_TRY(disks_->flush());
  disks_->warn_of_other_images();
  return end_;
}

void Machine::press_power_button() {
  if (is_preserved_ || is_restarting_ || is_barked_) {
    return quit();  // there is no guest left that could react
  }
  tell({.kind = MachineEvent::Kind::kPowerdown});
  if (!platform_->power().press_power_button()) {
    log::warning("the guest does not listen to its power button; SIGTERM again ends it at once");
  }
}

void Machine::quit(MachineEvent::Cause cause) { end(MachineEnd::kQuit, cause); }

bool Machine::time_out() {
  const bool is_first = !has_ended_;
  end(MachineEnd::kTimeout, MachineEvent::Cause::kHostSignal);
  return is_first;
}

Machine::State Machine::state() const {
  return is_preserved_ ? State::kKept
         : is_barked_  ? State::kWatchdog
         : is_stopped_ ? State::kPaused
         : is_paused_  ? State::kPausedForDisk
                       : State::kRunning;
}

std::vector<int> Machine::vcpu_threads() const {
  std::vector<int> numbers;
  numbers.reserve(vcpus_.size());
  for (const auto& vcpu : vcpus_) {
    numbers.push_back(vcpu->number());
  }
  return numbers;
}

std::vector<InterfaceInfo> Machine::interfaces() const {
  return network_ == nullptr ? std::vector<InterfaceInfo>() : network_->interfaces();
}

void Machine::watch_filter(std::string_view name) {
  if (network_ != nullptr) {
    network_->watch_filter(name);
  }
}

Status Machine::set_link(std::string_view name, bool is_up) {
  return network_ == nullptr ? fail("the guest has no network interface") : network_->set_link(name, is_up);
}

std::vector<ConsoleInfo> Machine::consoles() const {
  std::vector<ConsoleInfo> infos = platform_->consoles();
  if (extras_ != nullptr) {
    for (ConsoleInfo& info : extras_->consoles()) {
      infos.push_back(std::move(info));
    }
  }
  return infos;
}

std::vector<PciFunctionInfo> Machine::pci_functions() const {
  return chipset_ == nullptr ? std::vector<PciFunctionInfo>() : vmm::pci_functions(chipset_->bus());
}

Status Machine::pause() {
  if (is_preserved_ || has_ended_) {
    return fail("the guest has ended");
  }
  is_stopped_ = true;
  hold_guest();
  return {};
}

Status Machine::go_on() {
  if (is_preserved_ || has_ended_) {
    return fail("the guest has ended; a reset begins it anew");
  }
  is_stopped_ = false;
  is_barked_ = false;
  go_on_after_pause();
  let_guest_go();
  return {};
}

void Machine::press_reset_button() {
  if (has_ended_) {
    return;
  }
  if (std::exchange(is_preserved_, false)) {  // whatever the domain wants of resets: this is to begin it anew
    tell({.kind = MachineEvent::Kind::kReset, .cause = MachineEvent::Cause::kHostCommand});
    return restart();
  }
  raise(Event::kResetByHost, 0);
}

void Machine::set_actions(const MachineActionChange& change) {
  actions_.on_poweroff = change.on_poweroff.value_or(actions_.on_poweroff);
  actions_.on_reboot = change.on_reboot.value_or(actions_.on_reboot);
  actions_.watchdog = change.watchdog.value_or(actions_.watchdog);
  if (change.on_crash) {
    actions_.on_crash = *change.on_crash;
    actions_.panic_is_only_told = change.panic_is_only_told;
  }
}

Status Machine::boot_once_from(std::string_view target) {
  if (firmware_ == nullptr) {
    return fail("the guest was started from <kernel>, and boots from no disk");
  }
  if (!disks_->has(target)) {
    return fail("the guest has no disk '{}'", target);
  }
  boot_once_ = target;
  return {};
}

void Machine::end(MachineEnd how, MachineEvent::Cause cause) {
  if (!has_ended_) {
    has_ended_ = true;
    end_ = how;
    tell({.kind = MachineEvent::Kind::kShutdown, .cause = cause});
  }
  main_loop_.stop();
}

void Machine::set_throwaway_limit(std::optional<uint64_t> bytes) {
  disks_->set_throwaway_limit(bytes);
  go_on_after_pause();
}

void Machine::pause_for_disk(const std::string& disk, const std::string& reason) {
  if (has_ended_) {
    return;
  }
  if (pause_log_limit_.allows()) {
    log::warning("{}: {}; the guest is paused, and goes on when it works again (tried every {} s)", disk,
                 reason, kRetryInterval.count());
  }
  is_paused_ = true;
  hold_guest();
  retry_timer_.arm(kRetryInterval);
}

void Machine::go_on_after_pause() {
  if (has_ended_ || !std::exchange(is_paused_, false)) {
    return;
  }
  disks_->retry_held();
  let_guest_go();
}

// They leave the guest's memory alone from then on.
void Machine::quiesce_devices(Disks::Waiting waiting) {
  disks_->quiesce(waiting);
  if (balloon_ != nullptr) {
    balloon_->quiesce();
  }
  if (extras_ != nullptr) {
    extras_->quiesce();
  }
  if (network_ != nullptr) {
    network_->quiesce();
  }
}

SharedConsole& Machine::console(const ConsolePlace& place) {
  if (place.kind == ConsolePlace::Kind::kVirtio) {
    return extras_->console(place.number);
  }
  return *platform_->console(place.number);
}

void Machine::flush_consoles() {
  platform_->flush_consoles();
  if (extras_ != nullptr) {
    extras_->flush_consoles();
  }
}

void Machine::resume_vcpus() {
  if (watchdog_ != nullptr) {
    watchdog_->go_on();
  }
  for (const auto& vcpu : vcpus_) {
    vcpu->resume();
  }
}

void Machine::park_vcpus() {
  for (const auto& vcpu : vcpus_) {
    vcpu->request_park();
  }
  for (const auto& vcpu : vcpus_) {
    vcpu->wait_parked();
  }
  if (watchdog_ != nullptr) {
    watchdog_->hold();
  }
}

bool Machine::is_held() const {
  return is_stopped_ || is_paused_ || is_barked_ || is_preserved_ || is_restarting_ || has_ended_ ||
         event_ != Event::kNone;
}

// Where it is held already, for another reason, it only stays so.
void Machine::hold_guest() {
  park_vcpus();
  if (!held_clock_ns_) {
    const auto clock = vm_->clock_ns();
    held_clock_ns_ = clock ? std::optional(*clock) : std::nullopt;
  }
  if (!std::exchange(is_told_stopped_, true)) {
    tell({.kind = MachineEvent::Kind::kStopped});
  }
}

// When nothing holds it any more.
void Machine::let_guest_go() {
  if (is_held()) {
    return;
  }
  if (held_clock_ns_) {
    if (const Status status = vm_->set_clock_ns(*held_clock_ns_); !status) {
      log::debug("{}", status.error().message());
    }
    for (const auto& vcpu : vcpus_) {
      vcpu->vcpu().tell_of_pause();
    }
    held_clock_ns_.reset();
  }
  if (std::exchange(is_told_stopped_, false)) {
    tell({.kind = MachineEvent::Kind::kResumed});
  }
  resume_vcpus();
}

void Machine::tell(const MachineEvent& event) const {
  if (observer_) {
    observer_(event);
  }
}

// The watchdog has run out.
void Machine::bark() {
  if (has_ended_ || event_ != Event::kNone) {
    return;
  }
  if (watchdog_log_limit_.allows()) {
    log::warning("the guest's watchdog has run out: action '{}'", domain::name_of(actions_.watchdog));
  }
  tell({.kind = MachineEvent::Kind::kWatchdog, .watchdog_action = actions_.watchdog});
  switch (actions_.watchdog) {
    case domain::WatchdogAction::kReset:
      return raise(Event::kReset, 0);
    case domain::WatchdogAction::kShutdown:
      static_cast<void>(platform_->power().press_power_button());
      return;
    case domain::WatchdogAction::kPoweroff:
      return raise(Event::kWatchdogOff, 0);
    case domain::WatchdogAction::kPause:
      log::warning("the guest is paused by its watchdog; vmm ctl resume lets it go on, SIGTERM ends vmm");
      is_barked_ = true;
      return hold_guest();
    case domain::WatchdogAction::kInjectNmi:
      return press_nmi();
    case domain::WatchdogAction::kNone:
      return;
  }
}

void Machine::press_nmi() {
  park_vcpus();
  for (const auto& vcpu : vcpus_) {
    if (const Status status = vcpu->vcpu().press_nmi(); !status && watchdog_log_limit_.allows()) {
      log::warning("{}", status.error().message());
    }
  }
  if (!is_held()) {
    resume_vcpus();
  }
}

// Any thread.
void Machine::raise(Event event, unsigned vcpu_index) {
  Event none = Event::kNone;
  if (!event_.compare_exchange_strong(none, event)) {
    return;
  }
  event_vcpu_ = vcpu_index;
  for (const auto& vcpu : vcpus_) {
    vcpu->request_park();
  }
  main_loop_.post([this] { handle_event(); });
}

// Any thread; the port tells one status of a start.
void Machine::raise_exit(uint8_t status) {
  exit_status_ = status;
  raise(Event::kExit, 0);
}

void Machine::handle_event() {
  if (has_ended_) {
    return;
  }
  park_vcpus();
  pace_.ended(std::chrono::steady_clock::now());
  switch (event_.load()) {
    case Event::kNone:
      return;
    case Event::kPowerOff:
      log_end(actions_.on_poweroff, "the guest switched itself off");
      return obey(actions_.on_poweroff, MachineEnd::kPowerOff, MachineEvent::Cause::kGuest);
    case Event::kReset:
      log_end(actions_.on_reboot, "the guest is reset");
      return obey(actions_.on_reboot, MachineEnd::kPowerOff, MachineEvent::Cause::kGuestReset);
    case Event::kResetByHost:
      log_end(actions_.on_reboot, "the guest is reset");
      return obey(actions_.on_reboot, MachineEnd::kPowerOff, MachineEvent::Cause::kHostCommand);
    case Event::kWatchdogOff:
      log_end(actions_.on_poweroff, "the guest is switched off");
      return obey(actions_.on_poweroff, MachineEnd::kPowerOff, MachineEvent::Cause::kGuest);
    case Event::kExit:
      log::info("the guest ended itself with status {}", exit_status_.load());
      return end(MachineEnd::kExit, MachineEvent::Cause::kGuest);
    case Event::kPanic:
      report_panic();
      return actions_.panic_is_only_told ? go_on_after_panic() : obey_after_crash();
    case Event::kTripleFault:
    case Event::kCrash:
      report_crash(event_vcpu_);
      return obey_after_crash();
  }
}

void Machine::go_on_after_panic() {
  tell({.kind = MachineEvent::Kind::kPanicked, .action = domain::LifecycleAction::kRestart});
  event_ = Event::kNone;
  let_guest_go();
}

void Machine::obey_after_crash() {
  tell({.kind = MachineEvent::Kind::kPanicked, .action = actions_.on_crash});
  obey(actions_.on_crash, MachineEnd::kCrash, MachineEvent::Cause::kPanic);
}

// What ends the run, or the guest, is always told.
void Machine::log_end(domain::LifecycleAction action, std::string_view what) {
  if (action != domain::LifecycleAction::kRestart || end_log_limit_.allows()) {
    log::info("{}", what);
  }
}

// Counts the crash. False: of those that follow each other the first ones were told.
bool Machine::is_crash_told() {
  const uint64_t crash = pace_.count_crash();
  if (actions_.on_crash != domain::LifecycleAction::kRestart || crash <= RestartPace::kWholeReports) {
    return true;
  }
  if (end_log_limit_.allows()) {
    log::warning("the guest crashes again and again, {} times by now; the first {} were reported", crash,
                 RestartPace::kWholeReports);
  }
  return false;
}

// The guest itself has said why, on its console; registers would show its panic's last instruction.
void Machine::report_panic() {
  if (!is_crash_told()) {
    return;
  }
  flush_consoles();
  log::tell("the guest's kernel panicked");
}

void Machine::report_crash(unsigned vcpu_index) {
  if (!is_crash_told()) {
    return;
  }
  flush_consoles();
  log::tell(fmt::format("the guest crashed\n{}", vcpus_[vcpu_index]->vcpu().describe_stop(memory_)));
}

void Machine::obey(domain::LifecycleAction action, MachineEnd how, MachineEvent::Cause cause) {
  const bool is_reset = event_ == Event::kReset || event_ == Event::kResetByHost;
  switch (action) {
    case domain::LifecycleAction::kDestroy:
      return end(how, cause);
    case domain::LifecycleAction::kRestart:
      tell({.kind = MachineEvent::Kind::kReset, .cause = cause});
      return is_reset ? restart() : restart_after_pause();
    case domain::LifecycleAction::kPreserve:
      log::warning("the guest has stopped and is kept as it is (preserve); SIGTERM ends vmm");
      is_preserved_ = true;
      tell({.kind = MachineEvent::Kind::kShutdown, .cause = cause, .action = action});
      return hold_guest();
  }
}

void Machine::restart_after_pause() {
  is_restarting_ = true;
  if (pace_.pause() == RestartPace::Duration(0)) {
    return restart();
  }
  restart_timer_.arm(pace_.pause());
}

void Machine::restart() {
  if (has_ended_) {
    return;
  }
  const Status status = reset();
  if (!status) {
    has_ended_ = true;
    end_ = std::unexpected(status.error());
    main_loop_.stop();
    return;
  }
  event_ = Event::kNone;
  is_paused_ = false;
  is_barked_ = false;
  is_restarting_ = false;
  held_clock_ns_.reset();
  pace_.started(std::chrono::steady_clock::now());
  let_guest_go();
}

Status Machine::reset() {
  quiesce_devices(Disks::Waiting::kDropped);
  disks_->reset();
  if (balloon_ != nullptr) {
    balloon_->reset();
  }
  if (extras_ != nullptr) {
    extras_->reset();
  }
  if (network_ != nullptr) {
    network_->reset();
  }
  if (chipset_ != nullptr) {
    chipset_->reset();
  }
  platform_->reset();
  if (watchdog_ != nullptr) {
    watchdog_->reset();
  }
  VMM_TRY(vm_->reset_irqchip());
  for (const auto& vcpu : vcpus_) {
    VMM_TRY(vcpu->vcpu().reset());
  }
  VMM_TRY(discard_memory(memory_));
  disks_->resume();
  if (balloon_ != nullptr) {
    balloon_->resume();
  }
  if (extras_ != nullptr) {
    extras_->resume();
  }
  if (network_ != nullptr) {
    network_->resume();
  }
  VMM_TRY(assign_resources());
  return load_guest();
}

}  // namespace vmm
