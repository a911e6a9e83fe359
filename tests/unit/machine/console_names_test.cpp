#include "vmm/machine/console_names.h"

#include <gtest/gtest.h>

namespace vmm {
namespace {

domain::Domain domain_of(std::vector<domain::Serial> serials, std::vector<domain::Serial> consoles) {
  domain::Domain domain;
  domain.serials = std::move(serials);
  domain.virtio_consoles = std::move(consoles);
  return domain;
}

TEST(ConsoleNames, AreThoseOfPortsAndOfLinux) {
  const auto domain = domain_of({{.port = 0}, {.port = 2}}, {{.port = 0}, {.port = 1}});
  EXPECT_EQ(find_console(domain, "")->name, "serial0");
  EXPECT_EQ(find_console(domain, "serial2")->number, 2U);
  const auto console = find_console(domain, "console1");
  ASSERT_TRUE(console.has_value());
  EXPECT_EQ(console->kind, ConsolePlace::Kind::kVirtio);
  EXPECT_EQ(console->number, 1U);
  EXPECT_EQ(find_console(domain, "serial1").error().message(),
            "the guest has no console 'serial1'; it has serial0, serial2, console0, console1");
}

TEST(ConsoleNames, AnAliasIsAName) {
  const auto domain = domain_of({{.port = 1, .alias = "ua-log"}}, {});
  EXPECT_EQ(find_console(domain, "")->name, "ua-log");
  EXPECT_EQ(find_console(domain, "ua-log")->number, 1U);
  EXPECT_EQ(find_console(domain, "serial1")->name, "ua-log");
  // It may be what another would be called.
  const auto crossed = domain_of({{.port = 0, .alias = "serial1"}, {.port = 1, .alias = "serial0"}}, {});
  EXPECT_EQ(find_console(crossed, "serial0")->number, 1U);
}

TEST(ConsoleNames, WithoutAConsoleThereIsNone) {
  EXPECT_EQ(find_console(domain_of({}, {}), "").error().message(), "the guest has no console");
  EXPECT_EQ(find_console(domain_of({}, {{.port = 0}}), "")->name, "console0");
}

}  // namespace
}  // namespace vmm
