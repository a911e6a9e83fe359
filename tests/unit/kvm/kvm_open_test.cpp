#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "vmm/kvm/kvm.h"

namespace vmm {
namespace {

std::string error_of(const std::string& path) {
  const auto kvm = Kvm::open(path);
  return kvm ? "" : kvm.error().message();
}

TEST(KvmOpen, MissingDeviceSaysWhatToDo) {
  const std::string message = error_of("/nonexistent/kvm");
  EXPECT_NE(message.find("/nonexistent/kvm is not there"), std::string::npos) << message;
  EXPECT_NE(message.find("kvm_intel or kvm_amd"), std::string::npos) << message;
}

TEST(KvmOpen, SomethingElseIsNotAKvmDevice) {
  EXPECT_NE(error_of("/dev/null").find("/dev/null is not a KVM device"), std::string::npos)
      << error_of("/dev/null");
}

TEST(KvmOpen, NoPermissionSaysWhichGroupToJoin) {
  const auto path = std::filesystem::temp_directory_path() / ("vmm_kvm_test." + std::to_string(::getpid()));
  std::ofstream(path).put('x');
  ::chmod(path.c_str(), 0);
  // Root may open everything.
  const uid_t user = ::geteuid();
  constexpr uid_t kNobody = 65534;
  const bool is_root = user == 0;
  if (is_root) {
    ASSERT_EQ(::seteuid(kNobody), 0);
  }
  const std::string message = error_of(path);
  if (is_root) {
    ASSERT_EQ(::seteuid(user), 0);
  }
  std::filesystem::remove(path);
  EXPECT_NE(message.find("adduser USER kvm"), std::string::npos) << message;
}

}  // namespace
}  // namespace vmm
