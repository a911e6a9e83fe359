#include "devices/ide/mmc_replies.h"

#include <optional>

#include "devices/ide/be_writer.h"

namespace vmm::ide {
namespace {

constexpr uint8_t kMsf = 0x02;  // byte 1: addresses as minute, second, frame
constexpr uint8_t kFirstTrack = 1;
constexpr uint8_t kLeadOut = 0xaa;
// Q sub-channel holds the position; a data track that was recorded without interruption (MMC-6, table 335).
constexpr uint8_t kAdrControl = 0x14;

constexpr uint16_t kProfileCdRom = 0x0008;
constexpr uint16_t kProfileDvdRom = 0x0010;

constexpr uint16_t kBufferKbytes = 128;

Outcome reply(BeWriter& writer) { return Reply{writer.take()}; }

// Larger addresses than minutes can name are shown as the last one.
uint32_t to_msf(uint32_t lba) {
  constexpr uint32_t kPregap = 150;
  constexpr uint32_t kLast = (255 * 60 + 59) * 75 + 74;
  const uint32_t frames = lba > kLast - kPregap ? kLast : lba + kPregap;
  return (frames / 75 / 60) << 16 | (frames / 75 % 60) << 8 | frames % 75;
}

uint32_t address_of(uint32_t lba, bool is_msf) { return is_msf ? to_msf(lba) : lba; }

uint16_t profile_of(const MmcState& state) {
  if (!state.is_loaded()) {
    return 0;
  }
  return is_dvd(state) ? kProfileDvdRom : kProfileCdRom;
}

}  // namespace

// SPC-3, section 6.4.2.
Outcome inquiry(const Cdb& cdb) {
  constexpr uint8_t kVitalProductData = 0x01;
  if (cdb.has(1, kVitalProductData) || cdb.byte(2) != 0) {
    return sense::kInvalidFieldInCdb;
  }
  BeWriter data;
  data.u8(0x05);  // CD/DVD
  data.u8(0x80);  // removable
  data.u8(0x05);  // SPC-3
  data.u8(0x32);  // ATAPI transport version 3, response data format 2
  data.u8(36 - 5).zeroes(3);
  data.text("VMM", 8).text("CD/DVD-ROM", 16).text("1.0", 4);
  return reply(data);
}

// SPC-3, section 4.5.3: fixed format, current errors.
Outcome request_sense(const Sense& sense) {
  BeWriter data;
  data.u8(0x70).u8(0).u8(static_cast<uint8_t>(sense.sense_key)).zeroes(4);
  data.u8(18 - 8).zeroes(4).u8(sense.asc).u8(sense.ascq).zeroes(4);
  return reply(data);
}

Outcome read_capacity(const MmcState& state) {
  BeWriter data;
  data.u32(state.blocks - 1).u32(kCdBlockBytes);
  return reply(data);
}

// MMC-6, section 6.24: one descriptor, of what is there.
Outcome read_format_capacities(const MmcState& state) {
  constexpr uint8_t kFormatted = 2;
  constexpr uint8_t kNoMedium = 3;
  BeWriter data;
  data.zeroes(3).u8(8).u32(state.is_loaded() ? state.blocks : UINT32_MAX);
  data.u8(state.is_loaded() ? kFormatted : kNoMedium).u24(kCdBlockBytes);
  return reply(data);
}

// MMC-6, section 6.25: one session with one data track.
Outcome read_toc(const Cdb& cdb, const MmcState& state) {
  constexpr uint8_t kOldFormatShift = 6;  // SFF-8020i has it in byte 9
  uint8_t format = cdb.byte(2) & 0x0f;
  if (format == 0) {
    format = static_cast<uint8_t>(cdb.byte(9) >> kOldFormatShift);
  }
  const bool is_msf = cdb.has(1, kMsf);
  const uint8_t start = cdb.byte(6);
  BeWriter data;
  data.zeroes(2).u8(1).u8(1);  // first and last track, or session
  switch (format) {
    case 0:
      if (start > kFirstTrack && start != kLeadOut) {
        return sense::kInvalidFieldInCdb;
      }
      if (start <= kFirstTrack) {
        data.bytes({0, kAdrControl, kFirstTrack, 0}).u32(address_of(0, is_msf));
      }
      data.bytes({0, kAdrControl, kLeadOut, 0}).u32(address_of(state.blocks, is_msf));
      break;
    case 1:
      data.bytes({0, kAdrControl, kFirstTrack, 0}).u32(address_of(0, is_msf));
      break;
    case 2:
      // Points A0h and A1h: the first and the last track; A2h: the lead-out. Always minute, second, frame.
      data.bytes({1, kAdrControl, 0, 0xa0, 0, 0, 0, 0, kFirstTrack, 0, 0});
      data.bytes({1, kAdrControl, 0, 0xa1, 0, 0, 0, 0, kFirstTrack, 0, 0});
      data.bytes({1, kAdrControl, 0, 0xa2, 0, 0, 0, 0}).u24(to_msf(state.blocks));
      data.bytes({1, kAdrControl, 0, kFirstTrack, 0, 0, 0, 0}).u24(to_msf(0));
      break;
    default:
      return sense::kInvalidFieldInCdb;
  }
  data.patch_u16(0, data.size() - 2);
  return reply(data);
}

// MMC-6, section 6.33: nothing is ever playing.
Outcome read_sub_channel(const Cdb& cdb) {
  constexpr uint8_t kSubQ = 0x40;
  constexpr uint8_t kNoAudioStatus = 0x15;
  BeWriter data;
  data.u8(0).u8(kNoAudioStatus).u16(0);
  if (!cdb.has(2, kSubQ)) {
    return reply(data);
  }
  const uint8_t format = cdb.byte(3);
  switch (format) {
    case 1:
      data.bytes({1, kAdrControl, kFirstTrack, 1});
      data.u32(address_of(0, cdb.has(1, kMsf))).u32(0);
      break;
    case 2:  // media catalogue number: none
      data.u8(2).zeroes(19);
      break;
    case 3:  // international standard recording code: none
      if (cdb.byte(6) != kFirstTrack) {
        return sense::kInvalidFieldInCdb;
      }
      data.bytes({3, kAdrControl, kFirstTrack, 0}).zeroes(16);
      break;
    default:
      return sense::kInvalidFieldInCdb;
  }
  data.patch_u16(2, data.size() - 4);
  return reply(data);
}

// MMC-3, section 5.1.14; old drivers find the sector's mode with it.
Outcome read_header(const Cdb& cdb, const MmcState& state) {
  constexpr uint8_t kMode1 = 1;
  const uint32_t lba = cdb.u32(2);
  if (lba >= state.blocks) {
    return sense::kOutOfRange;
  }
  BeWriter data;
  data.u8(kMode1).zeroes(3).u32(address_of(lba, cdb.has(1, kMsf)));
  return reply(data);
}

// MMC-6, section 6.5.
Outcome get_event_status(const Cdb& cdb, MmcState& state) {
  constexpr uint8_t kPolled = 0x01;
  constexpr uint8_t kMediaClass = 4;
  constexpr uint8_t kMediaClassBit = 1U << kMediaClass;
  constexpr uint8_t kNoEventAvailable = 0x80;
  if (!cdb.has(1, kPolled)) {
    return sense::kInvalidFieldInCdb;
  }
  BeWriter data;
  if (!cdb.has(4, kMediaClassBit)) {
    data.u16(2).u8(kNoEventAvailable).u8(kMediaClassBit);
    return reply(data);
  }
  data.u16(6).u8(kMediaClass).u8(kMediaClassBit).u8(static_cast<uint8_t>(state.event));
  data.u8(static_cast<uint8_t>((state.is_open ? 1 : 0) | (state.is_loaded() ? 2 : 0))).zeroes(2);
  state.event = MediaEvent::kNone;
  return reply(data);
}

// MMC-6, section 6.22: a finished disc of one session.
Outcome read_disc_information(const Cdb& cdb) {
  constexpr uint8_t kDataTypes = 0x07;
  constexpr uint8_t kComplete = 0x0e;  // the disc, and its last session
  constexpr uint8_t kUnrestricted = 0x20;
  if ((cdb.byte(1) & kDataTypes) != 0) {
    return sense::kInvalidFieldInCdb;
  }
  BeWriter data;
  data.u16(32).u8(kComplete).u8(kFirstTrack);
  data.bytes({1, kFirstTrack, kFirstTrack, kUnrestricted, 0, 0, 0, 0}).u32(0);
  data.u32(UINT32_MAX).u32(UINT32_MAX).zeroes(10);  // nothing can be added
  return reply(data);
}

// MMC-6, section 6.27.
Outcome read_track_information(const Cdb& cdb, const MmcState& state) {
  constexpr uint8_t kByBlock = 0;
  constexpr uint8_t kBySession = 2;
  constexpr uint8_t kDataTrack = 0x04;
  constexpr uint8_t kMode1 = 0x01;
  const auto kind = static_cast<uint8_t>(cdb.byte(1) & 0x03);
  const uint32_t which = cdb.u32(2);
  const bool is_there = kind == kByBlock ? which < state.blocks : kind <= kBySession && which == kFirstTrack;
  if (!is_there) {
    return sense::kInvalidFieldInCdb;
  }
  BeWriter data;
  data.u16(34).u8(kFirstTrack).u8(1).u8(0).u8(kDataTrack).u8(kMode1).u8(0);
  data.u32(0).u32(0).u32(0).u32(0).u32(state.blocks).u32(0).zeroes(4);
  return reply(data);
}

// MMC-6, section 6.23.
Outcome read_dvd_structure(const Cdb& cdb, const MmcState& state) {
  constexpr uint32_t kFirstSector = 0x03'0000;  // of every DVD's data area
  if (!is_dvd(state)) {
    return sense::kIncompatibleFormat;
  }
  if ((cdb.byte(1) & 0x0f) != 0 || cdb.byte(6) != 0) {
    return sense::kInvalidFieldInCdb;  // another kind of medium, another layer
  }
  BeWriter data;
  data.zeroes(4);
  switch (cdb.byte(7)) {
    case 0x00:        // physical format
      data.u8(0x01);  // DVD-ROM, version 1
      data.u8(0x0f);  // 120 mm, rate not specified
      data.u8(0x01);  // one layer, embossed
      data.u8(0).u32(kFirstSector).u32(kFirstSector + state.blocks - 1).u32(0).u8(0).zeroes(2048 - 17);
      break;
    case 0x01:  // copyright: not protected, plays everywhere
      data.u32(0);
      break;
    case 0x04:  // manufacturing
      data.zeroes(2048);
      break;
    case 0xff:  // the list of these
      data.bytes({0x00, 0x40, 0x08, 0x02}).bytes({0x01, 0x40, 0x00, 0x06}).bytes({0x04, 0x40, 0x08, 0x02});
      data.bytes({0xff, 0x40, 0x00, 0x12});
      break;
    default:
      return sense::kInvalidFieldInCdb;
  }
  data.patch_u16(0, data.size() - 2);
  return reply(data);
}

// MMC-6, section 6.20: nothing is ever waiting to be written.
Outcome read_buffer_capacity(const Cdb& cdb) {
  constexpr uint8_t kInBlocks = 0x01;
  if (cdb.has(1, kInBlocks)) {
    return sense::kInvalidFieldInCdb;  // no medium here has blocks to write
  }
  BeWriter data;
  data.u16(10).zeroes(2).u32(kBufferKbytes * 1024U).u32(kBufferKbytes * 1024U);
  return reply(data);
}

// MMC-6, section 6.8, performance data of type 0: one speed from the first block to the last.
Outcome get_performance(const Cdb& cdb, const MmcState& state) {
  constexpr uint8_t kOnlyNominalReads = 0x10;  // tolerance 10 %, no writes, no exceptions
  constexpr uint32_t kKbytesPerSecond = 11'080;
  if (cdb.byte(10) != 0 || (cdb.byte(1) & 0x1f) != kOnlyNominalReads) {
    return sense::kInvalidFieldInCdb;
  }
  BeWriter data;
  data.u32(4 + 16).u32(0);
  data.u32(0).u32(kKbytesPerSecond).u32(state.blocks - 1).u32(kKbytesPerSecond);
  return reply(data);
}

// MMC-6, section 6.10: not a changer.
Outcome mechanism_status(const MmcState& state) {
  constexpr uint8_t kDoorOpen = 0x10;
  BeWriter data;
  data.u8(0).u8(state.is_open ? kDoorOpen : 0).zeroes(6);
  return reply(data);
}

namespace {

constexpr uint8_t kPersistent = 0x02;
constexpr uint8_t kCurrent = 0x01;

struct Feature {
  uint16_t code = 0;
  uint8_t version = 0;
  bool is_persistent = false;
  bool needs_cd = false;
  bool needs_dvd = false;
  std::array<uint8_t, 8> data{};
  uint8_t length = 0;
};

// MMC-6, chapter 5.
constexpr std::array<Feature, 10> kFeatures = {{
    {.code = 0x0000, .is_persistent = true, .length = 8},  // the profile list, filled in below
    {.code = 0x0001, .version = 1, .is_persistent = true, .data = {0, 0, 0, 2}, .length = 8},  // core: ATAPI
    {.code = 0x0002, .version = 1, .is_persistent = true, .length = 4},                        // morphing
    // Removable: a tray that loads, ejects and can be locked.
    {.code = 0x0003, .is_persistent = true, .data = {0x29}, .length = 4},
    {.code = 0x0010, .needs_cd = true, .needs_dvd = true, .data = {0, 0, 8, 0, 0, 1}, .length = 8},  // 2 KiB
    {.code = 0x001d, .needs_cd = true, .length = 0},                     // multi-read
    {.code = 0x001e, .version = 2, .needs_cd = true, .length = 4},       // CD read
    {.code = 0x001f, .version = 1, .needs_dvd = true, .length = 4},      // DVD read
    {.code = 0x0100, .is_persistent = true, .length = 0},                // power management
    {.code = 0x0105, .version = 1, .is_persistent = true, .length = 4},  // time-out
}};

bool is_current(const Feature& feature, const MmcState& state) {
  if (feature.is_persistent) {
    return true;
  }
  return state.is_loaded() && (is_dvd(state) ? feature.needs_dvd : feature.needs_cd);
}

void put_feature(BeWriter& data, const Feature& feature, const MmcState& state) {
  data.u16(feature.code);
  data.u8(static_cast<uint8_t>(feature.version << 2 | (feature.is_persistent ? kPersistent : 0) |
                               (is_current(feature, state) ? kCurrent : 0)));
  data.u8(feature.length);
  if (feature.code == 0x0000) {
    const uint16_t profile = profile_of(state);
    data.u16(kProfileDvdRom).u8(profile == kProfileDvdRom ? kCurrent : 0).u8(0);
    data.u16(kProfileCdRom).u8(profile == kProfileCdRom ? kCurrent : 0).u8(0);
    return;
  }
  for (size_t i = 0; i < feature.length; ++i) {
    data.u8(feature.data[i]);
  }
}

}  // namespace

// MMC-6, section 6.6.
Outcome get_configuration(const Cdb& cdb, const MmcState& state) {
  constexpr uint8_t kOnlyCurrent = 1;
  constexpr uint8_t kOnlyOne = 2;
  const auto wanted = static_cast<uint8_t>(cdb.byte(1) & 0x03);
  const uint16_t first = cdb.u16(2);
  if (wanted > kOnlyOne) {
    return sense::kInvalidFieldInCdb;
  }
  BeWriter data;
  data.u32(0).u16(0).u16(profile_of(state));
  for (const Feature& feature : kFeatures) {
    const bool is_asked = wanted == kOnlyOne ? feature.code == first : feature.code >= first;
    if (is_asked && (wanted != kOnlyCurrent || is_current(feature, state))) {
      put_feature(data, feature, state);
    }
  }
  data.patch_u32(0, data.size() - 4);
  return reply(data);
}

}  // namespace vmm::ide
