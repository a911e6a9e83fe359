// Sense: how an ATAPI drive says what went wrong (SPC-3, section 4.5; MMC-6, annex F).
//
// Plain values; no threads of its own.
#pragma once

#include <cstdint>

namespace vmm::ide {

enum class SenseKey : uint8_t {
  kNoSense = 0x0,
  kNotReady = 0x2,
  kMediumError = 0x3,
  kHardwareError = 0x4,
  kIllegalRequest = 0x5,
  kUnitAttention = 0x6,
};

struct Sense {
  SenseKey sense_key = SenseKey::kNoSense;
  uint8_t asc = 0;   // additional sense code
  uint8_t ascq = 0;  // its qualifier
  friend bool operator==(const Sense&, const Sense&) = default;
};

namespace sense {

inline constexpr Sense kNone{};
inline constexpr Sense kCannotReadMedium{SenseKey::kNotReady, 0x30, 0x00};  // smaller than one block
inline constexpr Sense kNoMediumTrayClosed{SenseKey::kNotReady, 0x3a, 0x01};
inline constexpr Sense kNoMediumTrayOpen{SenseKey::kNotReady, 0x3a, 0x02};
inline constexpr Sense kUnrecoveredReadError{SenseKey::kMediumError, 0x11, 0x00};
// What the controller could not bring to or from the host's memory.
inline constexpr Sense kCommunicationFailure{SenseKey::kHardwareError, 0x08, 0x00};
inline constexpr Sense kParameterListLength{SenseKey::kIllegalRequest, 0x1a, 0x00};
inline constexpr Sense kInvalidOperationCode{SenseKey::kIllegalRequest, 0x20, 0x00};
inline constexpr Sense kOutOfRange{SenseKey::kIllegalRequest, 0x21, 0x00};
inline constexpr Sense kInvalidFieldInCdb{SenseKey::kIllegalRequest, 0x24, 0x00};
inline constexpr Sense kInvalidFieldInParameters{SenseKey::kIllegalRequest, 0x26, 0x00};
inline constexpr Sense kIncompatibleFormat{SenseKey::kIllegalRequest, 0x30, 0x02};
inline constexpr Sense kSavingNotSupported{SenseKey::kIllegalRequest, 0x39, 0x00};
inline constexpr Sense kRemovalPrevented{SenseKey::kIllegalRequest, 0x53, 0x02};
inline constexpr Sense kIllegalModeForTrack{SenseKey::kIllegalRequest, 0x64, 0x00};
inline constexpr Sense kMediumChanged{SenseKey::kUnitAttention, 0x28, 0x00};
inline constexpr Sense kReset{SenseKey::kUnitAttention, 0x29, 0x00};

}  // namespace sense
}  // namespace vmm::ide
