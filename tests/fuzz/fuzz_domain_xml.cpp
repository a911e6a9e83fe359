// Domain files: any bytes give a domain within the documented limits, or errors; and messages that are few,
// of one line each, and harmless to a terminal. A domain is printed as a text that is read as the same one.
#include <algorithm>
#include <functional>
#include <string_view>

#include "tests/fuzz/input.h"
#include "vmm/base/bytes.h"
#include "vmm/domain/cpu_set.h"
#include "vmm/domain/load.h"
#include "vmm/domain/net_addresses.h"
#include "vmm/domain/port_forwards.h"
#include "vmm/domain/write_domain.h"

namespace vmm::domain {
namespace {

// A sentence of ours, with at most a few values out of the file in it, each cut at 80 bytes.
constexpr size_t kMaxLineBytes = 4096;

// Programs get a message in parts, and lose nothing of it.
void check_parts(const Diagnostic& diagnostic) {
  const MessageParts parts = parts_of(diagnostic.text);
  const size_t between = (parts.element.empty() ? 0 : 2) + (parts.hint.empty() ? 0 : 2);
  const size_t length = parts.element.size() + parts.message.size() + parts.hint.size() + between;
  VMM_CHECK(length == diagnostic.text.size() || diagnostic.text.ends_with("; "), "a message is its parts");
  const Diagnostic again = diagnostic_of(diagnostic.severity, to_line_of_log(diagnostic), diagnostic.file);
  VMM_CHECK(again.line == diagnostic.line && again.text == diagnostic.text,
            "a line is read as it was written");
}

void check_messages(const Reading& reading) {
  VMM_CHECK(reading.diagnostics.size() <= 2 * (Reporter::kMaxErrors + Reporter::kMaxWarnings),
            "the number of messages is bounded");
  for (const Diagnostic& diagnostic : reading.diagnostics) {
    const std::string line = to_line(diagnostic);
    VMM_CHECK(diagnostic.line >= 0, "a line number is negative");
    check_parts(diagnostic);
    VMM_CHECK(!diagnostic.text.empty() && line.size() <= kMaxLineBytes, "a message has some length");
    VMM_CHECK(std::ranges::none_of(line, [](char c) { return static_cast<unsigned char>(c) < 0x20; }),
              "a message has one line, without control characters");
  }
}

void check_interface(const Interface& interface) {
  VMM_CHECK((interface.mac.bytes[0] & 1U) == 0 && interface.mac != MacAddress{},
            "a card has a possible address");
  VMM_CHECK(interface.queues >= 1 && interface.queues <= kMaxInterfaceQueues,
            "a card has a possible number of queues");
  for (const auto& size : {interface.rx_queue_size, interface.tx_queue_size}) {
    VMM_CHECK(!size || (*size >= kMinInterfaceQueueSize && *size <= kMaxQueueSize && is_power_of_two(*size)),
              "a queue of a card has a possible size");
  }
  const uint32_t mtu = interface.mtu.value_or(kMinMtu);
  VMM_CHECK(mtu >= kMinMtu && mtu <= kMaxMtu, "an MTU is possible");
  VMM_CHECK(interface.type != InterfaceType::kBridge || is_host_device_name(interface.bridge),
            "a bridge has a name");
  VMM_CHECK(interface.type != InterfaceType::kDirect || is_host_device_name(interface.device),
            "a device has a name");
  VMM_CHECK(interface.type != InterfaceType::kNetwork || !interface.network.empty(), "a network has a name");
  VMM_CHECK(interface.type == InterfaceType::kUser || (interface.forwards.empty() && !interface.ipv4),
            "a tap forwards nothing");
  size_t ports = 0;
  for (const PortForward& forward : interface.forwards) {
    for (const PortRange& range : forwarded_ports(forward)) {
      VMM_CHECK(range.first >= 1 && range.last >= range.first && range.to >= 1 &&
                    uint32_t{range.to} + range.last - range.first <= 65535,
                "a range of ports is possible");
      ports += size_t{range.last} - range.first + 1;
    }
  }
  VMM_CHECK(interface.backend == UserBackend::kPasst || ports <= kMaxForwardedPorts,
            "forwarded ports are bounded");
}

void check_devices(const Domain& domain) {
  VMM_CHECK(domain.disks.size() <= kMaxPcDisks && domain.serials.size() <= kMaxSerialPorts,
            "devices are counted");
  for (const Disk& disk : domain.disks) {
    const uint32_t queue_size = disk.queue_size.value_or(kMinQueueSize);
    VMM_CHECK(queue_size >= kMinQueueSize && queue_size <= kMaxQueueSize && is_power_of_two(queue_size),
              "a queue has a possible size");
    const uint32_t queues = disk.queues.value_or(1);
    VMM_CHECK(queues >= 1 && queues <= kMaxVcpus, "a disk has a possible number of queues");
    VMM_CHECK(disk.serial.size() <= 20, "a serial fits into the answer to get-id");
    VMM_CHECK(!disk.target.empty(), "a disk has a name");
    VMM_CHECK(disk.source.is_absolute() || (disk.source.empty() && disk.device == DiskDevice::kCdrom),
              "a disk has a source, and a CD-ROM drive may have one");
    VMM_CHECK(disk.bus == DiskBus::kVirtio || (disk.ide_place.channel < 2 && disk.ide_place.drive < 2),
              "an IDE disk has a possible place");
    VMM_CHECK(!disk.iothread || std::ranges::count(domain.iothread_ids, *disk.iothread) == 1,
              "a disk's I/O thread exists");
    VMM_CHECK(!disk.address || (disk.address->slot >= 2 && disk.address->slot < 32),
              "a disk has a possible address");
  }
  VMM_CHECK(domain.interfaces.size() <= kMaxPcDevices, "cards are counted");
  std::ranges::for_each(domain.interfaces, check_interface);
  for (const Serial& serial : domain.serials) {
    VMM_CHECK(serial.port < kMaxSerialPorts, "a serial port has a possible number");
  }
  VMM_CHECK(domain.virtio_consoles.size() <= kMaxVirtioConsoles, "consoles are counted");
  VMM_CHECK(!domain.debug_console || domain.debug_console->port < kExitPortEnd,
            "a debug console has a possible port");
  for (const Rng& rng : domain.rngs) {
    VMM_CHECK(rng.rate_period_ms >= 1 && (rng.source.empty() || rng.source.is_absolute()),
              "an entropy device has a possible source and rate");
  }
}

void check_set(const CpuSet& set) {
  VMM_CHECK(!set.cpus.empty() && set.cpus.back() < kMaxHostCpus &&
                std::ranges::adjacent_find(set.cpus, std::ranges::greater_equal()) == set.cpus.end(),
            "a set of CPUs is one");
}

void check_pins(const Domain& domain) {
  if (domain.pins.all) {
    check_set(*domain.pins.all);
  }
  if (domain.pins.emulator) {
    check_set(*domain.pins.emulator);
  }
  for (const auto& [vcpu, set] : domain.pins.vcpus) {
    VMM_CHECK(vcpu < domain.vcpus, "a vCPU that is pinned exists");
    check_set(set);
  }
  for (const auto& [id, set] : domain.pins.iothreads) {
    VMM_CHECK(std::ranges::count(domain.iothread_ids, id) == 1, "an I/O thread that is pinned exists");
    check_set(set);
  }
}

void check_domain(const Domain& domain) {
  const CpuTopology& topology = domain.topology;
  VMM_CHECK(domain.vcpus >= 1 && domain.vcpus <= kMaxVcpus, "the number of vCPUs is possible");
  VMM_CHECK(uint64_t{topology.sockets} * topology.dies * topology.cores * topology.threads == domain.vcpus,
            "the topology has as many threads as there are vCPUs");
  VMM_CHECK(domain.memory_bytes >= kMinMemoryBytes && domain.memory_bytes <= kMaxMemoryBytes &&
                domain.memory_bytes % (uint64_t{1} << 20) == 0,
            "the memory is of a possible size");
  VMM_CHECK(domain.iothread_ids.size() <= kMaxIoThreads, "I/O threads are bounded");
  VMM_CHECK(
      domain.os.kernel.is_absolute() || (domain.os.kernel.empty() && domain.os.machine == MachineType::kPc),
      "there is a kernel, or firmware");
  check_devices(domain);
  check_pins(domain);
}

void check_print(const Domain& domain) {
  const auto text = domain_text(domain);
  VMM_CHECK(text, "what was read can be printed");
  const Reading again = parse_domain(*text, "printed.xml", "/elsewhere");
  VMM_CHECK(again.domain, "what was printed can be read");
  VMM_CHECK(domain_text(*again.domain).value_or("") == *text, "and is printed the same again");
}

}  // namespace
}  // namespace vmm::domain

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace vmm::domain;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Reading reading = parse_domain(text, "guest.xml", "/images");
  check_messages(reading);
  const bool has_errors = std::ranges::any_of(
      reading.diagnostics, [](const Diagnostic& each) { return each.severity == Severity::kError; });
  VMM_CHECK(reading.domain.has_value() != has_errors, "there is a domain where there are no errors");
  VMM_CHECK(!(reading.domain && reading.incomplete), "a domain is complete or not");
  if (reading.domain) {
    check_domain(*reading.domain);
    constexpr size_t kShortEnough = size_t{16} << 10U;  // escaped, it is within the limits of a file
    if (size <= kShortEnough) {
      check_print(*reading.domain);
    }
  }
  return 0;
}
