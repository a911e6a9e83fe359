// MODE SENSE(10) and MODE SELECT(10) (SPC-3, sections 6.8, 6.10 and 7.4; MMC-6, chapter 7; SFF-8020i).
#include <optional>

#include "devices/ide/be_writer.h"
#include "devices/ide/mmc_replies.h"

namespace vmm::ide {
namespace {

constexpr size_t kHeaderBytes = 8;

enum class View : uint8_t { kCurrent = 0, kChangeable = 1, kDefault = 2, kSaved = 3 };

enum Page : uint8_t {
  kErrorRecovery = 0x01,
  kCdParameters = 0x0d,
  kAudioControl = 0x0e,
  kPowerCondition = 0x1a,
  kTimeoutAndProtect = 0x1d,
  kCapabilities = 0x2a,
  kAllPages = 0x3f,
};

constexpr std::array<uint8_t, 6> kPages = {kErrorRecovery,  kCdParameters,      kAudioControl,
                                           kPowerCondition, kTimeoutAndProtect, kCapabilities};

// The bits that MODE SELECT may change.
constexpr ModeParameters kChangeableBits = {
    .error_recovery = 0x37,
    .read_retries = 0xff,
    .inactivity_timer = 0x0f,
    .audio_ports = {0x0f, 0xff, 0x0f, 0xff, 0x0f, 0xff, 0x0f, 0xff},
};

// With the page's two header bytes.
constexpr size_t length_of(uint8_t page) {
  switch (page) {
    case kErrorRecovery:
    case kPowerCondition:
      return 12;
    case kCdParameters:
      return 8;
    case kAudioControl:
      return 16;
    case kTimeoutAndProtect:
      return 12;
    case kCapabilities:
      return 22;
    default:
      return 0;
  }
}

ModeParameters parameters_in(View view, const MmcState& state) {
  switch (view) {
    case View::kCurrent:
      return state.mode;
    case View::kChangeable:
      return kChangeableBits;
    case View::kDefault:
    case View::kSaved:
      return {};
  }
  return {};
}

// MMC-3, section 6.3.11: read only; a changeable view of it is all zeroes.
void put_capabilities(BeWriter& data, View view, const MmcState& state) {
  constexpr uint16_t kMaxSpeedKbytes = 11'080;
  if (view == View::kChangeable) {
    data.zeroes(20);
    return;
  }
  data.u8(0x3b);  // reads CD-R, CD-RW, DVD-ROM, DVD-R, DVD-RAM
  data.u8(0x00);  // writes nothing
  data.u8(0x70);  // mode 2 form 1 and 2, several sessions
  data.u8(0x00);  // no CD-DA, no bar code
  data.u8(
      static_cast<uint8_t>(0x29 | (state.is_locked ? 0x02 : 0)));  // tray; ejects; can be locked, is locked
  data.u8(0x00);
  data.u16(kMaxSpeedKbytes).u16(0).u16(128).u16(std::min(state.read_speed_kbytes, kMaxSpeedKbytes)).zeroes(6);
}

void put_page(BeWriter& data, uint8_t page, View view, const MmcState& state) {
  const ModeParameters parameters = parameters_in(view, state);
  data.u8(page).u8(static_cast<uint8_t>(length_of(page) - 2));
  switch (page) {
    case kErrorRecovery:
      data.u8(parameters.error_recovery).u8(parameters.read_retries).zeroes(8);
      return;
    case kCdParameters:
      data.u8(0).u8(parameters.inactivity_timer);
      if (view == View::kChangeable) {
        data.zeroes(4);
      } else {
        data.u16(60).u16(75);  // seconds in a minute, frames in a second
      }
      return;
    case kAudioControl:
      // Byte 2: commands for audio return at once.
      data.u8(view == View::kChangeable ? 0 : 0x04).zeroes(5);
      for (const uint8_t value : parameters.audio_ports) {
        data.u8(value);
      }
      return;
    case kCapabilities:
      put_capabilities(data, view, state);
      return;
    default:  // power condition, time-out and protect: no timer is on
      data.zeroes(length_of(page) - 2);
      return;
  }
}

// SFF-8020i, table 73: what lies in the tray.
uint8_t medium_type(const MmcState& state) {
  if (state.is_open) {
    return 0x71;
  }
  if (!state.has_medium) {
    return 0x70;
  }
  return is_dvd(state) ? 0x00 : 0x01;
}

// Takes the page's values; false where it changes something that cannot be changed.
bool accept_page(std::span<const std::byte> page, ModeParameters& parameters) {
  const auto at = [&](size_t offset) { return std::to_integer<uint8_t>(page[offset]); };
  switch (at(0) & 0x3f) {
    case kErrorRecovery:
      parameters.error_recovery = at(2);
      parameters.read_retries = at(3);
      return (at(2) & ~kChangeableBits.error_recovery) == 0;
    case kCdParameters:
      parameters.inactivity_timer = at(3);
      return (at(3) & ~kChangeableBits.inactivity_timer) == 0;
    case kAudioControl:
      for (size_t i = 0; i < parameters.audio_ports.size(); ++i) {
        parameters.audio_ports[i] = static_cast<uint8_t>(at(8 + i) & kChangeableBits.audio_ports[i]);
      }
      return true;
    case kPowerCondition:
    case kTimeoutAndProtect:
      return true;  // timers that would change nothing here
    default:
      return false;
  }
}

}  // namespace

Outcome mode_sense(const Cdb& cdb, const MmcState& state) {
  const auto view = static_cast<View>(cdb.byte(2) >> 6);
  const auto wanted = static_cast<uint8_t>(cdb.byte(2) & 0x3f);
  if (view == View::kSaved) {
    return sense::kSavingNotSupported;
  }
  if (cdb.byte(3) != 0 || (wanted != kAllPages && length_of(wanted) == 0)) {
    return sense::kInvalidFieldInCdb;
  }
  BeWriter data;
  data.u16(0).u8(medium_type(state)).zeroes(5);
  for (const uint8_t page : kPages) {
    if (wanted == kAllPages || wanted == page) {
      put_page(data, page, view, state);
    }
  }
  data.patch_u16(0, data.size() - 2);
  return Reply{data.take()};
}

Outcome accept_parameters(std::span<const std::byte> list, MmcState& state) {
  constexpr uint8_t kPageCode = 0x3f;
  const auto fail = [&](const Sense& fault) {
    state.sense = fault;
    return Outcome(fault);
  };
  if (list.size() < kHeaderBytes) {
    return fail(sense::kParameterListLength);
  }
  if (load_be<uint16_t>(&list[6]) != 0) {
    return fail(sense::kInvalidFieldInParameters);  // block descriptors
  }
  ModeParameters parameters = state.mode;
  for (std::span<const std::byte> rest = list.subspan(kHeaderBytes); !rest.empty();) {
    const size_t length = length_of(std::to_integer<uint8_t>(rest[0]) & kPageCode);
    if (length == 0) {
      return fail(sense::kInvalidFieldInParameters);
    }
    if (rest.size() < length) {
      return fail(sense::kParameterListLength);
    }
    if (std::to_integer<size_t>(rest[1]) != length - 2 || !accept_page(rest.first(length), parameters)) {
      return fail(sense::kInvalidFieldInParameters);
    }
    rest = rest.subspan(length);
  }
  state.mode = parameters;
  return Done{};
}

}  // namespace vmm::ide
