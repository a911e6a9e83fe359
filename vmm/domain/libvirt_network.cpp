#include "vmm/domain/libvirt_network.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <tinyxml2.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "vmm/base/printable.h"
#include "vmm/base/unique_fd.h"
#include "vmm/domain/load.h"
#include "vmm/domain/xml_scan.h"

namespace vmm::domain {
namespace {

namespace fs = std::filesystem;
using tinyxml2::XMLElement;

std::vector<fs::path> libvirts_folders() { return {"/run/libvirt/network", "/etc/libvirt/qemu/networks"}; }

std::string value_of(const XMLElement* element, const char* attribute) {
  const char* const value = element == nullptr ? nullptr : element->Attribute(attribute);
  return value == nullptr ? "" : value;
}

// libvirt gives tags to ports of Open vSwitch and of devices only.
bool has_switch_of_its_own(const XMLElement& network) {
  const auto has = [](const XMLElement& element) {
    return element.FirstChildElement("virtualport") != nullptr ||
           element.FirstChildElement("vlan") != nullptr;
  };
  bool found = has(network);
  for (const auto* group = network.FirstChildElement("portgroup"); group != nullptr;
       group = group->NextSiblingElement("portgroup")) {
    found = found || has(*group);
  }
  return found;
}

bool has_bridge(std::string_view forward_mode) {
  constexpr std::array<std::string_view, 5> kModes = {"", "nat", "route", "open", "bridge"};
  return std::ranges::find(kModes, forward_mode) != kModes.end();
}

}  // namespace

Result<std::string> bridge_of_network_text(std::string_view text, const std::string& network) {
  const auto fault = scan_xml(text);
  tinyxml2::XMLDocument document;
  if (fault || document.Parse(text.data(), text.size()) != tinyxml2::XML_SUCCESS) {
    return fail_configuration("libvirt's file of its network {} is malformed; correct it with virsh net-edit",
                              network);
  }
  const XMLElement* root = document.RootElement();
  const bool is_status = root != nullptr && std::string_view(root->Name()) == "networkstatus";
  root = is_status ? root->FirstChildElement("network") : root;
  if (root == nullptr || std::string_view(root->Name()) != "network") {
    return fail_configuration("libvirt's file of its network {} has no <network> in it", network);
  }
  const XMLElement* const forward = root->FirstChildElement("forward");
  const std::string mode = forward == nullptr ? "" : value_of(forward, "mode");
  if (!has_bridge(mode)) {
    return fail_configuration(
        "libvirt's network {} has no bridge (<forward mode='{}'>); use type='bridge' with <source bridge=…/>",
        network, printable(mode));
  }
  if (has_switch_of_its_own(*root)) {
    return fail_configuration(
        "libvirt's network {} has a <virtualport> or <vlan>, which is not there; use type='ethernet' with a "
        "tap that is in the switch",
        network);
  }
  std::string bridge = value_of(root->FirstChildElement("bridge"), "name");
  if (bridge.empty() || printable(bridge) != bridge || bridge.find('/') != std::string::npos) {
    return fail_configuration(
        "libvirt's network {} names no bridge; use type='bridge' with <source bridge=…/>", network);
  }
  return bridge;
}

Result<std::string> find_network_bridge(const std::string& network, std::span<const fs::path> folders) {
  const std::vector<fs::path> own = libvirts_folders();
  const std::span<const fs::path> searched = folders.empty() ? std::span(own) : folders;
  std::vector<std::string> tried;
  for (const fs::path& folder : searched) {
    const fs::path path = folder / (network + ".xml");
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!file) {
      tried.push_back(fmt::format("{}: {}", path.native(), errno_text(errno)));
      continue;
    }
    VMM_ASSIGN_OR_RETURN(const std::string text, read_domain_text(file.get(), path.native()));
    return bridge_of_network_text(text, network);
  }
  return fail_configuration(
      "the bridge of libvirt's network {} cannot be found ({}); as root: virsh net-start {}; or name it, "
      "with type='bridge' and <source bridge=…/>",
      network, fmt::join(tried, "; "), network);
}

}  // namespace vmm::domain
