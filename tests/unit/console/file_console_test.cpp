#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/unit/console/console_fixture.h"
#include "vmm/console/console.h"

namespace vmm {
namespace {

class FileConsoleTest : public ConsoleFixture {
 protected:
  std::string contents() const {
    std::ostringstream text;
    text << std::ifstream(log_).rdbuf();
    return text.str();
  }

  Result<std::unique_ptr<Console>> begun(const std::string& file, bool is_append) {
    auto console = open_file_console(*loop_, file, is_append);
    if (console) {
      VMM_TRY((*console)->begin());
    }
    return console;
  }

  std::string log_ = path("serial.log");
};

TEST_F(FileConsoleTest, WritesTheGuestsOutput) {
  auto console = begun(log_, false);
  ASSERT_TRUE(console.has_value()) << console.error().message();
  (*console)->connect(guest_);
  print(**console, "first\nsecond");
  EXPECT_TRUE(turn_until([&] { return contents() == "first\nsecond"; }));
}

TEST_F(FileConsoleTest, EmptiesTheFileOrAppendsToIt) {
  std::ofstream(log_) << "before\n";
  {
    auto console = begun(log_, true);
    ASSERT_TRUE(console.has_value());
    print(**console, "after\n");
    (*console)->flush();
  }
  EXPECT_EQ(contents(), "before\nafter\n");
  auto console = begun(log_, false);
  ASSERT_TRUE(console.has_value());
  EXPECT_EQ(contents(), "");
}

TEST_F(FileConsoleTest, ChangesAndMakesNothingBeforeItBegins) {
  ASSERT_TRUE(open_file_console(*loop_, log_, false).has_value());
  EXPECT_FALSE(std::filesystem::exists(log_));
  std::ofstream(log_) << "before\n";
  ASSERT_TRUE(open_file_console(*loop_, log_, false).has_value());
  EXPECT_EQ(contents(), "before\n");
}

TEST_F(FileConsoleTest, AFileThatAnotherConsoleHasIsRefusedAndKept) {
  auto first = begun(log_, false);
  ASSERT_TRUE(first.has_value());
  print(**first, "first\n");
  (*first)->flush();
  for (const bool is_append : {false, true}) {
    const auto second = open_file_console(*loop_, log_, is_append);
    ASSERT_FALSE(second.has_value());
    EXPECT_NE(second.error().message().find("in use"), std::string::npos);
  }
  EXPECT_EQ(contents(), "first\n");
}

TEST_F(FileConsoleTest, IsForItsOwnerOnly) {
  ASSERT_TRUE(begun(log_, false).has_value());
  struct stat info{};
  ASSERT_EQ(::stat(log_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST_F(FileConsoleTest, NamesAFileThatCannotBeOpened) {
  const auto console = open_file_console(*loop_, path("absent/serial.log"), false);
  ASSERT_FALSE(console.has_value());
  EXPECT_NE(console.error().message().find("absent/serial.log"), std::string::npos);
}

TEST_F(FileConsoleTest, APipeWithoutAReaderIsAnErrorNotAWait) {
  ASSERT_EQ(::mkfifo(log_.c_str(), 0600), 0);
  const auto console = open_file_console(*loop_, log_, false);
  ASSERT_FALSE(console.has_value());
  EXPECT_NE(console.error().message().find("nobody reads"), std::string::npos);
}

TEST_F(FileConsoleTest, AFullDiskLosesOutputAndNothingElse) {
  auto console = begun("/dev/full", true);
  ASSERT_TRUE(console.has_value());
  (*console)->connect(guest_);
  print(**console, "lost\n");
  settle();
  EXPECT_EQ(print(**console, std::string(1'000'000, 'x')), 1'000'000U);
}

TEST(NullConsole, TakesEverything) {
  const auto console = make_null_console();
  EXPECT_EQ(console->write(as_bytes("anything")), 8U);
}

}  // namespace
}  // namespace vmm
