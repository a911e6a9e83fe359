#include "vmm/base/service_manager.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/unit/base/datagrams.h"

namespace vmm {
namespace {

TEST(ServiceManager, IsToldWhereItListens) {
  const Datagrams there;
  ::setenv("NOTIFY_SOCKET", there.path().c_str(), 1);
  tell_service_manager("READY=1\nSTATUS=runs");
  EXPECT_EQ(there.receive(), "READY=1\nSTATUS=runs");
  ::unsetenv("NOTIFY_SOCKET");
  tell_service_manager("READY=1");
  EXPECT_EQ(there.receive(), "");
}

TEST(ServiceManager, MayBeInTheAbstractNamespaceOrNowhere) {
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const std::string name = "vmm-test-" + std::to_string(::getpid());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(name, address.sun_path + 1);
  ASSERT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())),
            0);
  ::setenv("NOTIFY_SOCKET", ("@" + name).c_str(), 1);
  tell_service_manager("STOPPING=1");
  std::array<char, 100> bytes{};
  EXPECT_EQ(::recv(fd.get(), bytes.data(), bytes.size(), 0), 10);
  for (const char* const nowhere : {"/nowhere/socket", "@vmm-nobody-is-there", "vsock:2:1"}) {
    ::setenv("NOTIFY_SOCKET", nowhere, 1);
    tell_service_manager("STOPPING=1");
  }
  ::unsetenv("NOTIFY_SOCKET");
}

}  // namespace
}  // namespace vmm
