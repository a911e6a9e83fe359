// A guest with a disk (vda) and two CD-ROM drives (hdc, with a disc; hdd, empty), which notes what is done to
// it.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "vmm/control/guest.h"

namespace vmm::control {

class FakeGuest final : public Guest {
 public:
  FakeGuest() {
    domain_.name = "fake";
    drives_ = {{.device = "vda", .file = "/disk.qcow2", .format = domain::ImageFormat::kQcow2},
               {.device = "hdc", .is_cdrom = true, .is_read_only = true, .file = "/one.iso"},
               {.device = "hdd", .is_cdrom = true, .is_read_only = true}};
  }

  const domain::Domain& domain() const override { return domain_; }
  State state() const override { return state_; }
  std::vector<Drive> drives() const override {
    ++drives_calls_;
    return drives_;
  }
  std::vector<int> vcpu_threads() const override { return {101, 102}; }
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
  Status boot_once_from(std::string_view device) override {
    done_.push_back("boot once " + std::string(device));
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
  mutable int drives_calls_ = 0;
  std::optional<Throwaway> throwaway_;
  bool lets_go_ = true;   // of a locked disc, when asked
  bool unlocks_ = false;  // it, then, and leaves the tray closed
  UniqueFd console_;      // of who is attached
  std::vector<std::string> done_;
};

}  // namespace vmm::control
