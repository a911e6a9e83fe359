#include "vmm/cli/find_domain.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <vector>

namespace vmm::cli {
namespace {

constexpr std::string_view kEnding = ".xml";
constexpr std::string_view kHere = "./";

std::optional<std::string> absolute_folder(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr && *value == '/' ? std::optional<std::string>(value) : std::nullopt;
}

// XDG Base Directory Specification, "Environment variables": a path that is not absolute is ignored.
std::optional<std::string> user_folder() {
  if (const auto folder = absolute_folder("XDG_CONFIG_HOME")) {
    return *folder + "/vmm";
  }
  const auto home = absolute_folder("HOME");
  return home ? std::optional(*home + "/.config/vmm") : std::nullopt;
}

std::vector<std::string> places_of(const std::string& name) {
  const std::string file = name.ends_with(kEnding) ? name : name + std::string(kEnding);
  std::vector<std::string> places = {std::string(kHere) + file};
  if (const auto folder = user_folder()) {
    places.push_back(*folder + "/" + file);
  }
  places.push_back("/etc/libvirt/qemu/" + file);
  return places;
}

// 0, or the errno that tells why there is none to be had.
int look_for_file(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) != 0 ? errno : S_ISDIR(info.st_mode) ? EISDIR : 0;
}

}  // namespace

Result<std::string> find_domain_file(const std::string& name) {
  const int error = look_for_file(name);
  if (error == 0 || name.find('/') != std::string::npos) {
    return name;
  }
  std::string looked_at;
  for (const std::string& place : places_of(name)) {
    const int reason = look_for_file(place);
    if (reason == 0) {
      return place.starts_with(kHere) ? place.substr(kHere.size()) : place;
    }
    looked_at += looked_at.empty() ? place : ", " + place;
    looked_at += reason == ENOENT ? "" : fmt::format(" ({})", errno_text(reason));
  }
  if (error == EISDIR) {
    return name;  // who reads it says that it is a folder
  }
  return fail_configuration(
      "--domain {}: there is no such file, and no domain of that name in {}; give its path", name, looked_at);
}

}  // namespace vmm::cli
