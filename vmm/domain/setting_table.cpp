#include "vmm/domain/setting_table.h"

#include <algorithm>
#include <string>

#include "vmm/domain/element_table.h"

namespace vmm::domain {
namespace {

using enum SettingKind;

constexpr std::string_view kBootsInstead =
    "with commas between them; in place of all that the file says of the order, <boot order=…/> too";

// clang-format off: a table, to be read in columns.
constexpr SettingRule kSettings[] = {
  {"name", "name", kTextOf, kValue, ""},
  {"uuid", "uuid", kTextOf, kValue, ""},
  {"genid", "genid", kTextOf, kValue, ""},
  {"title", "title", kTextOf, kValue, ""},
  {"description", "description", kTextOf, kValue, ""},
  {"memory", "memory", kTextOf, kSize, "with its unit; the file's <currentMemory> goes with it"},
  {"currentMemory", "currentMemory", kTextOf, kSize, "with its unit"},
  {"memoryBacking.hugepages", "memoryBacking/hugepages", "", kSwitch, ""},
  {"memoryBacking.locked", "memoryBacking/locked", "", kSwitch, ""},
  {"memoryBacking.nosharepages", "memoryBacking/nosharepages", "", kSwitch, ""},
  {"memoryBacking.source.type", "memoryBacking/source", "type", kValue, ""},
  {"memoryBacking.access.mode", "memoryBacking/access", "mode", kValue, ""},
  {"memoryBacking.allocation.mode", "memoryBacking/allocation", "mode", kValue, ""},
  {"vcpu", "vcpu", kTextOf, kValue, "current= goes with it"},
  {"vcpu.cpuset", "vcpu", "cpuset", kValue, ""},
  {"cputune.vcpupin.*.cpuset", "cputune/vcpupin", "cpuset", kMain, ""},
  {"cputune.emulatorpin.cpuset", "cputune/emulatorpin", "cpuset", kMain, ""},
  {"cputune.iothreadpin.*.cpuset", "cputune/iothreadpin", "cpuset", kMain, ""},
  {"iothreads", "iothreads", kTextOf, kValue, "in place of <iothreadids>, too"},
  {"cpu.mode", "cpu", "mode", kValue, ""},
  {"cpu.model", "cpu/model", kTextOf, kValue, ""},
  {"cpu.migratable", "cpu", "migratable", kValue, ""},
  {"cpu.topology.sockets", "cpu/topology", "sockets", kValue, ""},
  {"cpu.topology.dies", "cpu/topology", "dies", kValue, ""},
  {"cpu.topology.cores", "cpu/topology", "cores", kValue, ""},
  {"cpu.topology.threads", "cpu/topology", "threads", kValue, ""},
  {"os.machine", "os/type", "machine", kValue, ""},
  {"os.kernel", "os/kernel", kTextOf, kPath, ""},
  {"os.initrd", "os/initrd", kTextOf, kPath, ""},
  {"os.cmdline", "os/cmdline", kTextOf, kValue, ""},
  {"os.loader", "os/loader", kTextOf, kPath, ""},
  {"os.boot", "os/boot", "dev", kBootOrder, kBootsInstead},
  {"os.bootmenu.enable", "os/bootmenu", "enable", kValue, ""},
  {"os.bootmenu.timeout", "os/bootmenu", "timeout", kValue, ""},
  {"os.bios.useserial", "os/bios", "useserial", kValue, ""},
  {"os.bios.rebootTimeout", "os/bios", "rebootTimeout", kValue, ""},
  {"features.acpi", "features/acpi", "", kSwitch, ""},
  {"features.kvm.hidden", "features/kvm/hidden", "state", kValue, ""},
  {"features.pmu", "features/pmu", "state", kValue, ""},
  {"clock.offset", "clock", "offset", kValue, ""},
  {"clock.timezone", "clock", "timezone", kValue, ""},
  {"clock.adjustment", "clock", "adjustment", kValue, ""},
  {"clock.basis", "clock", "basis", kValue, ""},
  {"on_poweroff", "on_poweroff", kTextOf, kValue, ""},
  {"on_reboot", "on_reboot", kTextOf, kValue, ""},
  {"on_crash", "on_crash", kTextOf, kValue, ""},
  {"disk.*.type", "devices/disk", "type", kDiskType, "what <source> names is then of this type"},
  {"disk.*.source", "devices/disk/source", "file", kDiskSource, "empty: a CD-ROM drive without a disc"},
  {"disk.*.startupPolicy", "devices/disk/source", "startupPolicy", kValue, ""},
  {"disk.*.format", "devices/disk/driver", "type", kValue, ""},
  {"disk.*.cache", "devices/disk/driver", "cache", kValue, ""},
  {"disk.*.io", "devices/disk/driver", "io", kValue, ""},
  {"disk.*.discard", "devices/disk/driver", "discard", kValue, ""},
  {"disk.*.detect_zeroes", "devices/disk/driver", "detect_zeroes", kValue, ""},
  {"disk.*.error_policy", "devices/disk/driver", "error_policy", kValue, ""},
  {"disk.*.rerror_policy", "devices/disk/driver", "rerror_policy", kValue, ""},
  {"disk.*.iothread", "devices/disk/driver", "iothread", kValue, ""},
  {"disk.*.queues", "devices/disk/driver", "queues", kValue, ""},
  {"disk.*.queue_size", "devices/disk/driver", "queue_size", kValue, ""},
  {"disk.*.event_idx", "devices/disk/driver", "event_idx", kValue, ""},
  {"disk.*.ioeventfd", "devices/disk/driver", "ioeventfd", kValue, ""},
  {"disk.*.bus", "devices/disk/target", "bus", kValue, ""},
  {"disk.*.tray", "devices/disk/target", "tray", kValue, ""},
  {"disk.*.serial", "devices/disk/serial", kTextOf, kValue, ""},
  {"disk.*.wwn", "devices/disk/wwn", kTextOf, kValue, ""},
  {"disk.*.readonly", "devices/disk/readonly", "", kSwitch, ""},
  {"disk.*.shareable", "devices/disk/shareable", "", kSwitch, ""},
  {"disk.*.transient", "devices/disk/transient", "", kSwitch, ""},
  {"disk.*.boot.order", "devices/disk/boot", "order", kMain, "in place of <os>/<boot>"},
  {"disk.*.blockio.logical_block_size", "devices/disk/blockio", "logical_block_size", kValue, ""},
  {"disk.*.blockio.physical_block_size", "devices/disk/blockio", "physical_block_size", kValue, ""},
  {"disk.*.iotune.total_bytes_sec", "devices/disk/iotune/total_bytes_sec", kTextOf, kValue, ""},
  {"disk.*.iotune.read_bytes_sec", "devices/disk/iotune/read_bytes_sec", kTextOf, kValue, ""},
  {"disk.*.iotune.write_bytes_sec", "devices/disk/iotune/write_bytes_sec", kTextOf, kValue, ""},
  {"disk.*.iotune.total_iops_sec", "devices/disk/iotune/total_iops_sec", kTextOf, kValue, ""},
  {"disk.*.iotune.read_iops_sec", "devices/disk/iotune/read_iops_sec", kTextOf, kValue, ""},
  {"disk.*.iotune.write_iops_sec", "devices/disk/iotune/write_iops_sec", kTextOf, kValue, ""},
  {"disk.*.iotune.total_bytes_sec_max", "devices/disk/iotune/total_bytes_sec_max", kTextOf, kValue, ""},
  {"disk.*.iotune.read_bytes_sec_max", "devices/disk/iotune/read_bytes_sec_max", kTextOf, kValue, ""},
  {"disk.*.iotune.write_bytes_sec_max", "devices/disk/iotune/write_bytes_sec_max", kTextOf, kValue, ""},
  {"disk.*.iotune.total_iops_sec_max", "devices/disk/iotune/total_iops_sec_max", kTextOf, kValue, ""},
  {"disk.*.iotune.read_iops_sec_max", "devices/disk/iotune/read_iops_sec_max", kTextOf, kValue, ""},
  {"disk.*.iotune.write_iops_sec_max", "devices/disk/iotune/write_iops_sec_max", kTextOf, kValue, ""},
  {"disk.*.iotune.total_bytes_sec_max_length", "devices/disk/iotune/total_bytes_sec_max_length", kTextOf, kValue, ""},
  {"disk.*.iotune.read_bytes_sec_max_length", "devices/disk/iotune/read_bytes_sec_max_length", kTextOf, kValue, ""},
  {"disk.*.iotune.write_bytes_sec_max_length", "devices/disk/iotune/write_bytes_sec_max_length", kTextOf, kValue, ""},
  {"disk.*.iotune.total_iops_sec_max_length", "devices/disk/iotune/total_iops_sec_max_length", kTextOf, kValue, ""},
  {"disk.*.iotune.read_iops_sec_max_length", "devices/disk/iotune/read_iops_sec_max_length", kTextOf, kValue, ""},
  {"disk.*.iotune.write_iops_sec_max_length", "devices/disk/iotune/write_iops_sec_max_length", kTextOf, kValue, ""},
  {"disk.*.iotune.size_iops_sec", "devices/disk/iotune/size_iops_sec", kTextOf, kValue, ""},
  {"interface.*.type", "devices/interface", "type", kValue, "another one leaves nothing of <source>"},
  {"interface.*.mac", "devices/interface/mac", "address", kMain, ""},
  {"interface.*.model", "devices/interface/model", "type", kMain, ""},
  {"interface.*.source.bridge", "devices/interface/source", "bridge", kValue, ""},
  {"interface.*.source.dev", "devices/interface/source", "dev", kValue, ""},
  {"interface.*.source.mode", "devices/interface/source", "mode", kValue, ""},
  {"interface.*.source.network", "devices/interface/source", "network", kValue, ""},
  {"interface.*.target.dev", "devices/interface/target", "dev", kValue, ""},
  {"interface.*.target.managed", "devices/interface/target", "managed", kValue, ""},
  {"interface.*.backend.type", "devices/interface/backend", "type", kValue, ""},
  {"interface.*.backend.logFile", "devices/interface/backend", "logFile", kPath, ""},
  {"interface.*.driver.name", "devices/interface/driver", "name", kValue, ""},
  {"interface.*.driver.queues", "devices/interface/driver", "queues", kValue, ""},
  {"interface.*.driver.rx_queue_size", "devices/interface/driver", "rx_queue_size", kValue, ""},
  {"interface.*.driver.tx_queue_size", "devices/interface/driver", "tx_queue_size", kValue, ""},
  {"interface.*.driver.event_idx", "devices/interface/driver", "event_idx", kValue, ""},
  {"interface.*.driver.ioeventfd", "devices/interface/driver", "ioeventfd", kValue, ""},
  {"interface.*.bandwidth.inbound.average", "devices/interface/bandwidth/inbound", "average", kMain, ""},
  {"interface.*.bandwidth.inbound.peak", "devices/interface/bandwidth/inbound", "peak", kValue, ""},
  {"interface.*.bandwidth.inbound.burst", "devices/interface/bandwidth/inbound", "burst", kValue, ""},
  {"interface.*.bandwidth.outbound.average", "devices/interface/bandwidth/outbound", "average", kMain, ""},
  {"interface.*.bandwidth.outbound.peak", "devices/interface/bandwidth/outbound", "peak", kValue, ""},
  {"interface.*.bandwidth.outbound.burst", "devices/interface/bandwidth/outbound", "burst", kValue, ""},
  {"interface.*.link", "devices/interface/link", "state", kMain, ""},
  {"interface.*.mtu", "devices/interface/mtu", "size", kMain, ""},
  {"interface.*.rom.file", "devices/interface/rom", "file", kPath, ""},
  {"interface.*.rom.enabled", "devices/interface/rom", "enabled", kValue, ""},
  {"interface.*.boot.order", "devices/interface/boot", "order", kMain, "in place of <os>/<boot>"},
  {"serial.*.type", "devices/serial", "type", kValue, ""},
  {"serial.*.path", "devices/serial/source", "path", kPath, ""},
  {"serial.*.append", "devices/serial/source", "append", kValue, ""},
  {"serial.*.mode", "devices/serial/source", "mode", kValue, ""},
  {"serial.*.log.file", "devices/serial/log", "file", kMainPath, "empty: no log"},
  {"serial.*.log.append", "devices/serial/log", "append", kValue, ""},
  {"memballoon.model", "devices/memballoon", "model", kMain, "empty: no balloon"},
  {"memballoon.autodeflate", "devices/memballoon", "autodeflate", kValue, ""},
  {"memballoon.freePageReporting", "devices/memballoon", "freePageReporting", kValue, ""},
  {"rng.model", "devices/rng", "model", kMain, "of the first <rng>, as are the next; empty: without that"},
  {"rng.backend", "devices/rng/backend", kTextOf, kPath, ""},
  {"rng.backend.model", "devices/rng/backend", "model", kValue, ""},
  {"rng.rate.bytes", "devices/rng/rate", "bytes", kMain, ""},
  {"rng.rate.period", "devices/rng/rate", "period", kValue, ""},
  {"watchdog.model", "devices/watchdog", "model", kMain, "of the first <watchdog>, as is the next; empty: without that"},
  {"watchdog.action", "devices/watchdog", "action", kValue, ""},
};
// clang-format on

}  // namespace

std::span<const SettingRule> setting_table() { return kSettings; }

std::string setting_path(const SettingRule& rule, std::string_view instance) {
  std::string path(rule.path);
  const size_t star = path.find('*');
  return star == std::string::npos ? path : path.replace(star, 1, instance);
}

const SettingRule* find_setting(std::string_view path, std::string_view& instance) {
  instance = {};
  for (const SettingRule& rule : kSettings) {
    const size_t star = rule.path.find('*');
    if (star == std::string_view::npos) {
      if (rule.path == path) {
        return &rule;
      }
      continue;
    }
    const std::string_view after = rule.path.substr(star + 1);
    if (path.starts_with(rule.path.substr(0, star)) && path.ends_with(after) &&
        path.size() > star + after.size()) {
      const std::string_view middle = path.substr(star, path.size() - star - after.size());
      if (middle.find('.') == std::string_view::npos) {
        instance = middle;
        return &rule;
      }
    }
  }
  return nullptr;
}

}  // namespace vmm::domain
