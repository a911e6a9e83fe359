// MmcState: what a CD/DVD drive remembers between two commands: tray, medium, sense, events and mode pages
// (MMC-6; SPC-3).
//
// Plain values; the owner serialises.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "devices/ide/sense.h"

namespace vmm::ide {

inline constexpr uint32_t kCdBlockBytes = 2048;

// The media events of GET EVENT STATUS NOTIFICATION (MMC-6, table 282) by rank: what happened last counts,
// but a wish to eject does not hide that a medium came or went.
enum class MediaEvent : uint8_t { kNone = 0, kEjectRequest = 1, kNewMedia = 2, kMediaRemoval = 3 };

// What MODE SELECT may change, as MODE SENSE shows it.
struct ModeParameters {
  uint8_t error_recovery = 0;    // page 01h, byte 2
  uint8_t read_retries = 5;      // page 01h, byte 3
  uint8_t inactivity_timer = 0;  // page 0Dh, byte 3
  // Page 0Eh, bytes 8 to 15: channel and volume of each output port.
  std::array<uint8_t, 8> audio_ports = {1, 0xff, 2, 0xff, 0, 0, 0, 0};
  friend bool operator==(const ModeParameters&, const ModeParameters&) = default;
};

struct MmcState {
  // The medium in the tray, whether that is in or out.
  bool has_medium = false;
  uint32_t blocks = 0;  // of kCdBlockBytes each; 0 with a medium: nothing can be read of it
  bool is_open = false;
  bool is_locked = false;  // by PREVENT ALLOW MEDIUM REMOVAL

  bool has_reset_attention = true;  // each is reported once
  bool has_medium_attention = false;
  MediaEvent event = MediaEvent::kNone;
  Sense sense;  // of the command before; the next but REQUEST SENSE clears it

  ModeParameters mode;
  uint16_t read_speed_kbytes = 0xffff;  // SET CD SPEED; FFFFh: the fastest

  bool is_loaded() const { return has_medium && !is_open; }

  // The whole blocks of an image, as many as commands can name.
  static constexpr uint32_t blocks_of(uint64_t image_bytes) {
    return static_cast<uint32_t>(std::min<uint64_t>(image_bytes / kCdBlockBytes, UINT32_MAX));
  }
};

// To the state after power-on or a hardware reset; tray and medium are where they were, unlocked.
void reset_mmc(MmcState& state);

// What the host or the guest does to the tray. Closing it over a medium is a new medium to the guest.
void open_tray(MmcState& state);
void close_tray(MmcState& state);
// REQUIRES: the tray is open, or is_forced by someone with a pin (and the tray stays closed and empty).
void take_medium(MmcState& state);
void put_medium(MmcState& state, uint32_t blocks);
// Somebody pressed the button of a locked drive.
void request_eject(MmcState& state);

}  // namespace vmm::ide
