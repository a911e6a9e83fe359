// What a command does to the drive, and with which sense it fails.
#include "devices/ide/mmc_commands.h"

#include <gtest/gtest.h>

#include "tests/unit/devices/ide/mmc_rig.h"

namespace vmm::ide {
namespace {

using Bytes = MmcRig::Bytes;

std::optional<ReadPlan> plan_of(const Outcome& outcome) {
  const auto* plan = std::get_if<ReadPlan>(&outcome);
  return plan == nullptr ? std::nullopt : std::optional(*plan);
}

TEST(MmcAttention, IsReportedOnceForEachCauseResetFirst) {
  MmcRig rig;
  rig.state.has_reset_attention = true;
  rig.state.has_medium_attention = true;
  EXPECT_EQ(rig.test_unit_ready(), sense::kReset);
  EXPECT_EQ(rig.test_unit_ready(), sense::kMediumChanged);
  EXPECT_EQ(rig.test_unit_ready(), std::nullopt);
}

TEST(MmcAttention, InquiryConfigurationAndEventsLeaveItForOthers) {
  MmcRig rig;
  rig.state.has_reset_attention = true;
  EXPECT_EQ(rig.reply_to({0x12, 0, 0, 0, 36}).size(), 36U);
  EXPECT_EQ(rig.reply_to({0x46, 0, 0, 0, 0, 0, 0, 0, 8}).size(), 8U);
  EXPECT_EQ(rig.reply_to({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}).size(), 8U);
  EXPECT_EQ(rig.test_unit_ready(), sense::kReset);
}

TEST(MmcAttention, RequestSenseReportsAndTakesIt) {
  MmcRig rig;
  rig.state.has_reset_attention = true;
  const Bytes sense = rig.reply_to({0x03, 0, 0, 0, 18});
  ASSERT_EQ(sense.size(), 18U);
  EXPECT_EQ(sense[2], 0x06);
  EXPECT_EQ(sense[12], 0x29);
  EXPECT_EQ(rig.test_unit_ready(), std::nullopt);
}

TEST(MmcSense, IsKeptForRequestSenseAndClearedByIt) {
  MmcRig rig;
  EXPECT_EQ(rig.sense_of({0xff}), sense::kInvalidOperationCode);
  EXPECT_EQ(rig.reply_to({0x03, 0, 0, 0, 14}), (Bytes{0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0}));
  EXPECT_EQ(rig.reply_to({0x03, 0, 0, 0, 14})[2], 0);
}

TEST(MmcSense, IsClearedByTheNextCommand) {
  MmcRig rig;
  EXPECT_EQ(rig.sense_of({0xff}), sense::kInvalidOperationCode);
  EXPECT_EQ(rig.test_unit_ready(), std::nullopt);
  EXPECT_EQ(rig.reply_to({0x03, 0, 0, 0, 18})[12], 0);
}

TEST(MmcMedium, AbsenceSaysWhetherTheTrayIsOpen) {
  MmcRig rig(0);
  EXPECT_EQ(rig.test_unit_ready(), sense::kNoMediumTrayClosed);
  EXPECT_TRUE(rig.succeeds({0x1b, 0, 0, 0, 0x02}));
  EXPECT_EQ(rig.test_unit_ready(), sense::kNoMediumTrayOpen);
}

// CVE-2015-6855: commands to an empty drive divided by its size.
TEST(MmcMedium, EveryCommandThatNeedsOneFailsWithoutIt) {
  for (const uint8_t opcode :
       Bytes{0x00, 0x25, 0x28, 0x2b, 0x2f, 0x42, 0x43, 0x44, 0x51, 0x52, 0xa8, 0xac, 0xad, 0xb9, 0xbe}) {
    MmcRig rig(0);
    EXPECT_EQ(rig.sense_of({opcode, 0, 0, 0, 0, 0, 0, 0, 1, 0x10}), sense::kNoMediumTrayClosed) << +opcode;
  }
}

TEST(MmcMedium, SmallerThanABlockCannotBeRead) {
  MmcRig rig(0);
  rig.state.has_medium = true;
  EXPECT_EQ(rig.test_unit_ready(), sense::kCannotReadMedium);
  EXPECT_EQ(rig.sense_of({0x25}), sense::kCannotReadMedium);
  EXPECT_EQ(rig.sense_of({0x28, 0, 0, 0, 0, 0, 0, 0, 1}), sense::kCannotReadMedium);
}

TEST(MmcMedium, ImagesAreCountedInWholeBlocksAsFarAsCommandsReach) {
  EXPECT_EQ(MmcState::blocks_of(2047), 0U);
  EXPECT_EQ(MmcState::blocks_of(4097), 2U);
  EXPECT_EQ(MmcState::blocks_of(uint64_t{1} << 50), UINT32_MAX);
}

TEST(MmcRead, TenAndTwelveByteFormsNameBlocks) {
  MmcRig rig;
  const auto ten = plan_of(rig.run({0x28, 0, 0, 0, 0x01, 0x02, 0, 0, 3}));
  ASSERT_TRUE(ten);
  EXPECT_EQ(ten->lba, 0x0102U);
  EXPECT_EQ(ten->blocks, 3U);
  const auto twelve = plan_of(rig.run({0xa8, 0, 0, 0, 0, 4, 0, 0, 0, 5}));
  ASSERT_TRUE(twelve);
  EXPECT_EQ(twelve->lba, 4U);
  EXPECT_EQ(twelve->blocks, 5U);
}

TEST(MmcRead, OfNoBlocksSucceedsAsFarAsTheEnd) {
  MmcRig rig(1000);
  EXPECT_TRUE(rig.succeeds({0x28, 0, 0, 0, 0x03, 0xe8, 0, 0, 0}));
  EXPECT_EQ(rig.sense_of({0x28, 0, 0, 0, 0x03, 0xe9, 0, 0, 0}), sense::kOutOfRange);
}

TEST(MmcRead, PastTheEndOfTheMediumIsAnIllegalRequest) {
  MmcRig rig(1000);
  EXPECT_TRUE(plan_of(rig.run({0x28, 0, 0, 0, 0x03, 0xe7, 0, 0, 1})));
  EXPECT_EQ(rig.sense_of({0x28, 0, 0, 0, 0x03, 0xe7, 0, 0, 2}), sense::kOutOfRange);
  EXPECT_EQ(rig.sense_of({0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1}), sense::kOutOfRange);
  EXPECT_EQ(rig.sense_of({0xa8, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff}), sense::kOutOfRange);
}

TEST(MmcRead, RelativeAddressesAreRefused) {
  MmcRig rig;
  EXPECT_EQ(rig.sense_of({0x28, 1, 0, 0, 0, 0, 0, 0, 1}), sense::kInvalidFieldInCdb);
}

TEST(MmcReadCd, GivesUserDataOfMode1Blocks) {
  MmcRig rig;
  for (const uint8_t type : Bytes{0x00, 0x08}) {
    const auto plan = plan_of(rig.run({0xbe, type, 0, 0, 0, 7, 0, 0, 2, 0x10}));
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->lba, 7U);
    EXPECT_EQ(plan->blocks, 2U);
  }
}

TEST(MmcReadCd, WithoutAnyPartOfTheBlockTransfersNothing) {
  MmcRig rig;
  EXPECT_TRUE(rig.succeeds({0xbe, 0, 0, 0, 0, 7, 0, 0, 2, 0}));
  EXPECT_EQ(rig.sense_of({0xbe, 0, 0, 0, 0xff, 0xff, 0, 0, 2, 0}), sense::kOutOfRange);
}

TEST(MmcReadCd, OtherPartsAndOtherSectorTypesAreRefused) {
  MmcRig rig;
  EXPECT_EQ(rig.sense_of({0xbe, 0, 0, 0, 0, 0, 0, 0, 1, 0xf8}), sense::kInvalidFieldInCdb);
  EXPECT_EQ(rig.sense_of({0xbe, 0, 0, 0, 0, 0, 0, 0, 1, 0x10, 1}), sense::kInvalidFieldInCdb);
  EXPECT_EQ(rig.sense_of({0xbe, 0x04, 0, 0, 0, 0, 0, 0, 1, 0x10}), sense::kIllegalModeForTrack);
}

TEST(MmcReadCd, MinutesSecondsAndFramesCountFromThePregap) {
  MmcRig rig;
  const auto plan = plan_of(rig.run({0xb9, 0, 0, 0, 2, 1, 0, 2, 3, 0x10}));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->lba, 1U);
  EXPECT_EQ(plan->blocks, 2U);
  EXPECT_EQ(rig.sense_of({0xb9, 0, 0, 0, 1, 0, 0, 2, 3, 0x10}), sense::kInvalidFieldInCdb);
  EXPECT_EQ(rig.sense_of({0xb9, 0, 0, 0, 2, 75, 0, 3, 3, 0x10}), sense::kInvalidFieldInCdb);
  EXPECT_EQ(rig.sense_of({0xb9, 0, 0, 0, 3, 0, 0, 2, 0, 0x10}), sense::kInvalidFieldInCdb);
}

TEST(MmcSeek, AndVerifyStayOnTheMedium) {
  MmcRig rig(1000);
  EXPECT_TRUE(rig.succeeds({0x2b, 0, 0, 0, 0x03, 0xe7}));
  EXPECT_EQ(rig.sense_of({0x2b, 0, 0, 0, 0x03, 0xe8}), sense::kOutOfRange);
  EXPECT_TRUE(rig.succeeds({0x2f, 0, 0, 0, 0x03, 0xe7, 0, 0, 1}));
  EXPECT_EQ(rig.sense_of({0x2f, 0, 0, 0, 0x03, 0xe7, 0, 0, 2}), sense::kOutOfRange);
}

TEST(MmcTray, TheGuestEjectsAndLoads) {
  MmcRig rig;
  EXPECT_TRUE(rig.succeeds({0x1b, 0, 0, 0, 0x02}));
  EXPECT_TRUE(rig.state.is_open);
  EXPECT_EQ(rig.test_unit_ready(), sense::kNoMediumTrayOpen);
  EXPECT_TRUE(rig.succeeds({0x1b, 0, 0, 0, 0x03}));
  EXPECT_EQ(rig.test_unit_ready(), sense::kMediumChanged);
  EXPECT_EQ(rig.test_unit_ready(), std::nullopt);
}

TEST(MmcTray, StaysWhereItIsWhileRemovalIsPrevented) {
  MmcRig rig;
  EXPECT_TRUE(rig.succeeds({0x1e, 0, 0, 0, 1}));
  EXPECT_EQ(rig.sense_of({0x1b, 0, 0, 0, 0x02}), sense::kRemovalPrevented);
  EXPECT_FALSE(rig.state.is_open);
  EXPECT_TRUE(rig.succeeds({0x1e, 0, 0, 0, 0}));
  EXPECT_TRUE(rig.succeeds({0x1b, 0, 0, 0, 0x02}));
}

TEST(MmcTray, StartingNeedsAMediumAndStoppingNeedsNothing) {
  MmcRig rig(0);
  EXPECT_EQ(rig.sense_of({0x1b, 0, 0, 0, 0x01}), sense::kNoMediumTrayClosed);
  EXPECT_TRUE(rig.succeeds({0x1b, 0, 0, 0, 0x00}));
  EXPECT_TRUE(rig.succeeds({0x1b, 0, 0, 0, 0x30}));
  EXPECT_FALSE(rig.state.is_open);
}

TEST(MmcTray, ResetUnlocksAndForgetsButLeavesTheDisc) {
  MmcRig rig;
  EXPECT_TRUE(rig.succeeds({0x1e, 0, 0, 0, 1}));
  EXPECT_TRUE(rig.succeeds({0xbb, 0, 0x02, 0xc2}));
  EXPECT_EQ(rig.sense_of({0xff}), sense::kInvalidOperationCode);
  reset_mmc(rig.state);
  EXPECT_FALSE(rig.state.is_locked);
  EXPECT_EQ(rig.state.read_speed_kbytes, 0xffff);
  EXPECT_EQ(rig.state.sense, sense::kNone);
  EXPECT_EQ(rig.test_unit_ready(), sense::kReset);
  EXPECT_EQ(rig.test_unit_ready(), std::nullopt);
}

TEST(MmcEvents, ANewMediumIsToldOnce) {
  MmcRig rig(0);
  put_medium(rig.state, 10);
  EXPECT_EQ(rig.reply_to({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}), (Bytes{0, 6, 4, 0x10, 2, 2, 0, 0}));
  EXPECT_EQ(rig.reply_to({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}), (Bytes{0, 6, 4, 0x10, 0, 2, 0, 0}));
}

TEST(MmcEvents, RemovalAndTheOpenTrayAreTold) {
  MmcRig rig;
  open_tray(rig.state);
  EXPECT_EQ(rig.reply_to({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}), (Bytes{0, 6, 4, 0x10, 3, 1, 0, 0}));
  take_medium(rig.state);
  EXPECT_EQ(rig.reply_to({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}), (Bytes{0, 6, 4, 0x10, 0, 1, 0, 0}));
}

TEST(MmcEvents, AWishToEjectIsToldButHidesNothing) {
  MmcRig rig;
  request_eject(rig.state);
  EXPECT_EQ(rig.reply_to({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8})[4], 1);
  put_medium(rig.state, 5);
  request_eject(rig.state);
  EXPECT_EQ(rig.reply_to({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8})[4], 2);
}

TEST(MmcEvents, OtherClassesAreNotThereAndNobodyIsWaitedFor) {
  MmcRig rig;
  EXPECT_EQ(rig.reply_to({0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8}), (Bytes{0, 2, 0x80, 0x10}));
  EXPECT_EQ(rig.sense_of({0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8}), sense::kInvalidFieldInCdb);
}

TEST(MmcEvents, AShortAllocationTakesTheEventAllTheSame) {
  MmcRig rig;
  put_medium(rig.state, 5);
  EXPECT_EQ(rig.reply_to({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 2}), (Bytes{0, 6}));
  EXPECT_EQ(rig.state.event, MediaEvent::kNone);
}

TEST(MmcNonsense, EveryOpcodeWithEveryByteHasABoundedOutcome) {
  for (unsigned opcode = 0; opcode < 256; ++opcode) {
    for (const uint8_t fill : Bytes{0x00, 0x01, 0x10, 0x7f, 0x80, 0xff}) {
      for (const uint32_t blocks : {0U, 1U, 700'000U, UINT32_MAX}) {
        MmcRig rig(blocks);
        const Outcome outcome = rig.run(
            {static_cast<uint8_t>(opcode), fill, fill, fill, fill, fill, fill, fill, fill, fill, fill, fill});
        if (const auto* reply = std::get_if<Reply>(&outcome)) {
          EXPECT_LE(reply->bytes.size(), kMaxReplyBytes) << opcode;
        } else if (const auto* plan = std::get_if<ReadPlan>(&outcome)) {
          EXPECT_GT(plan->blocks, 0U);
          EXPECT_LE(uint64_t{plan->lba} + plan->blocks, blocks) << opcode;
        }
      }
    }
  }
}

}  // namespace
}  // namespace vmm::ide
