#include "boot/option_rom.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "tests/unit/boot/boot_test_support.h"
#include "vmm/base/bytes.h"

namespace vmm::boot {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr size_t kUnit = 512;
constexpr size_t kData = 0x1c;

void balance(Bytes& image, size_t length) {
  image[length - 1] = std::byte{0};
  const unsigned sum =
      std::accumulate(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(length), 0U,
                      [](unsigned total, std::byte byte) { return total + std::to_integer<unsigned>(byte); });
  image[length - 1] = static_cast<std::byte>((0x100 - sum % 0x100) % 0x100);
}

Bytes rom_image(uint8_t code_type, uint16_t device, bool is_last, uint16_t units = 1) {
  Bytes image(units * kUnit);
  store_le<uint16_t>(image.data(), 0xaa55);
  store_le<uint8_t>(&image[2], static_cast<uint8_t>(units));
  store_le<uint16_t>(&image[0x18], kData);
  store_le<uint32_t>(&image[kData], 0x52494350);
  store_le<uint16_t>(&image[kData + 4], 0x1af4);
  store_le<uint16_t>(&image[kData + 6], device);
  store_le<uint16_t>(&image[kData + 0x10], units);
  store_le<uint8_t>(&image[kData + 0x14], code_type);
  store_le<uint8_t>(&image[kData + 0x15], is_last ? 0x80 : 0);
  balance(image, image.size());
  return image;
}

Bytes joined(Bytes first, const Bytes& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

std::string rom_refusal(const Bytes& content) {
  const auto images = parse_option_rom("card.rom", content);
  return images ? "taken" : images.error().message();
}

// A good image with one of its fields changed.
template <std::unsigned_integral T>
Bytes with(size_t offset, T value) {
  Bytes image = rom_image(0, 0x1041, true);
  store_le<T>(&image[offset], value);
  return image;
}

TEST(OptionRomFile, IsReadWholeAndSaysWhatItIsFor) {
  const TempFolder folder;
  const Bytes content = joined(rom_image(3, 0x1041, false, 2), rom_image(0, 0x1041, true));
  const auto rom = read_option_rom(folder.write("card.rom", content));
  ASSERT_TRUE(rom) << rom.error().message();
  EXPECT_EQ(rom->bytes, content);
  EXPECT_EQ(rom->images.size(), 2U);
  EXPECT_TRUE(rom->is_for(0x1af4, 0x1041));
  EXPECT_FALSE(rom->is_for(0x1af4, 0x1000));
  EXPECT_FALSE(rom->is_for(0x8086, 0x1041));
}

TEST(OptionRomFile, IsForTheDevicesOfItsImagesForPcsAlone) {
  OptionRom rom;
  rom.images = *parse_option_rom("card.rom", joined(rom_image(0, 0x1000, false), rom_image(3, 0x1041, true)));
  EXPECT_TRUE(rom.is_for(0x1af4, 0x1000));
  EXPECT_FALSE(rom.is_for(0x1af4, 0x1041));
}

TEST(OptionRomFile, MayHaveMoreBehindItsLastImage) {
  EXPECT_EQ(rom_refusal(joined(rom_image(0, 0x1041, true), Bytes(100))), "taken");
}

TEST(OptionRomFile, ThatIsNoneIsRefusedWithItsNameAndPlace) {
  const std::string at = "option ROM card.rom: at offset ";
  EXPECT_THAT(rom_refusal(Bytes(kUnit)), HasSubstr(at + "0x0: no option ROM begins there"));
  EXPECT_THAT(rom_refusal(Bytes(3, std::byte{0x55})), HasSubstr(at + "0x0: no option ROM begins there"));
  EXPECT_THAT(rom_refusal(with<uint16_t>(0x18, 0xfff0)),
              HasSubstr(at + "0x18: there is no PCI data structure at 0xfff0"));
  EXPECT_THAT(rom_refusal(with<uint16_t>(0x18, kUnit - 4)),
              HasSubstr(at + "0x18: there is no PCI data structure"));
  EXPECT_THAT(rom_refusal(with<uint8_t>(kData, 'Q')),
              HasSubstr(at + "0x18: there is no PCI data structure at 0x1c"));
  EXPECT_THAT(rom_refusal(with<uint16_t>(kData + 0x10, 0)),
              HasSubstr(at + "0x2c: an image of 0 bytes does not fit"));
  EXPECT_THAT(rom_refusal(with<uint16_t>(kData + 0x10, 2)),
              HasSubstr(at + "0x2c: an image of 1024 bytes does not fit into the 512 left"));
  EXPECT_THAT(rom_refusal(with<uint8_t>(2, 0)),
              HasSubstr(at + "0x2: its code of 0 bytes is not within its 512"));
  EXPECT_THAT(rom_refusal(with<uint8_t>(2, 2)),
              HasSubstr(at + "0x2: its code of 1024 bytes is not within its 512"));
  EXPECT_THAT(rom_refusal(with<uint8_t>(0x100, 1)),
              HasSubstr(at + "0x0: its 512 bytes have a wrong checksum"));
  EXPECT_THAT(rom_refusal(rom_image(0, 0x1041, false)), HasSubstr(at + "0x200: the file ends"));
  EXPECT_THAT(rom_refusal(joined(rom_image(0, 0x1041, false), Bytes(kUnit))),
              HasSubstr(at + "0x200: no option ROM"));
  EXPECT_THAT(rom_refusal(rom_image(3, 0x1041, true)),
              AllOf(HasSubstr("card.rom"), HasSubstr("none of its images is for a PC's")));
}

TEST(OptionRomFile, IsOfBoundedSize) {
  const TempFolder folder;
  const auto message = [](const Result<OptionRom>& rom) { return rom ? "taken" : rom.error().message(); };
  const std::string path = folder.write("long", Bytes(kMaxOptionRomBytes + 1));
  EXPECT_THAT(message(read_option_rom(path)), AllOf(HasSubstr(path), HasSubstr("more than the 1048576")));
  EXPECT_THAT(message(read_option_rom(folder.write("empty", {}))), HasSubstr("empty"));
  EXPECT_THAT(message(read_option_rom("/nowhere/card.rom")), HasSubstr("/nowhere/card.rom"));
}

// Whatever its bytes are, it ends.
TEST(OptionRomFile, OfAnyBytesIsTakenOrRefused) {
  std::mt19937 random(20);
  const Bytes good = joined(rom_image(3, 0x1041, false, 2), rom_image(0, 0x1041, true));
  for (int i = 0; i < 20000; ++i) {
    Bytes content = good;
    for (int change = 0; change < 3; ++change) {
      content[random() % content.size()] = static_cast<std::byte>(random());
      content[random() % 0x40 + (random() % 2) * 2 * kUnit] = static_cast<std::byte>(random());
    }
    content.resize(random() % (content.size() + 1));
    if (const auto images = parse_option_rom("card.rom", content)) {
      EXPECT_LE(images->size(), content.size() / kUnit);
    }
  }
}

}  // namespace
}  // namespace vmm::boot
