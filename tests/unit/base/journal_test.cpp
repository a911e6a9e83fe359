#include "vmm/base/journal.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "tests/unit/base/datagrams.h"
#include "vmm/base/log.h"

namespace vmm {
namespace {

TEST(Journal, AnEntryHasAFieldALineAndLinesWithTheirLength) {
  using namespace std::string_literals;
  const std::array fields = {JournalField{"PRIORITY", "4"}, JournalField{"MESSAGE", "a\nb=c"}};
  EXPECT_EQ(journal_entry(fields), "PRIORITY=4\nMESSAGE\n\x05\0\0\0\0\0\0\0a\nb=c\n"s);
}

TEST(Journal, AnEntryIsBounded) {
  const std::string much(1'000'000, 'x');
  const std::array fields = {JournalField{"MESSAGE", much}};
  EXPECT_LT(journal_entry(fields).size(), size_t{64} << 10U);
}

TEST(Journal, TheLogGoesThereWithItsLevelAndComponent) {
  const Datagrams there;
  auto journal = Journal::open(there.path());
  ASSERT_TRUE(journal.has_value()) << journal.error().message();
  log::open_journal(*std::move(journal));
  log::set_guest("web");
  log::set_level(log::Level::kWarning);
  EXPECT_TRUE(log::is_in_journal());
  log::warning("disk {} is full", "v\033da");
  log::info("nobody reads this");
  log::tell("the guest crashed");
  log::to_file("this is on stderr, which is the journal");
  log::close();
  log::set_guest("");
  EXPECT_EQ(
      there.receive(),
      "MESSAGE=disk v?da is full\nPRIORITY=4\nSYSLOG_IDENTIFIER=vmm\nVMM_COMPONENT=vmm\nVMM_GUEST=web\n");
  EXPECT_EQ(
      there.receive(),
      "MESSAGE=the guest crashed\nPRIORITY=5\nSYSLOG_IDENTIFIER=vmm\nVMM_COMPONENT=vmm\nVMM_GUEST=web\n");
  EXPECT_EQ(there.receive(), "");
}

TEST(Journal, OneThatIsBehindKeepsNobody) {
  const Datagrams there;
  const auto journal = Journal::open(there.path());
  ASSERT_TRUE(journal.has_value());
  const std::string line(10'000, 'x');
  const std::array fields = {JournalField{"MESSAGE", line}};
  for (int i = 0; i < 10'000; ++i) {
    journal->send(fields);
  }
  EXPECT_NE(there.receive(), "");
}

TEST(Journal, IsWhatSystemdSaysItIs) {
  struct stat info{};
  ASSERT_EQ(::fstat(STDERR_FILENO, &info), 0);
  ::setenv("JOURNAL_STREAM", fmt::format("{}:{}", uint64_t{info.st_dev}, uint64_t{info.st_ino}).c_str(), 1);
  EXPECT_TRUE(is_journal_stream(STDERR_FILENO));
  EXPECT_FALSE(is_journal_stream(-1));
  ::setenv("JOURNAL_STREAM", "8:1", 1);  // of who started us, and redirected it
  EXPECT_FALSE(is_journal_stream(STDERR_FILENO));
  ::unsetenv("JOURNAL_STREAM");
  EXPECT_FALSE(is_journal_stream(STDERR_FILENO));
}

TEST(Journal, WhereThereIsNoneThatIsSaid) {
  const auto journal = Journal::open("/nowhere/socket");
  ASSERT_FALSE(journal.has_value());
  EXPECT_EQ(journal.error().message(),
            "cannot connect to the journal /nowhere/socket: No such file or directory");
}

}  // namespace
}  // namespace vmm
