#include "vmm/core/clock.h"

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <optional>

namespace vmm {
namespace {

// localtime_r's zone for as long as it lives.
class ZoneForNow {
 public:
  explicit ZoneForNow(const std::string& zone) {
    if (const char* present = std::getenv("TZ"); present != nullptr) {
      before_ = present;
    }
    if (!zone.empty()) {
      ::setenv("TZ", (":" + zone).c_str(), 1);
    }
    ::tzset();
  }
  ~ZoneForNow() {
    if (before_) {
      ::setenv("TZ", before_->c_str(), 1);
    } else {
      ::unsetenv("TZ");
    }
    ::tzset();
  }
  ZoneForNow(const ZoneForNow&) = delete;
  ZoneForNow& operator=(const ZoneForNow&) = delete;

 private:
  std::optional<std::string> before_;
};

// The C library takes a name that it does not know for UTC, silently.
bool is_known_zone(const std::string& zone) {
  const std::filesystem::path name(zone);
  if (name.is_absolute() || zone.find("..") != std::string::npos) {
    return false;
  }
  std::error_code error;
  return std::filesystem::is_regular_file("/usr/share/zoneinfo" / name, error);
}

std::chrono::nanoseconds read_clock(clockid_t id) {
  timespec now{};
  ::clock_gettime(id, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace

MonotonicClock host_monotonic_clock() {
  return [] { return read_clock(CLOCK_MONOTONIC); };
}

WallClock host_wall_clock() {
  return [] { return read_clock(CLOCK_REALTIME); };
}

Result<std::chrono::seconds> utc_offset_of_zone(const std::string& zone) {
  if (!zone.empty() && zone != "UTC" && !is_known_zone(zone)) {
    return fail_configuration(
        "the time zone '{}' is not known here; install tzdata or name another, as 'Europe/Paris'", zone);
  }
  const ZoneForNow zone_for_now(zone);
  const time_t now = ::time(nullptr);
  tm civil{};
  if (::localtime_r(&now, &civil) == nullptr) {
    return fail("cannot tell the local time of zone '{}'", zone);
  }
  return std::chrono::seconds(civil.tm_gmtoff);
}

}  // namespace vmm
