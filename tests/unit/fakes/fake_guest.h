// A guest with a disk (vda) and two CD-ROM drives (hdc, with a disc; hdd, empty), which notes what is done to
// it.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/fakes/fake_disk_jobs.h"
#include "vmm/control/guest.h"

namespace vmm::control {

class FakeGuest final : public Guest {
 public:
  FakeGuest() {
    domain_.name = "fake";
    drives_ = {{.device = "vda", .file = "/disk.qcow2", .format = domain::ImageFormat::kQcow2},
               {.device = "hdc", .is_cdrom = true, .is_read_only = true, .file = "/one.iso"},
               {.device = "hdd", .is_cdrom = true, .is_read_only = true}};
    drives_[0].layers = {{.path = "/disk.qcow2",
                          .format = block::Format::kQcow2,
                          .size_bytes = 1 << 20,
                          .cluster_bytes = 65536,
                          .backing_name = "base.raw",
                          .backing_format = "raw"},
                         {.path = "/base.raw", .format = block::Format::kRaw, .size_bytes = 1 << 19}};
    drives_[1].layers = {{.path = "/one.iso", .format = block::Format::kRaw, .size_bytes = 4096}};
    for (Drive& drive : drives_) {
      drive.counters = &counters_;
      drive.cache = &cache_;
    }
  }

  const domain::Domain& domain() const override { return domain_; }
  FakeDiskJobs* disk_jobs() override { return &jobs_; }
  State state() const override { return state_; }
  std::vector<Drive> drives() const override {
    ++drives_calls_;
    return drives_;
  }
  std::vector<int> vcpu_threads() const override { return {101, 102}; }
  MachineStatistics statistics() const override { return statistics_; }
  std::vector<ConsoleInfo> consoles() const override {
    return {{.label = "serial0", .host_end = "pty:/dev/pts/3"}};
  }
  std::vector<InterfaceInfo> interfaces() const override { return interfaces_; }
  void watch_filter(std::string_view interface) override {
    done_.push_back("watch filter of " + std::string(interface));
  }
  Status set_link(std::string_view name, bool is_up) override {
    for (InterfaceInfo& interface : interfaces_) {
      if (interface.name == name) {
        interface.is_link_up = is_up;
        return {};
      }
    }
    return fail("there is no network interface {}", name);
  }
  std::vector<PciFunctionInfo> pci_functions() const override {
    return {{.where = {.slot = 1, .function = 1},
             .class_code = 0x010180,
             .vendor_id = 0x8086,
             .device_id = 0x7010,
             .interrupt_pin = 1,
             .interrupt_line = 11,
             .regions = {{.bar = 4, .is_io = true, .length_bytes = 16, .address = 0xc000},
                         {.bar = 5, .is_64_bit = true, .length_bytes = 4096}}}};
  }
  void set_observer(std::function<void(const MachineEvent&)> observer) override {
    observer_ = std::move(observer);
  }
  Status pause() override {
    if (state_ == State::kKept) {
      return fail("the guest has ended");
    }
    state_ = State::kPaused;
    tell({.kind = MachineEvent::Kind::kStopped});
    return {};
  }
  Status go_on() override {
    if (state_ == State::kKept) {
      return fail("the guest has ended");
    }
    state_ = State::kRunning;
    tell({.kind = MachineEvent::Kind::kResumed});
    return {};
  }
  void press_nmi() override { done_.emplace_back("nmi"); }
  void power_down() override { done_.emplace_back("power_down"); }
  void reset() override { done_.emplace_back("reset"); }
  void quit() override { done_.emplace_back("quit"); }
  std::optional<Throwaway> throwaway() const override { return throwaway_; }
  void set_throwaway_limit(std::optional<uint64_t> bytes) override { throwaway_->limit_bytes = bytes; }
  void set_actions(const MachineActionChange& change) override { actions_ = change; }
  Status boot_once_from(std::string_view device) override {
    done_.push_back("boot once " + std::string(device));
    return {};
  }

  Status set_limits(std::string_view device, const std::optional<domain::IoTune>& limits) override {
    find(device).limits = limits;
    return {};
  }
  Status free_console(std::string_view device, bool is_forced) override {
    if (device == "none") {
      return fail("the guest has no console 'none'");
    }
    if (is_forced) {
      console_.reset();
    }
    return console_ ? fail("somebody else is attached") : Status();
  }
  Status attach_to_console(std::string_view device, UniqueFd socket) override {
    done_.push_back("attached to " + std::string(device));
    console_ = std::move(socket);
    return {};
  }

  Result<Opened> open_tray(std::string_view device, bool is_forced) override {
    Drive& drive = find(device);
    if (drive.is_locked && !is_forced && !drive.is_tray_open) {
      done_.push_back("asked " + std::string(device));
      if (lets_go_) {
        drive.is_tray_open = true;
      }
      drive.is_locked = drive.is_locked && !unlocks_;
      return Opened::kGuestAsked;
    }
    drive.is_tray_open = true;
    drive.is_locked = false;
    return Opened::kOpen;
  }
  Status close_tray(std::string_view device) override {
    find(device).is_tray_open = false;
    return {};
  }
  Status remove_disc(std::string_view device) override {
    if (!find(device).is_tray_open) {
      return fail("the tray is closed");
    }
    find(device).file.clear();
    find(device).layers.clear();
    return {};
  }
  Status insert_disc(std::string_view device, const std::filesystem::path& file,
                     std::optional<domain::ImageFormat> format) override {
    Drive& drive = find(device);
    if (!drive.is_tray_open || !drive.file.empty()) {
      return fail("the tray is closed, or full");
    }
    drive.file = file;
    drive.format = format.value_or(drive.format);
    drive.layers = {{.path = file, .size_bytes = 4096}};
    return {};
  }
  Status change_disc(std::string_view device, const std::filesystem::path& file,
                     std::optional<domain::ImageFormat> format, bool is_forced) override {
    if (file.filename() == "missing.iso") {
      return fail("cannot open {}", file.native());
    }
    const auto opened = open_tray(device, is_forced);
    if (opened == Opened::kGuestAsked) {
      return fail("the tray is locked");
    }
    Drive& drive = find(device);
    drive.file = file;
    drive.format = format.value_or(drive.format);
    drive.layers = {{.path = file, .format = block::Format::kRaw, .size_bytes = 4096}};
    drive.is_tray_open = false;
    return {};
  }

  void tell(const MachineEvent& event) const {
    if (observer_) {
      observer_(event);
    }
  }
  Drive& find(std::string_view device) { return *std::ranges::find(drives_, device, &Drive::device); }

  std::function<void(const MachineEvent&)> observer_;
  domain::Domain domain_;
  State state_ = State::kRunning;
  std::vector<Drive> drives_;
  block::DiskCounters counters_;  // of all of them; so is the next
  block::CacheCounters cache_;
  mutable int drives_calls_ = 0;
  std::optional<Throwaway> throwaway_;
  MachineActionChange actions_;
  MachineStatistics statistics_{.now_ns = 1'000'000'000,
                                .process_cpu_ns = 2'000'000'000,
                                .resident_bytes = 64 << 20,
                                .memory_bytes = 256 << 20,
                                .balloon_bytes = 16 << 20,
                                .vcpus = {{.cpu_ns = 1'500'000'000, .exits = {5, 4, 3, 2, 1}}, {}}};
  std::vector<InterfaceInfo> interfaces_;
  bool lets_go_ = true;   // of a locked disc, when asked
  bool unlocks_ = false;  // it, then, and leaves the tray closed
  UniqueFd console_;      // of who is attached
  std::vector<std::string> done_;
  FakeDiskJobs jobs_;
};

}  // namespace vmm::control
