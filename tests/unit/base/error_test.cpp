#include "vmm/base/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

#include "vmm/base/check.h"

namespace vmm {
namespace {

Result<std::unique_ptr<int>> half_of(int value) {
  if (value % 2 != 0) {
    return fail("{} is odd", value);
  }
  return std::make_unique<int>(value / 2);
}

Result<int> quarter_of(int value) {
  VMM_ASSIGN_OR_RETURN(const std::unique_ptr<int> half, half_of(value));
  VMM_TRY(half_of(*half));
  return *half / 2;
}

TEST(Error, TravelsUpUnchanged) {
  EXPECT_EQ(quarter_of(8), 2);
  EXPECT_EQ(quarter_of(7).error().message(), "7 is odd");
  EXPECT_EQ(quarter_of(6).error().message(), "3 is odd");
}

TEST(Error, KindDecidesTheExitStatusAndSurvivesContext) {
  const Status status = fail_configuration("<memory> is missing");
  EXPECT_EQ(status.error().kind(), ErrorKind::kConfiguration);
  const Error outer = status.error().within("guest.xml");
  EXPECT_EQ(outer.kind(), ErrorKind::kConfiguration);
  EXPECT_EQ(outer.message(), "guest.xml: <memory> is missing");
}

TEST(Error, ErrnoHasAText) {
  EXPECT_EQ(errno_text(ENOENT), "No such file or directory");
  EXPECT_EQ(errno_text(123456), "error 123456");
}

TEST(CheckDeathTest, FailsAlwaysWithItsMessage) {
  EXPECT_DEATH(VMM_CHECK(1 == 2, "arithmetic is broken"), "internal error: arithmetic is broken .*1 == 2");
}

}  // namespace
}  // namespace vmm
