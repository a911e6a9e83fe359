// Where passphrases come from, and that nothing of them is in a message.
#include "block/crypto/secret.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "tests/unit/block/disk_harness.h"
#include "vmm/base/bytes.h"
#include "vmm/base/unique_fd.h"

namespace vmm::block {
namespace {

using testing::HasSubstr;
using testing::Not;

bool holds(const Secret& secret, std::string_view text) {
  return std::ranges::equal(secret.bytes(), as_bytes(text));
}

std::string refusal(const Result<Secret>& secret) { return secret ? "taken" : secret.error().message(); }

TEST(Secret, IsEmptyAfterItWasMovedFrom) {
  Secret first = Secret::copy_of("swordfish");
  const Secret second = std::move(first);
  EXPECT_TRUE(holds(second, "swordfish"));
  // NOLINTNEXTLINE(bugprone-use-after-move,clang-analyzer-cplusplus.Move): what is tested
  EXPECT_EQ(first.size(), 0U);
}

TEST(PassphraseFile, EveryByteCountsAndNoneIsTakenAway) {
  const TemporaryFolder folder;
  const std::string path = folder.file("passphrase");
  write_file(path, as_bytes(std::string_view("sword\0fish\n", 11)));
  const auto secret = passphrase_from_file(path);
  ASSERT_TRUE(secret) << secret.error().message();
  EXPECT_TRUE(holds(*secret, std::string_view("sword\0fish\n", 11)));
}

TEST(PassphraseFile, MissingEmptyAndEndlessOnesAreRefusedByName) {
  const TemporaryFolder folder;
  const std::string path = folder.file("passphrase");
  EXPECT_EQ(refusal(passphrase_from_file(path)),
            "the passphrase file " + path + " cannot be opened: No such file or directory");
  write_file(path, {});
  EXPECT_EQ(refusal(passphrase_from_file(path)), "the passphrase file " + path + " is empty");
  write_file(path, std::vector<std::byte>(kMaxPassphraseBytes));
  EXPECT_EQ(refusal(passphrase_from_file(path)), "taken");
  write_file(path, std::vector<std::byte>(kMaxPassphraseBytes + 1));
  EXPECT_THAT(refusal(passphrase_from_file(path)), HasSubstr("longer than 65536 bytes"));
  EXPECT_THAT(refusal(passphrase_from_file("/dev/zero")), HasSubstr("longer than 65536 bytes"));
}

TEST(PassphraseFile, APipeWithoutAWriterIsNotWaitedFor) {
  const TemporaryFolder folder;
  const std::string path = folder.file("pipe");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(refusal(passphrase_from_file(path)), "the passphrase file " + path + " is empty");
}

TEST(PassphraseFile, APipeIsReadToItsEndHoweverSlowTheWriter) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  std::thread slow([&] {
    // The next part only when the one before has been read: the reader then finds nothing, for a while.
    for (const std::string_view part : {"sw", "ord", "fi", "sh"}) {
      int unread = 1;
      while (::ioctl(writer.get(), FIONREAD, &unread) == 0 && unread > 0) {
        std::this_thread::yield();
      }
      EXPECT_EQ(::write(writer.get(), part.data(), part.size()), static_cast<ssize_t>(part.size()));
    }
    writer = UniqueFd();
  });
  const auto secret = passphrase_from_file("/dev/fd/" + std::to_string(reader.get()));
  slow.join();
  ASSERT_TRUE(secret) << secret.error().message();
  EXPECT_TRUE(holds(*secret, "swordfish"));
}

TEST(PassphraseFile, AnEndlessPipeIsRefused) {
  std::signal(SIGPIPE, SIG_IGN);
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  std::thread endless([&] {
    const std::vector<std::byte> zeroes(4096);
    while (::write(writer.get(), zeroes.data(), zeroes.size()) > 0) {
    }
  });
  EXPECT_THAT(refusal(passphrase_from_file("/dev/fd/" + std::to_string(reader.get()))),
              HasSubstr("longer than 65536 bytes"));
  reader = UniqueFd();
  endless.join();
}

TEST(PassphraseVariable, IsTakenOrRefusedByName) {
  ::setenv("VMM_TEST_PASSPHRASE", "swordfish", 1);
  const auto secret = passphrase_from_environment("VMM_TEST_PASSPHRASE");
  ASSERT_TRUE(secret) << secret.error().message();
  EXPECT_TRUE(holds(*secret, "swordfish"));

  ::setenv("VMM_TEST_PASSPHRASE", "", 1);
  EXPECT_THAT(refusal(passphrase_from_environment("VMM_TEST_PASSPHRASE")), HasSubstr("is empty"));
  ::setenv("VMM_TEST_PASSPHRASE", std::string(kMaxPassphraseBytes + 1, 'x').c_str(), 1);
  EXPECT_THAT(refusal(passphrase_from_environment("VMM_TEST_PASSPHRASE")), Not(HasSubstr("xxx")));
  ::unsetenv("VMM_TEST_PASSPHRASE");
  EXPECT_EQ(refusal(passphrase_from_environment("VMM_TEST_PASSPHRASE")),
            "the environment variable VMM_TEST_PASSPHRASE for the passphrase is not set");
}

}  // namespace
}  // namespace vmm::block
