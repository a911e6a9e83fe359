#include "vmm/machine/generation_id.h"

#include <gtest/gtest.h>

#include <vector>

namespace vmm {
namespace {

std::vector<uint8_t> id_of_a_start(const domain::Domain& domain) {
  const auto page = make_generation_id_page(domain);
  EXPECT_TRUE(page);
  std::vector<uint8_t> bytes;
  for (size_t i = 0; page && i < 16; ++i) {
    bytes.push_back(std::to_integer<uint8_t>(page->data()[i]));
  }
  return bytes;
}

domain::Domain with_id() {
  domain::Domain domain;
  domain.generation_id.emplace().value = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return domain;
}

TEST(GenerationId, ThatOfTheFileStandsAsAGuidDoes) {
  domain::Domain domain = with_id();
  domain.disks.emplace_back();
  EXPECT_EQ(id_of_a_start(domain),
            (std::vector<uint8_t>{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15}));
}

TEST(GenerationId, WithoutOneEachStartHasAnother) {
  domain::Domain domain;
  domain.generation_id.emplace();
  EXPECT_NE(id_of_a_start(domain), id_of_a_start(domain));
}

TEST(GenerationId, OfAThrowawayGuestItIsAnotherAtEachStartWhateverTheFileSays) {
  domain::Domain domain = with_id();
  domain.disks.emplace_back();
  domain.disks.emplace_back().transient = true;
  const auto first = id_of_a_start(domain);
  EXPECT_NE(first, id_of_a_start(with_id()));
  EXPECT_NE(first, id_of_a_start(domain));
}

}  // namespace
}  // namespace vmm
