#include "vmm/base/log.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

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
  set_level(Level::kInfo);
  ASSERT_TRUE(open(path.string()));
  info("the disk {} is full", "vda");
  info("the disk {} is no more", "v\x1b[8md\na");
  debug("nobody reads this");
  to_file("and that is the end");
  close();
  to_file("this has been written to stderr already");
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  std::filesystem::remove(path);
  EXPECT_NE(text.str().find("info: the disk vda is full"), std::string::npos);
  EXPECT_NE(text.str().find("error: and that is the end"), std::string::npos);
  EXPECT_NE(text.str().find("info: the disk v?[8md\na is no more"), std::string::npos);
  EXPECT_EQ(text.str().find("nobody"), std::string::npos);
  EXPECT_EQ(text.str().find("already"), std::string::npos);
}

std::string& sunk_lines() {
  static std::string lines;
  return lines;
}

TEST(Log, ASinkGetsWhatWouldGoToStderrAndNothingOfWhatGoesToAFile) {
  set_level(Level::kWarning);
  set_sink([](Level level, std::string_view text) {
    sunk_lines() += fmt::format("{} {};", static_cast<int>(level), text);
  });
  warning("disk {}", "vda");
  info("nobody reads this");
  const auto path =
      std::filesystem::temp_directory_path() / ("vmm_log_test.sink." + std::to_string(::getpid()));
  ASSERT_TRUE(open(path.string()));
  warning("in the file");
  tell("in both");
  close();
  set_sink(nullptr);
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  std::filesystem::remove(path);
  EXPECT_EQ(sunk_lines(), fmt::format("{} disk vda;{} in both;", static_cast<int>(Level::kWarning),
                                      static_cast<int>(Level::kOff)));
  EXPECT_NE(text.str().find("in the file"), std::string::npos);
  EXPECT_NE(text.str().find("in both"), std::string::npos);
}

TEST(Log, NamesTheFileThatCannotBeOpened) {
  const Status status = open("/dev/null/log");
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message().find("/dev/null/log"), std::string::npos);
}

TEST(Log, APipeThatNobodyReadsIsAnErrorNotAWait) {
  const auto path =
      std::filesystem::temp_directory_path() / ("vmm_log_test.pipe." + std::to_string(::getpid()));
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const Status status = open(path.string());
  std::filesystem::remove(path);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message().find("nobody reads"), std::string::npos);
}

TEST(Log, MakesNoFolders) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("vmm_log_test.absent." + std::to_string(::getpid()));
  ASSERT_FALSE(open((folder / "log").string()));
  EXPECT_FALSE(std::filesystem::exists(folder));
}

}  // namespace
}  // namespace vmm::log
