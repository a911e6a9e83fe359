// Passphrases as the command line names them.
#include "block/crypto/secret_option.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>

#include "tests/unit/block/disk_harness.h"
#include "vmm/base/bytes.h"

namespace vmm::block {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string refusal(std::string_view text) {
  const auto secret = read_secret_option(text);
  return secret ? "taken" : secret.error().message();
}

TEST(SecretOption, NamesAFile) {
  const TemporaryFolder folder;
  write_file(folder.file("a,b"), as_bytes("swordfish"));
  const auto secret = read_secret_option("id=disk,format=raw,file=" + folder.file("a,,b"));
  ASSERT_TRUE(secret) << secret.error().message();
  EXPECT_EQ(secret->id, "disk");
  EXPECT_TRUE(std::ranges::equal(secret->passphrase->bytes(), as_bytes("swordfish")));
}

TEST(SecretOption, NamesAVariable) {
  ::setenv("VMM_TEST_PASSPHRASE", "swordfish", 1);
  const auto secret = read_secret_option("env=VMM_TEST_PASSPHRASE,id=5b0c");
  ::unsetenv("VMM_TEST_PASSPHRASE");
  ASSERT_TRUE(secret) << secret.error().message();
  EXPECT_EQ(secret->id, "5b0c");
  EXPECT_TRUE(std::ranges::equal(secret->passphrase->bytes(), as_bytes("swordfish")));
}

TEST(SecretOption, APassphraseOnTheCommandLineIsRefusedAndNotRepeated) {
  EXPECT_THAT(refusal("id=disk,data=swordfish"), HasSubstr("for every user of this host to see"));
  EXPECT_THAT(refusal("id=disk,data=swordfish"), Not(HasSubstr("swordfish")));
  EXPECT_THAT(refusal("id=disk,swordfish"), Not(HasSubstr("swordfish")));
}

TEST(SecretOption, WordsThatAreMissingTwiceThereOrUnknownAreRefused) {
  for (const char* text :
       {"", "id=disk", "file=/dev/null", "id=disk,file=a,env=B", "id=disk,file=a,file=b", "id=,file=a",
        "id=disk,file=", "id=disk,file=a,format=base64", "id=disk,file=a,"}) {
    EXPECT_THAT(refusal(text), HasSubstr("id=NAME,file=FILE or id=NAME,env=VARIABLE")) << text;
  }
}

}  // namespace
}  // namespace vmm::block
