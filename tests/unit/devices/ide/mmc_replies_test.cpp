// The data of the commands that describe the drive and its disc, byte for byte where drivers look.
#include "devices/ide/mmc_replies.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/devices/ide/mmc_rig.h"

namespace vmm::ide {
namespace {

using Bytes = MmcRig::Bytes;

constexpr uint32_t kDvdBlocks = 2'000'000;

TEST(MmcInquiry, IsARemovableCdDrive) {
  MmcRig rig(0);
  const Bytes data = rig.reply_to({0x12, 0, 0, 0, 0xff});
  ASSERT_EQ(data.size(), 36U);
  EXPECT_EQ(data[0], 0x05);
  EXPECT_EQ(data[1], 0x80);
  EXPECT_EQ(data[3] & 0x0f, 2);
  EXPECT_EQ(data[4], 31);
  EXPECT_EQ(std::string(data.begin() + 8, data.begin() + 16), "VMM     ");
}

TEST(MmcInquiry, IsCutToTheAllocationLength) {
  MmcRig rig;
  EXPECT_EQ(rig.reply_to({0x12, 0, 0, 0, 5}).size(), 5U);
  EXPECT_TRUE(rig.reply_to({0x12, 0, 0, 0, 0}).empty());
  EXPECT_EQ(rig.sense_of({0x12, 0, 0, 0, 0}), std::nullopt);
}

TEST(MmcInquiry, HasNoVitalProductData) {
  MmcRig rig;
  EXPECT_EQ(rig.sense_of({0x12, 1, 0x83, 0, 0xff}), sense::kInvalidFieldInCdb);
}

TEST(MmcCapacity, IsTheLastBlockAndTheBlockLength) {
  MmcRig rig(0x12345);
  EXPECT_EQ(rig.reply_to({0x25}), (Bytes{0, 1, 0x23, 0x44, 0, 0, 8, 0}));
  EXPECT_EQ(rig.reply_to({0x23, 0, 0, 0, 0, 0, 0, 0, 12}), (Bytes{0, 0, 0, 8, 0, 1, 0x23, 0x45, 2, 0, 8, 0}));
}

TEST(MmcCapacity, FormatCapacitiesOfAnEmptyDriveSaySo) {
  MmcRig rig(0);
  EXPECT_EQ(rig.reply_to({0x23, 0, 0, 0, 0, 0, 0, 0, 12})[8], 3);
}

TEST(MmcToc, HasOneDataTrackAndALeadOut) {
  MmcRig rig(1000);
  EXPECT_EQ(rig.reply_to({0x43, 0, 0, 0, 0, 0, 0, 0, 0xff}),
            (Bytes{0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 0x03, 0xe8}));
}

TEST(MmcToc, InMinutesSecondsFrames) {
  MmcRig rig(1000);
  const Bytes toc = rig.reply_to({0x43, 2, 0, 0, 0, 0, 0, 0, 0xff});
  ASSERT_EQ(toc.size(), 20U);
  EXPECT_EQ(Bytes(toc.begin() + 8, toc.begin() + 12), (Bytes{0, 0, 2, 0}));
  EXPECT_EQ(Bytes(toc.begin() + 16, toc.end()), (Bytes{0, 0, 15, 25}));  // (1000 + 150) / 75 = 15 s 25
}

TEST(MmcToc, FromTheLeadOutAndFromNowhere) {
  MmcRig rig;
  EXPECT_EQ(rig.reply_to({0x43, 0, 0, 0, 0, 0, 0xaa, 0, 0xff}).size(), 12U);
  EXPECT_EQ(rig.sense_of({0x43, 0, 0, 0, 0, 0, 2, 0, 0xff}), sense::kInvalidFieldInCdb);
}

TEST(MmcToc, SessionsAreAskedForInTheOldAndTheNewByte) {
  MmcRig rig;
  const Bytes sessions{0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0};
  EXPECT_EQ(rig.reply_to({0x43, 0, 1, 0, 0, 0, 0, 0, 0xff}), sessions);
  EXPECT_EQ(rig.reply_to({0x43, 0, 0, 0, 0, 0, 0, 0, 0xff, 0x40}), sessions);
}

TEST(MmcToc, RawHasThePointsOfOneSession) {
  MmcRig rig(1000);
  const Bytes toc = rig.reply_to({0x43, 2, 2, 0, 0, 0, 0, 0, 0xff});
  ASSERT_EQ(toc.size(), 4U + 4 * 11);
  EXPECT_EQ(toc[1], toc.size() - 2);
  EXPECT_EQ(toc[4 + 3], 0xa0);
  EXPECT_EQ(toc[15 + 3], 0xa1);
  EXPECT_EQ(toc[26 + 3], 0xa2);
  EXPECT_EQ(Bytes(toc.begin() + 26 + 8, toc.begin() + 26 + 11), (Bytes{0, 15, 25}));
  EXPECT_EQ(toc[37 + 3], 1);
}

TEST(MmcToc, OtherFormatsAreRefused) {
  MmcRig rig;
  for (const uint8_t format : Bytes{3, 4, 5, 15}) {
    EXPECT_EQ(rig.sense_of({0x43, 2, format, 0, 0, 0, 0, 0, 0xff}), sense::kInvalidFieldInCdb);
  }
}

TEST(MmcToc, AddressesThatMinutesCannotNameAreTheLast) {
  MmcRig rig(UINT32_MAX);
  const Bytes toc = rig.reply_to({0x43, 2, 0, 0, 0, 0, 0xaa, 0, 0xff});
  EXPECT_EQ(Bytes(toc.begin() + 8, toc.end()), (Bytes{0, 255, 59, 74}));
}

TEST(MmcSubChannel, NothingPlays) {
  MmcRig rig;
  EXPECT_EQ(rig.reply_to({0x42, 0, 0, 1, 0, 0, 0, 0, 0xff}), (Bytes{0, 0x15, 0, 0}));
  const Bytes position = rig.reply_to({0x42, 2, 0x40, 1, 0, 0, 0, 0, 0xff});
  ASSERT_EQ(position.size(), 16U);
  EXPECT_EQ(position[3], 12);
  EXPECT_EQ(position[6], 1);
  EXPECT_EQ(rig.reply_to({0x42, 2, 0x40, 2, 0, 0, 0, 0, 0xff}).size(), 24U);
  EXPECT_EQ(rig.reply_to({0x42, 2, 0x40, 3, 0, 0, 1, 0, 0xff}).size(), 24U);
  EXPECT_EQ(rig.sense_of({0x42, 2, 0x40, 9, 0, 0, 0, 0, 0xff}), sense::kInvalidFieldInCdb);
}

TEST(MmcHeader, IsMode1) {
  MmcRig rig(1000);
  EXPECT_EQ(rig.reply_to({0x44, 0, 0, 0, 0, 5, 0, 0, 8}), (Bytes{1, 0, 0, 0, 0, 0, 0, 5}));
  EXPECT_EQ(rig.sense_of({0x44, 0, 0, 0, 0x03, 0xe8, 0, 0, 8}), sense::kOutOfRange);
}

uint16_t profile_of(MmcRig& rig) {
  const Bytes data = rig.reply_to({0x46, 0, 0, 0, 0, 0, 0, 0, 8});
  return static_cast<uint16_t>(data.at(6) << 8 | data.at(7));
}

TEST(MmcConfiguration, TheProfileFollowsTheMedium) {
  MmcRig empty(0);
  EXPECT_EQ(profile_of(empty), 0x0000);
  MmcRig cd(kMaxCdBlocks);
  EXPECT_EQ(profile_of(cd), 0x0008);
  MmcRig dvd(kMaxCdBlocks + 1);
  EXPECT_EQ(profile_of(dvd), 0x0010);
  MmcRig beyond(100'000'000);
  EXPECT_EQ(profile_of(beyond), 0x0010);
  open_tray(beyond.state);
  EXPECT_EQ(profile_of(beyond), 0x0000);
}

TEST(MmcConfiguration, DescribesItselfWhole) {
  MmcRig rig;
  const Bytes data = rig.reply_to({0x46, 0, 0, 0, 0, 0, 0, 0x04, 0});
  ASSERT_GE(data.size(), 8U);
  EXPECT_EQ(data[3], data.size() - 4);
  std::vector<int> codes;
  size_t place = 8;
  while (place + 4 <= data.size()) {
    codes.push_back(data[place] << 8 | data[place + 1]);
    place += 4U + data[place + 3];
  }
  EXPECT_EQ(place, data.size());
  EXPECT_EQ(codes, (std::vector<int>{0, 1, 2, 3, 0x10, 0x1d, 0x1e, 0x1f, 0x100, 0x105}));
}

TEST(MmcConfiguration, OneFeatureOrTheCurrentOnes) {
  MmcRig rig;
  EXPECT_EQ(rig.reply_to({0x46, 2, 0, 3, 0, 0, 0, 0, 0xff}),
            (Bytes{0, 0, 0, 12, 0, 0, 0, 8, 0, 3, 3, 4, 0x29, 0, 0, 0}));
  EXPECT_EQ(rig.reply_to({0x46, 2, 0x99, 3, 0, 0, 0, 0, 0xff}).size(), 8U);
  // Of DVD read (1Fh) and what follows, two are current.
  EXPECT_EQ(rig.reply_to({0x46, 1, 0, 0x1f, 0, 0, 0, 0, 0xff}).size(), 8U + 4 + 8);
  EXPECT_EQ(rig.sense_of({0x46, 3, 0, 0, 0, 0, 0, 0, 0xff}), sense::kInvalidFieldInCdb);
}

TEST(MmcDisc, IsCompleteWithOneTrack) {
  MmcRig rig;
  const Bytes disc = rig.reply_to({0x51, 0, 0, 0, 0, 0, 0, 0, 0xff});
  ASSERT_EQ(disc.size(), 34U);
  EXPECT_EQ(disc[1], 32);
  EXPECT_EQ(disc[2], 0x0e);
  EXPECT_EQ(disc[6], 1);
  EXPECT_EQ(rig.sense_of({0x51, 1, 0, 0, 0, 0, 0, 0, 0xff}), sense::kInvalidFieldInCdb);
}

TEST(MmcDisc, TheTrackIsFoundByNumberBlockAndSession) {
  MmcRig rig(1000);
  for (const uint8_t kind : Bytes{0, 1, 2}) {
    const Bytes track = rig.reply_to({0x52, kind, 0, 0, 0, 1, 0, 0, 0xff});
    ASSERT_EQ(track.size(), 36U);
    EXPECT_EQ(track[1], 34);
    EXPECT_EQ(track[2], 1);
    EXPECT_EQ(Bytes(track.begin() + 24, track.begin() + 28), (Bytes{0, 0, 3, 0xe8}));
  }
  EXPECT_EQ(rig.sense_of({0x52, 1, 0, 0, 0, 2, 0, 0, 0xff}), sense::kInvalidFieldInCdb);
  EXPECT_EQ(rig.sense_of({0x52, 0, 0, 0, 0x03, 0xe8, 0, 0, 0xff}), sense::kInvalidFieldInCdb);
}

TEST(MmcDvdStructure, IsThereOnADvdOnly) {
  MmcRig cd;
  EXPECT_EQ(cd.sense_of({0xad, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}), sense::kIncompatibleFormat);
  MmcRig dvd(kDvdBlocks);
  const Bytes physical = dvd.reply_to({0xad, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff});
  ASSERT_EQ(physical.size(), 2052U);
  EXPECT_EQ(physical[0] << 8 | physical[1], 2050);
  EXPECT_EQ(Bytes(physical.begin() + 8, physical.begin() + 12), (Bytes{0, 3, 0, 0}));
  EXPECT_EQ(dvd.reply_to({0xad, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff}).size(), 8U);
  EXPECT_EQ(dvd.reply_to({0xad, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff}).size(), 20U);
  EXPECT_EQ(dvd.sense_of({0xad, 0, 0, 0, 0, 0, 1, 0, 0xff, 0xff}), sense::kInvalidFieldInCdb);
  EXPECT_EQ(dvd.sense_of({0xad, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xff}), sense::kInvalidFieldInCdb);
}

TEST(MmcMechanism, TellsOfTheDoor) {
  MmcRig rig;
  EXPECT_EQ(rig.reply_to({0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8}), (Bytes{0, 0, 0, 0, 0, 0, 0, 0}));
  open_tray(rig.state);
  EXPECT_EQ(rig.reply_to({0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8})[1], 0x10);
}

TEST(MmcBuffer, IsAllFree) {
  MmcRig rig;
  EXPECT_EQ(rig.reply_to({0x5c, 0, 0, 0, 0, 0, 0, 0, 0xff}), (Bytes{0, 10, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0}));
  EXPECT_EQ(rig.sense_of({0x5c, 1, 0, 0, 0, 0, 0, 0, 0xff}), sense::kInvalidFieldInCdb);
}

TEST(MmcPerformance, IsOneSpeed) {
  MmcRig rig;
  EXPECT_EQ(rig.reply_to({0xac, 0x10, 0, 0, 0, 0, 0, 0, 0, 1}).size(), 24U);
  EXPECT_EQ(rig.reply_to({0xac, 0x10, 0, 0, 0, 0, 0, 0, 0, 0}).size(), 8U);
  EXPECT_EQ(rig.sense_of({0xac, 0x14, 0, 0, 0, 0, 0, 0, 0, 1}), sense::kInvalidFieldInCdb);
}

TEST(MmcModeSense, CapabilitiesSayWhatTheDriveReadsAndThatItLocks) {
  MmcRig rig;
  Bytes page = rig.reply_to({0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 0xff});
  ASSERT_EQ(page.size(), 8U + 22);
  EXPECT_EQ(page[1], page.size() - 2);
  EXPECT_EQ(page[2], 0x01);
  EXPECT_EQ(page[8], 0x2a);
  EXPECT_EQ(page[9], 20);
  EXPECT_EQ(page[8 + 6], 0x29);
  EXPECT_TRUE(rig.succeeds({0x1e, 0, 0, 0, 1}));
  page = rig.reply_to({0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 0xff});
  EXPECT_EQ(page[8 + 6], 0x2b);
}

TEST(MmcModeSense, AllPagesComeInOrderAndSavedOnesDoNotExist) {
  MmcRig rig;
  const Bytes pages = rig.reply_to({0x5a, 0, 0x3f, 0, 0, 0, 0, 0x02, 0});
  Bytes codes;
  size_t place = 8;
  while (place + 2 <= pages.size()) {
    codes.push_back(pages[place]);
    place += 2U + pages[place + 1];
  }
  EXPECT_EQ(place, pages.size());
  EXPECT_EQ(codes, (Bytes{0x01, 0x0d, 0x0e, 0x1a, 0x1d, 0x2a}));
  EXPECT_EQ(rig.sense_of({0x5a, 0, 0xff, 0, 0, 0, 0, 0x02, 0}), sense::kSavingNotSupported);
  EXPECT_EQ(rig.sense_of({0x5a, 0, 0x08, 0, 0, 0, 0, 0x02, 0}), sense::kInvalidFieldInCdb);
}

TEST(MmcModeSense, TheMediumTypeFollowsTheTray) {
  MmcRig rig(0);
  EXPECT_EQ(rig.reply_to({0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 8})[2], 0x70);
  open_tray(rig.state);
  EXPECT_EQ(rig.reply_to({0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 8})[2], 0x71);
}

std::vector<std::byte> list_of(std::initializer_list<uint8_t> bytes) {
  std::vector<std::byte> list;
  for (const uint8_t byte : bytes) {
    list.push_back(std::byte{byte});
  }
  return list;
}

TEST(MmcModeSelect, ChangesWhatMayBeChanged) {
  MmcRig rig;
  const Outcome plan = rig.run({0x55, 0x10, 0, 0, 0, 0, 0, 0, 20});
  ASSERT_TRUE(std::holds_alternative<ParameterList>(plan));
  EXPECT_EQ(std::get<ParameterList>(plan).length_bytes, 20);
  const Outcome outcome = accept_parameters(
      list_of({0, 0, 0, 0, 0, 0, 0, 0, 0x01, 10, 0x20, 9, 0, 0, 0, 0, 0, 0, 0, 0}), rig.state);
  EXPECT_TRUE(std::holds_alternative<Done>(outcome));
  const Bytes page = rig.reply_to({0x5a, 0, 0x01, 0, 0, 0, 0, 0, 0xff});
  EXPECT_EQ(page[10], 0x20);
  EXPECT_EQ(page[11], 9);
  EXPECT_EQ(rig.reply_to({0x5a, 0, 0x81, 0, 0, 0, 0, 0, 0xff})[11], 5);  // the default
}

TEST(MmcModeSelect, WhatIsWrongChangesNothing) {
  MmcRig rig;
  const auto sense_of = [&](std::initializer_list<uint8_t> list) {
    const Outcome outcome = accept_parameters(list_of(list), rig.state);
    EXPECT_EQ(rig.state.mode, ModeParameters{});
    return std::get<Sense>(outcome);
  };
  EXPECT_EQ(sense_of({0, 0, 0}), sense::kParameterListLength);
  EXPECT_EQ(sense_of({0, 0, 0, 0, 0, 0, 0, 8}), sense::kInvalidFieldInParameters);
  EXPECT_EQ(sense_of({0, 0, 0, 0, 0, 0, 0, 0, 0x2a, 20}), sense::kParameterListLength);
  EXPECT_EQ(sense_of({0, 0, 0, 0, 0, 0, 0, 0, 0x77, 2, 0, 0}), sense::kInvalidFieldInParameters);
  EXPECT_EQ(sense_of({0, 0, 0, 0, 0, 0, 0, 0, 0x01, 9, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0}),
            sense::kInvalidFieldInParameters);
  EXPECT_EQ(sense_of({0, 0, 0, 0, 0, 0, 0, 0, 0x01, 10, 0xff, 9, 0, 0, 0, 0, 0, 0, 0, 0}),
            sense::kInvalidFieldInParameters);
  EXPECT_EQ(rig.state.sense, sense::kInvalidFieldInParameters);
}

TEST(MmcModeSelect, NeedsThePageFormatAndSavesNothing) {
  MmcRig rig;
  EXPECT_EQ(rig.sense_of({0x55, 0, 0, 0, 0, 0, 0, 0, 20}), sense::kInvalidFieldInCdb);
  EXPECT_EQ(rig.sense_of({0x55, 0x11, 0, 0, 0, 0, 0, 0, 20}), sense::kInvalidFieldInCdb);
  EXPECT_TRUE(rig.succeeds({0x55, 0x10, 0, 0, 0, 0, 0, 0, 0}));
}

}  // namespace
}  // namespace vmm::ide
