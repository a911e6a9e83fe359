#include "vmm/control/metrics_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/fakes/fake_guest.h"

namespace vmm::control {
namespace {

using block::DiskCounters;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Metrics, TellTheMachine) {
  FakeGuest guest;
  const std::string text = metrics_text(guest);
  EXPECT_THAT(text, HasSubstr("vmm_info{name=\"fake\",version=\""));
  EXPECT_THAT(text, HasSubstr("\nvmm_guest_running 1\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE vmm_cpu_seconds_total counter\nvmm_cpu_seconds_total 2\n"));
  EXPECT_THAT(text, HasSubstr("vmm_vcpu_cpu_seconds_total{vcpu=\"0\"} 1.5\n"));
  EXPECT_THAT(text, HasSubstr("vmm_vcpu_exits_total{vcpu=\"0\",reason=\"io\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("vmm_vcpu_exits_total{vcpu=\"1\",reason=\"other\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("vmm_resident_memory_bytes 67108864\n"));
  EXPECT_THAT(text, HasSubstr("vmm_balloon_bytes 16777216\n"));
  EXPECT_THAT(text, Not(HasSubstr("throwaway")));
  guest.state_ = Guest::State::kPaused;
  guest.throwaway_ = Guest::Throwaway{.used_bytes = 7, .limit_bytes = 9};
  guest.statistics_.balloon_bytes.reset();
  const std::string later = metrics_text(guest);
  EXPECT_THAT(later, HasSubstr("\nvmm_guest_running 0\n"));
  EXPECT_THAT(later, HasSubstr("\nvmm_throwaway_bytes 7\n"));
  EXPECT_THAT(later, HasSubstr("\nvmm_throwaway_limit_bytes 9\n"));
  EXPECT_THAT(later, Not(HasSubstr("balloon")));
}

TEST(Metrics, TellWhatDisksDoAndHowLongItTakes) {
  FakeGuest guest;
  for (int i = 0; i < 3; ++i) {
    guest.counters_.begin();
  }
  guest.counters_.end(DiskCounters::kRead, 0, 512, false, 1000);
  guest.counters_.end(DiskCounters::kRead, 0, 512, false, 5000);
  guest.counters_.end(DiskCounters::kWrite, 0, 512, true, 1'000'000'000'000);
  guest.counters_.count_invalid(DiskCounters::kUnmap);
  guest.counters_.begin();
  guest.cache_.count(true);
  guest.cache_.count(false);
  const std::string text = metrics_text(guest);
  EXPECT_THAT(text, HasSubstr("vmm_disk_operations_total{disk=\"vda\",operation=\"read\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("vmm_disk_bytes_total{disk=\"vda\",operation=\"read\"} 1024\n"));
  EXPECT_THAT(text, HasSubstr("vmm_disk_failed_operations_total{disk=\"hdc\",operation=\"write\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("vmm_disk_invalid_operations_total{disk=\"hdc\",operation=\"unmap\"} 1\n"));
  EXPECT_THAT(
      text,
      HasSubstr("vmm_disk_latency_seconds_bucket{disk=\"vda\",operation=\"read\",le=\"4.096e-06\"} 1\n"));
  EXPECT_THAT(
      text,
      HasSubstr("vmm_disk_latency_seconds_bucket{disk=\"vda\",operation=\"read\",le=\"8.192e-06\"} 2\n"));
  EXPECT_THAT(text,
              HasSubstr("vmm_disk_latency_seconds_bucket{disk=\"vda\",operation=\"read\",le=\"+Inf\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("vmm_disk_latency_seconds_sum{disk=\"vda\",operation=\"read\"} 6e-06\n"));
  EXPECT_THAT(text, HasSubstr("vmm_disk_latency_seconds_count{disk=\"vda\",operation=\"write\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("vmm_disk_requests_in_flight{disk=\"vda\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("vmm_disk_table_lookups_total{disk=\"vda\",result=\"hit\"} 1\n"));
}

TEST(Metrics, TellWhatInterfacesReceiveAndSend) {
  FakeGuest guest;
  EXPECT_THAT(metrics_text(guest), Not(HasSubstr("vmm_interface")));
  guest.interfaces_ = {{.name = "net0",
                        .is_link_up = false,
                        .counters = {.received = {.packets = 1, .bytes = 60, .dropped = 2},
                                     .sent = {.packets = 3, .bytes = 180, .dropped = 4},
                                     .received_filtered = 5,
                                     .sent_errors = 6}}};
  const std::string text = metrics_text(guest);
  EXPECT_THAT(text, HasSubstr("vmm_interface_packets_total{interface=\"net0\",direction=\"received\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("vmm_interface_bytes_total{interface=\"net0\",direction=\"sent\"} 180\n"));
  EXPECT_THAT(
      text, HasSubstr("vmm_interface_dropped_packets_total{interface=\"net0\",direction=\"received\"} 2\n"));
  EXPECT_THAT(
      text, HasSubstr("vmm_interface_filtered_packets_total{interface=\"net0\",direction=\"received\"} 5\n"));
  EXPECT_THAT(text,
              HasSubstr("vmm_interface_invalid_packets_total{interface=\"net0\",direction=\"sent\"} 6\n"));
  EXPECT_THAT(text, HasSubstr("vmm_interface_link_up{interface=\"net0\"} 0\n"));
}

TEST(Metrics, QuoteNames) {
  FakeGuest guest;
  guest.domain_.name = "a\"b\\c\nd";
  EXPECT_THAT(metrics_text(guest), HasSubstr(R"(vmm_info{name="a\"b\\c?d",)"));
}

}  // namespace
}  // namespace vmm::control
