#include "vmm/base/log.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace vmm::log {
namespace {

TEST(RateLimit, LetsABurstThroughAndThenHolds) {
  RateLimit limit;
  int allowed = 0;
  for (int i = 0; i < 1000; ++i) {
    allowed += limit.allows() ? 1 : 0;
  }
  // Ten of the burst, one for the first interval, one more should the test be suspended for seconds.
  EXPECT_GE(allowed, 10);
  EXPECT_LE(allowed, 12);
}

TEST(Log, WritesLinesOfItsLevelToTheFile) {
  const auto path = std::filesystem::temp_directory_path() / ("vmm_log_test." + std::to_string(::getpid()));
  ASSERT_TRUE(open(Level::kInfo, path.string()));
  info("the disk {} is full", "vda");
  debug("nobody reads this");
  ASSERT_TRUE(open(Level::kWarning, ""));
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  std::filesystem::remove(path);
  EXPECT_NE(text.str().find("info: the disk vda is full"), std::string::npos);
  EXPECT_EQ(text.str().find("nobody"), std::string::npos);
}

TEST(Log, NamesTheFileThatCannotBeOpened) {
  const Status status = open(Level::kInfo, "/dev/null/log");
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message().find("/dev/null/log"), std::string::npos);
}

}  // namespace
}  // namespace vmm::log
