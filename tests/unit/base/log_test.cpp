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
  EXPECT_NE(text.str().find("info [vmm]: the disk vda is full"), std::string::npos);
  EXPECT_NE(text.str().find("error [vmm]: and that is the end"), std::string::npos);
  EXPECT_NE(text.str().find("info [vmm]: the disk v?[8md\na is no more"), std::string::npos);
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

TEST(Log, ALevelMayBeThatOfAComponent) {
  Levels levels(Level::kWarning);
  levels.set(Component::kDisk, Level::kDebug);
  levels.set(Component::kKvm, Level::kOff);
  set_levels(levels);
  EXPECT_TRUE(enabled(Level::kDebug, Component::kDisk));
  EXPECT_FALSE(enabled(Level::kError, Component::kKvm));
  EXPECT_FALSE(enabled(Level::kInfo, Component::kMachine));
  EXPECT_TRUE(enabled(Level::kWarning, Component::kMachine));
  set_level(Level::kWarning);
  EXPECT_FALSE(enabled(Level::kDebug, Component::kDisk));
}

TEST(Log, AComponentIsThatOfTheSource) {
  EXPECT_EQ(component_of("/home/vmm/work/block/qcow2/image.cpp"), Component::kDisk);
  EXPECT_EQ(component_of("block/raw_image.cpp"), Component::kDisk);
  EXPECT_EQ(component_of("../vmm/machine/disks.cpp"), Component::kDisk);
  EXPECT_EQ(component_of("/x/vmm/machine/throwaway_disk.cpp"), Component::kDisk);
  EXPECT_EQ(component_of("/x/vmm/machine/machine.cpp"), Component::kMachine);
  EXPECT_EQ(component_of("/x/devices/ide/channel.cpp"), Component::kIde);
  EXPECT_EQ(component_of("/x/devices/serial.cpp"), Component::kDevices);
  EXPECT_EQ(component_of("/x/vmm/base/event_loop.cpp"), Component::kVmm);
  EXPECT_EQ(component_of("/x/vmm/main.cpp"), Component::kVmm);
  EXPECT_EQ(component_of("rebooted/x.cpp"), Component::kVmm);
  static_assert(name_of(Component::kVirtio) == "virtio");
}

TEST(Log, IsGoneOnWithInANewFileWhereTheOldOneWasMoved) {
  const auto path =
      std::filesystem::temp_directory_path() / ("vmm_log_test.move." + std::to_string(::getpid()));
  const auto moved = path.native() + ".1";
  set_level(Level::kWarning);
  EXPECT_TRUE(reopen());  // there is none
  ASSERT_TRUE(open(path.string()));
  warning("first");
  std::filesystem::rename(path, moved);
  warning("second");
  ASSERT_TRUE(reopen());
  warning("third");
  close();
  std::stringstream old_text;
  std::stringstream text;
  old_text << std::ifstream(moved).rdbuf();
  text << std::ifstream(path).rdbuf();
  std::filesystem::remove(path);
  std::filesystem::remove(moved);
  EXPECT_NE(old_text.str().find("second"), std::string::npos);
  EXPECT_EQ(old_text.str().find("third"), std::string::npos);
  EXPECT_NE(text.str().find("third"), std::string::npos);
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
