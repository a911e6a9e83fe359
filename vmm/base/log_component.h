// The parts of vmm that its log knows (--log-level disk=debug), by the folders of their sources.
//
// Threads: values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace vmm::log {

enum class Component : uint8_t {
  kVmm,  // what is below none of the others
  kBoot,
  kConsole,
  kControl,
  kDevices,
  kDisk,
  kDomain,
  kFirmware,  // what the guest's firmware prints
  kIde,
  kKvm,
  kMachine,
  kNet,
  kPci,
  kVirtio,
};

inline constexpr auto kComponentNames =
    std::to_array<std::string_view>({"vmm", "boot", "console", "control", "devices", "disk", "domain",
                                     "firmware", "ide", "kvm", "machine", "net", "pci", "virtio"});
inline constexpr size_t kComponentCount = kComponentNames.size();

constexpr std::string_view name_of(Component component) {
  return kComponentNames[static_cast<size_t>(component)];
}

// Of a source file, by its path, which may begin anywhere above the tree's top.
constexpr Component component_of(std::string_view source_file) {
  struct Place {
    std::string_view folder;
    Component component;
  };
  // The first that fits.
  constexpr Place kPlaces[] = {{"devices/ide/", Component::kIde},
                               {"devices/pci/", Component::kPci},
                               {"devices/virtio/", Component::kVirtio},
                               {"vmm/machine/disk", Component::kDisk},
                               {"vmm/machine/throwaway", Component::kDisk},
                               {"vmm/base/", Component::kVmm},
                               {"vmm/cli/", Component::kVmm},
                               {"vmm/console/", Component::kConsole},
                               {"vmm/control/", Component::kControl},
                               {"vmm/domain/", Component::kDomain},
                               {"vmm/kvm/", Component::kKvm},
                               {"vmm/machine/", Component::kMachine},
                               {"vmm/net/", Component::kNet},
                               {"tests/", Component::kVmm},
                               {"block/", Component::kDisk},
                               {"boot/", Component::kBoot},
                               {"devices/", Component::kDevices}};
  for (const Place& place : kPlaces) {
    const size_t at = source_file.rfind(place.folder);
    if (at != std::string_view::npos && (at == 0 || source_file[at - 1] == '/')) {
      return place.component;
    }
  }
  return Component::kVmm;
}

}  // namespace vmm::log
