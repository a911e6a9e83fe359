#include "boot/firmware.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/boot/boot_test_support.h"
#include "vmm/core/layout.h"

namespace vmm::boot {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr size_t kKiB = 1024;

Bytes numbered(size_t bytes) {
  Bytes content(bytes);
  for (size_t i = 0; i < bytes; ++i) {
    content[i] = static_cast<std::byte>(i / kKiB);
  }
  return content;
}

std::string refusal(const std::string& path) {
  const auto image = read_firmware(path);
  return image ? "taken" : image.error().message();
}

TEST(FirmwareFile, IsReadWholeAndEndsAtFourGiB) {
  const TempFolder folder;
  const auto image = read_firmware(folder.write("bios", numbered(128 * kKiB)));
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(image->bytes, numbered(128 * kKiB));
  EXPECT_EQ(image->rom_address(), GuestAddress(layout::kFourGiB - 128 * kKiB));
}

TEST(FirmwareFile, OfOddSizeIsRefusedByName) {
  const TempFolder folder;
  for (const size_t bytes : {size_t{1}, 64 * kKiB - 1, 64 * kKiB + 512, (16 << 10) * kKiB + 64 * kKiB}) {
    const std::string path = folder.write("odd", Bytes(bytes));
    EXPECT_THAT(refusal(path), AllOf(HasSubstr(path), HasSubstr(std::to_string(bytes)), HasSubstr("64 KiB")));
  }
  EXPECT_THAT(refusal(folder.write("empty", {})), HasSubstr("empty"));
}

TEST(FirmwareFile, ThatIsNotThereIsNamed) {
  EXPECT_THAT(refusal("/nowhere/bios.bin"), HasSubstr("/nowhere/bios.bin"));
}

TEST(FirmwareShadow, IsTheLast128KiBBelowOneMiB) {
  const Guest guest(4 << 20);
  ASSERT_TRUE(shadow_firmware(guest.memory, numbered(192 * kKiB)));
  EXPECT_EQ(guest.u8(0xe0000), 64);
  EXPECT_EQ(guest.u8(0xfffff), 191);
  EXPECT_EQ(guest.u8(0xdffff), 0);
}

TEST(FirmwareShadow, OfSmallFirmwareEndsAtOneMiBToo) {
  const Guest guest(4 << 20);
  ASSERT_TRUE(shadow_firmware(guest.memory, numbered(64 * kKiB)));
  EXPECT_EQ(guest.u8(0xeffff), 0);
  EXPECT_EQ(guest.u8(0xf0000 + kKiB), 1);
}

}  // namespace
}  // namespace vmm::boot
