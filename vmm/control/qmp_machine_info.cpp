#include "vmm/control/qmp_machine_info.h"

#include <algorithm>
#include <iterator>

#include "vmm/control/qmp_network_commands.h"
#include "vmm/machine/pci_info.h"

namespace vmm::control {
namespace {

struct PciClassName {
  uint32_t code;  // class and subclass
  const char* name;
};
constexpr PciClassName kPciClassNames[] = {{0x0100, "SCSI controller"}, {0x0101, "IDE controller"},
                                           {0x0500, "RAM controller"},  {0x0600, "Host bridge"},
                                           {0x0601, "ISA bridge"},      {0x0680, "Bridge"}};

Json class_of(const PciFunctionInfo& function) {
  const uint32_t code = function.class_code >> 8U;
  const auto* const found = std::ranges::find(kPciClassNames, code, &PciClassName::code);
  Json told{{"class", code}};
  if (found != std::end(kPciClassNames)) {
    told["desc"] = found->name;
  }
  return told;
}

// As QEMU: -1 where it is not decoded.
Json region_of(const PciRegion& region) {
  Json told{{"bar", region.bar}, {"type", region.is_io ? "io" : "memory"}};
  told["address"] = region.address ? Json(*region.address) : Json(-1);
  told["size"] = region.length_bytes;
  if (!region.is_io) {
    told["prefetch"] = false;
    told["mem_type_64"] = region.is_64_bit;
  }
  return told;
}

Json device_of(const PciFunctionInfo& function) {
  Json regions = Json::array();
  std::ranges::transform(function.regions, std::back_inserter(regions), region_of);
  Json told{{"bus", 0},
            {"slot", function.where.slot},
            {"function", function.where.function},
            {"class_info", class_of(function)},
            {"id",
             {{"device", function.device_id},
              {"vendor", function.vendor_id},
              {"subsystem", function.subsystem_id},
              {"subsystem-vendor", function.subsystem_vendor_id}}}};
  if (function.interrupt_pin != 0) {
    told["irq"] = function.interrupt_line;
  }
  told["irq_pin"] = function.interrupt_pin;
  told["qdev_id"] = "";
  told["regions"] = std::move(regions);
  return told;
}

}  // namespace

Answer query_chardev(Guest& guest, const Request& /*request*/) {
  Json list = Json::array();
  for (const ConsoleInfo& console : guest.consoles()) {
    list.push_back({{"label", console.label}, {"filename", console.host_end}, {"frontend-open", true}});
  }
  return list;
}

Answer query_statistics(Guest& guest, const Request& /*request*/) {
  const MachineStatistics statistics = guest.statistics();
  Json vcpus = Json::array();
  for (const MachineStatistics::Vcpu& vcpu : statistics.vcpus) {
    Json exits = Json::object();
    for (size_t i = 0; i < vcpu.exits.size(); ++i) {
      exits[ExitCounters::kNames[i]] = vcpu.exits[i];
    }
    vcpus.push_back({{"cpu-index", vcpus.size()}, {"cpu-time-ns", vcpu.cpu_ns}, {"exits", std::move(exits)}});
  }
  Json told{{"time-ns", statistics.now_ns},
            {"cpu-time-ns", statistics.process_cpu_ns},
            {"resident-bytes", statistics.resident_bytes},
            {"memory-bytes", statistics.memory_bytes}};
  if (statistics.balloon_bytes) {
    told["balloon-bytes"] = *statistics.balloon_bytes;
  }
  told["vcpus"] = std::move(vcpus);
  told["interfaces"] = interface_stats(guest);
  return told;
}

// A machine without PCI has no bus.
Answer query_pci(Guest& guest, const Request& /*request*/) {
  const auto functions = guest.pci_functions();
  if (functions.empty()) {
    return Json::array();
  }
  Json devices = Json::array();
  std::ranges::transform(functions, std::back_inserter(devices), device_of);
  return Json::array({Json{{"bus", 0}, {"devices", std::move(devices)}}});
}

}  // namespace vmm::control
