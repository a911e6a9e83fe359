#include "tests/unit/domain/generated_domain.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>
#include <string_view>

#include "vmm/base/bytes.h"

namespace vmm::domain::testing {
namespace {

class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {}

  Domain domain() {
    Domain domain;
    make_general(domain);
    make_memory(domain);
    make_processors(domain);
    make_os(domain);
    domain.features = {.acpi = domain.vcpus > 1 || coin(), .hide_kvm = coin(), .pmu = coin()};
    domain.clock = clock();
    domain.on_poweroff = any<LifecycleAction>(3);
    domain.on_reboot = any<LifecycleAction>(3);
    domain.on_crash = any<LifecycleAction>(3);
    make_disks(domain);
    make_interfaces(domain);
    make_balloon(domain);
    make_rngs(domain);
    make_serials(domain);
    make_consoles(domain);
    if (coin()) {
      domain.panic_device = PanicDevice{.alias = alias()};
    }
    make_watchdog(domain);
    if (coin()) {
      domain.exit_port = ExitPort{.port = static_cast<uint16_t>(number(0, kExitPortEnd - 1))};
    }
    return domain;
  }

 private:
  uint32_t number(uint32_t least, uint32_t most) {
    // std::uniform_int_distribution gives other numbers with other libraries.
    return least + static_cast<uint32_t>(random_() % (uint64_t{most} - least + 1));
  }
  bool coin() { return number(0, 1) == 1; }

  template <typename T>
  T any(uint32_t count) {
    return static_cast<T>(number(0, count - 1));
  }

  // Not empty, and without white space at its ends, which a file does not keep.
  std::string text() {
    constexpr std::array<std::string_view, 9> kPieces = {
        "a", "guest", " and <this>", "&amp;", "it's \"quoted\"", "]]>", "ü€𝄞", " = ", "x"};
    std::string result = "t";
    for (uint32_t i = number(0, 4); i > 0; --i) {
      result += kPieces.at(number(0, kPieces.size() - 1));
    }
    return result + "t";
  }
  std::string lines() { return coin() ? text() : text() + "\n\t" + text() + "\r\n" + text(); }
  std::filesystem::path path() { return fmt::format("/some where/{}/{}", text(), ++paths_); }
  std::string alias() { return coin() ? std::string() : fmt::format("ua-{}", number(0, 99)); }

  void make_general(Domain& domain) {
    domain.name = text();
    if (coin()) {
      auto& uuid = domain.uuid.emplace();
      std::ranges::generate(uuid, [this] { return static_cast<uint8_t>(number(0, 255)); });
    }
    if (coin()) {
      auto& id = domain.generation_id.emplace();
      if (coin()) {
        std::ranges::generate(id.value.emplace(), [this] { return static_cast<uint8_t>(number(0, 255)); });
      }
    }
    domain.title = coin() ? text() : "";
    domain.description = coin() ? lines() : "";
  }

  void make_memory(Domain& domain) {
    domain.memory_bytes = number(2, coin() ? 4096 : 4U << 20U) * kMiB;
    domain.current_memory_bytes =
        coin() ? domain.memory_bytes : number(1, static_cast<uint32_t>(domain.memory_bytes / kMiB)) * kMiB;
    MemoryBacking& backing = domain.memory_backing;
    backing.hugepages = coin();
    constexpr std::array<uint64_t, 3> kSizes = {0, 2 * kMiB, 1024 * kMiB};
    backing.hugepage_bytes = backing.hugepages ? kSizes.at(number(0, 2)) : 0;
    backing.source = any<MemorySource>(2);
    backing.locked = coin();
    backing.shared = coin();
    backing.share_pages = coin();
    backing.allocate_at_start = coin();
  }

  void make_processors(Domain& domain) {
    if (coin()) {
      domain.topology = {
          .sockets = number(1, 3), .dies = number(1, 2), .cores = number(1, 4), .threads = number(1, 2)};
      const CpuTopology& topology = domain.topology;
      domain.vcpus = topology.sockets * topology.dies * topology.cores * topology.threads;
    } else {
      domain.vcpus = number(1, kMaxVcpus);
      domain.topology = {.sockets = domain.vcpus};
    }
    domain.cpu.mode = any<CpuMode>(3);
    domain.cpu.model = domain.cpu.mode == CpuMode::kCustom ? "Skylake-Client" : "";
    domain.cpu.migratable = domain.cpu.mode != CpuMode::kHostPassthrough || coin();
    for (uint32_t i = number(0, 3); i > 0; --i) {
      domain.cpu.features.push_back({.name = fmt::format("feature-{}", i), .policy = any<FeaturePolicy>(5)});
    }
    uint32_t id = 0;
    for (uint32_t i = number(0, 4); i > 0; --i) {
      id += coin() ? 1 : number(1, 1000);
      domain.iothread_ids.push_back(id);
    }
    domain.pins = pins(domain);
  }

  CpuSet cpus() {
    CpuSet set;
    for (uint32_t cpu = number(0, 3); set.cpus.size() < number(1, 4); cpu += number(1, 3)) {
      set.cpus.push_back(cpu);
    }
    return set;
  }

  CpuPins pins(const Domain& domain) {
    CpuPins pins;
    pins.all = coin() ? std::optional(cpus()) : std::nullopt;
    pins.emulator = coin() ? std::optional(cpus()) : std::nullopt;
    for (uint32_t i = number(0, 2); i > 0; --i) {
      pins.vcpus.emplace(number(0, domain.vcpus - 1), cpus());
    }
    for (const uint32_t id : domain.iothread_ids) {
      if (coin()) {
        pins.iothreads.emplace(id, cpus());
      }
    }
    return pins;
  }

  IoLimit limit() {
    IoLimit limit;
    limit.per_second = number(1, 1'000'000);
    if (coin()) {
      limit.burst_per_second = limit.per_second * 2;
      limit.burst_seconds = number(1, 60);
    }
    return limit;
  }

  // In all, or by direction.
  void make_limits(IoLimit& total, IoLimit& read, IoLimit& write) {
    if (coin()) {
      total = limit();
      return;
    }
    read = limit();
    write = coin() ? limit() : IoLimit();
  }

  IoTune iotune() {
    IoTune tune;
    const bool limits_operations = coin();
    if (limits_operations) {
      make_limits(tune.total_operations, tune.read_operations, tune.write_operations);
      tune.operation_bytes = coin() ? number(1, 100'000) : 0;
    }
    if (!limits_operations || coin()) {
      make_limits(tune.total_bytes, tune.read_bytes, tune.write_bytes);
    }
    return tune;
  }

  std::map<std::string, std::string> entries(std::initializer_list<std::string_view> names) {
    std::map<std::string, std::string> result;
    for (const std::string_view name : names) {
      if (coin()) {
        result.emplace(name, coin() ? "" : fmt::format("Version {}", number(0, 99)));
      }
    }
    return result;
  }

  SmbiosEntries smbios(const Domain& domain) {
    SmbiosEntries result = {
        .bios = entries({"vendor", "version", "release"}),
        .system = entries({"manufacturer", "product", "version", "serial", "sku", "family"}),
        .board = entries({"manufacturer", "product", "version", "serial", "asset", "location"}),
        .chassis = entries({"manufacturer", "version", "serial", "asset", "sku"}),
        .oem_strings = {}};
    if (coin()) {
      result.bios.emplace("date",
                          fmt::format("{}/{:02}/{}", number(1, 12), number(1, 31), number(1900, 2100)));
    }
    for (uint32_t i = number(0, 2); i > 0; --i) {
      result.oem_strings.push_back(fmt::format("String <{}>", number(0, 99)));
    }
    if (domain.uuid && coin()) {
      std::string digits;
      for (const uint8_t byte : *domain.uuid) {
        digits += fmt::format("{:02X}", byte);
      }
      result.system.emplace("uuid", digits);
    }
    return result;
  }

  void make_os(Domain& domain) {
    Os& os = domain.os;
    if (coin()) {
      os.machine = any<MachineType>(2);
      os.kernel = path();
      os.initrd = coin() ? path() : "";
      os.command_line = coin() ? lines() : "";
    }
    os.loader = coin() ? path() : "";
    for (uint32_t i = number(0, 2); i > 0; --i) {
      os.boot_devices.push_back(any<BootDevice>(3));
    }
    constexpr uint32_t kMostOfTheSchema = 32767;
    os.boot_menu_ms = coin() ? std::optional(number(0, 65535)) : std::nullopt;
    os.firmware_uses_serial = coin();
    os.reboot_after_ms = coin() ? std::optional(number(0, kMostOfTheSchema)) : std::nullopt;
    if (coin()) {
      os.smbios = smbios(domain);
    }
  }

  Clock clock() {
    Clock clock;
    clock.offset = any<ClockOffset>(4);
    if (clock.offset == ClockOffset::kTimezone) {
      clock.timezone = coin() ? "Europe/Paris" : "Etc/GMT+1";
    } else if (clock.offset == ClockOffset::kVariable) {
      clock.adjustment_seconds = int64_t{number(0, 200'000)} - 100'000;
      clock.basis_is_localtime = coin();
    }
    clock.kvmclock = coin();
    clock.pit = coin();
    return clock;
  }

  void make_disks(Domain& domain) {
    const bool is_pc = domain.os.machine == MachineType::kPc;
    const bool has_long_names = coin();
    const uint32_t virtio_disks = number(0, is_pc ? 6 : 3);
    for (uint32_t i = 0; i < virtio_disks; ++i) {
      Disk disk = any_disk(domain, i);
      disk.target = fmt::format("vd{}{}", has_long_names ? "a" : "", letter(i));
      make_virtio(domain, i, disk);
      domain.disks.push_back(std::move(disk));
    }
    uint32_t place = number(0, 4);
    for (uint32_t i = virtio_disks; is_pc && place < 4; ++i, ++place) {
      Disk disk = any_disk(domain, i);
      disk.target = fmt::format("{}{}", coin() ? "hd" : "sd", letter(i));
      make_ide(place, disk);
      domain.disks.push_back(std::move(disk));
    }
  }

  static char letter(uint32_t index) { return static_cast<char>('a' + index); }

  Disk any_disk(const Domain& domain, uint32_t index) {
    Disk disk;
    disk.source_type = any<DiskSource>(2);
    disk.source = path();
    disk.format = any<ImageFormat>(2);
    if (disk.format == ImageFormat::kQcow2) {
      if (coin()) {
        disk.data_file = path();
        disk.data_file_type = any<DiskSource>(2);
      }
      for (uint32_t left = number(0, 3); left > 0; --left) {
        disk.backing_stores.push_back({.source_type = any<DiskSource>(2),
                                       .source = coin() ? path() : std::filesystem::path(),
                                       .format = any<ImageFormat>(2)});
      }
      disk.metadata_cache_bytes = coin() ? number(1, 1U << 30U) : 0;
      disk.secret = coin() ? std::optional(secret()) : std::nullopt;
    }
    disk.backing_ends = coin();
    disk.cache = any<CacheMode>(5);
    disk.io = any<IoMode>(2);
    disk.discard = any<DiscardMode>(2);
    disk.detect_zeroes = any<DetectZeroes>(disk.discard == DiscardMode::kUnmap ? 3 : 2);
    disk.write_error = any<ErrorPolicy>(4);
    disk.read_error = any<ErrorPolicy>(3);
    if (!domain.iothread_ids.empty() && coin()) {
      disk.iothread =
          domain.iothread_ids.at(number(0, static_cast<uint32_t>(domain.iothread_ids.size()) - 1));
    }
    if (domain.os.boot_devices.empty() && coin()) {
      disk.boot_order = 1 + index;
    }
    disk.serial = coin() ? fmt::format("No. {}-A_b+c", index) : "";
    disk.alias = alias();
    disk.iotune = coin() ? std::optional(iotune()) : std::nullopt;
    return disk;
  }

  std::string secret() { return coin() ? "6a2f6f0e-8c55-4a5e-9f0c-0d3b8f1c2a77" : text(); }

  void make_virtio(const Domain& domain, uint32_t index, Disk& disk) {
    disk.read_only = coin();
    disk.shareable = coin();
    disk.transient = !disk.read_only && !disk.shareable && coin();
    disk.queues = coin() ? std::optional(number(1, kMaxVcpus)) : std::nullopt;
    disk.queue_size = coin() ? std::optional(1U << number(2, 10)) : std::nullopt;
    disk.event_idx = coin();
    disk.ioeventfd = coin();
    disk.logical_block_bytes = coin() ? 1U << number(9, 12) : 0;
    disk.physical_block_bytes = coin() ? 1U << number(12, 15) : 0;
    disk.geometry = coin() ? std::optional(geometry(255)) : std::nullopt;
    if (domain.os.machine == MachineType::kPc && coin()) {
      disk.address = PciAddress{.slot = static_cast<uint8_t>(kFirstSlot + index)};
    }
  }

  DiskGeometry geometry(uint32_t most_heads) {
    return {
        .cylinders = number(1, 65535), .heads = number(1, most_heads), .sectors_per_track = number(1, 255)};
  }

  void make_ide(uint32_t place, Disk& disk) {
    disk.bus = DiskBus::kIde;
    disk.ide_place = {.channel = static_cast<uint8_t>(place / 2), .drive = static_cast<uint8_t>(place % 2)};
    disk.serial = disk.serial.empty() ? ide_serial(disk.ide_place) : disk.serial;
    disk.world_wide_name =
        coin() ? std::optional(uint64_t{number(0, UINT32_MAX)} << 32 | number(0, UINT32_MAX)) : std::nullopt;
    disk.shareable = coin();
    if (coin()) {
      if (coin()) {
        disk.geometry = geometry(16);
        disk.geometry->translation = any<ChsTranslation>(3);
      }
      disk.rotation_rate =
          coin() ? std::optional(static_cast<uint16_t>(coin() ? 1 : number(1025, 65534))) : std::nullopt;
      disk.transient = !disk.shareable && coin();
      disk.logical_block_bytes = coin() ? 512 : 0;
      disk.physical_block_bytes = coin() ? 4096 : 0;
      return;
    }
    disk.device = DiskDevice::kCdrom;
    disk.read_only = true;
    disk.tray_is_open = coin();
    disk.source_is_optional = coin();
    if (!disk.source_is_optional && coin()) {
      disk.source.clear();
      disk.data_file.reset();
      disk.data_file_type = DiskSource::kFile;
    }
  }

  IpAddress ip(bool is_v6) {
    IpAddress address{.is_v6 = is_v6};
    for (size_t i = 0; i < (is_v6 ? address.bytes.size() : 4U); ++i) {
      address.bytes.at(i) = static_cast<uint8_t>(number(0, coin() ? 0 : 255));
    }
    address.bytes[0] = static_cast<uint8_t>(number(1, 223));
    return address;
  }

  // No two of the domain's have a port in common: each forwards those of its own hundred.
  PortForward forward(bool is_passt, uint32_t index) {
    PortForward forward;
    const auto first = static_cast<uint16_t>(1000 + 100 * index);
    forward.protocol = any<IpProtocol>(2);
    forward.address = coin() ? std::optional(ip(coin())) : std::nullopt;
    forward.device = is_passt && coin() ? "eth0" : "";
    forward.ranges.push_back({.first = first,
                              .last = static_cast<uint16_t>(first + number(0, 20)),
                              .to = static_cast<uint16_t>(number(1, 65000))});
    if (coin()) {
      const auto excluded = static_cast<uint16_t>(first + number(0, 99));
      forward.ranges.push_back({.first = excluded, .last = excluded, .to = excluded, .is_excluded = true});
    }
    return forward;
  }

  void make_user_end(bool is_passt, uint32_t index, Interface& interface) {
    interface.backend = is_passt ? UserBackend::kPasst : UserBackend::kSlirp;
    interface.log_file = is_passt && coin() ? path() : "";
    interface.device = is_passt && coin() ? "eth1" : "";
    if (coin()) {
      interface.ipv4 = InterfaceIp{.address = ip(false), .prefix = number(1, 27)};
    }
    if (coin()) {
      interface.ipv6 = InterfaceIp{.address = ip(true), .prefix = number(1, 126)};
    }
    for (uint32_t i = number(0, 2); i > 0; --i) {
      interface.forwards.push_back(forward(is_passt, 2 * index + i));
    }
  }

  void make_tap(uint32_t index, Interface& interface) {
    const bool has_bridge =
        interface.type == InterfaceType::kBridge || (interface.type == InterfaceType::kNetwork && coin());
    interface.bridge = has_bridge ? "br0" : "";
    interface.network = interface.type == InterfaceType::kNetwork ? text() : "";
    if (interface.type == InterfaceType::kDirect) {
      interface.device = "eth0.2";
      interface.direct_mode = any<DirectMode>(4);
    }
    interface.target = coin() ? fmt::format("tap{}", index) : "";
    interface.target_is_managed =
        interface.type != InterfaceType::kEthernet || interface.target.empty() || coin();
    interface.driver = any<InterfaceDriver>(3);
    interface.queues = number(1, kMaxInterfaceQueues);
  }

  std::optional<Bandwidth> bandwidth() {
    Bandwidth limit{.average_kib = number(1, 1000)};
    limit.peak_kib = coin() ? limit.average_kib + number(0, 1000) : 0;
    limit.burst_kib = coin() ? number(1, 1000) : 0;
    return coin() ? std::optional(limit) : std::nullopt;
  }

  void make_offloads(Interface& interface) {
    interface.host_offloads = {.checksum = coin(),
                               .gso = coin(),
                               .tso4 = coin(),
                               .tso6 = coin(),
                               .ecn = coin(),
                               .ufo = coin(),
                               .mergeable_buffers = coin()};
    interface.guest_offloads = {
        .checksum = coin(), .tso4 = coin(), .tso6 = coin(), .ecn = coin(), .ufo = coin()};
  }

  Interface any_interface(const Domain& domain, uint32_t index) {
    Interface interface;
    interface.mac.bytes = {0x52,
                           0x54,
                           0,
                           static_cast<uint8_t>(number(0, 255)),
                           static_cast<uint8_t>(number(0, 255)),
                           static_cast<uint8_t>(index)};
    interface.rx_queue_size = coin() ? std::optional(1U << number(8, 10)) : std::nullopt;
    interface.tx_queue_size = coin() ? std::optional(1U << number(8, 10)) : std::nullopt;
    interface.event_idx = coin();
    interface.ioeventfd = coin();
    make_offloads(interface);
    interface.inbound = bandwidth();
    interface.outbound = bandwidth();
    interface.filter = any<InterfaceFilter>(7);
    if (looks_at_ips(interface.filter)) {
      interface.filter_ips.resize(number(1, 2));
      std::ranges::generate(interface.filter_ips, [this] { return ip(false); });
    }
    interface.link_is_up = coin();
    interface.mtu = coin() ? std::optional(number(kMinMtu, kMaxMtu)) : std::nullopt;
    interface.rom.is_enabled = coin();
    if (interface.rom.is_enabled) {
      interface.rom.is_in_bar = coin();
      interface.rom.file = coin() ? path() : "";
    }
    interface.boot_order =
        domain.os.boot_devices.empty() && coin() ? std::optional(100 + index) : std::nullopt;
    interface.alias = coin() ? std::string() : fmt::format("ua-card{}", index);
    return interface;
  }

  void make_interfaces(Domain& domain) {
    const bool is_pc = domain.os.machine == MachineType::kPc;
    const bool has_passt = coin();
    for (uint32_t i = 0, count = number(0, is_pc ? 3 : 1); i < count; ++i) {
      Interface interface = any_interface(domain, i);
      interface.type = any<InterfaceType>(5);
      if (interface.type == InterfaceType::kUser) {
        make_user_end(has_passt, i, interface);
      } else {
        make_tap(i, interface);
      }
      if (is_pc && coin()) {
        interface.address = PciAddress{.slot = static_cast<uint8_t>(20 + i)};
      }
      domain.interfaces.push_back(std::move(interface));
    }
    if (!has_passt && coin()) {
      UserNetwork& network = domain.user_network.emplace();
      network.is_restricted = coin();
      network.tftp_folder = coin() ? path() : "";
      network.boot_file = network.tftp_folder.empty() || coin() ? "" : text();
    }
  }

  void make_balloon(Domain& domain) {
    if (coin()) {
      return;
    }
    Balloon& balloon = domain.balloon.emplace();
    balloon.deflates_on_oom = coin();
    balloon.reports_free_pages = coin();
    balloon.alias = alias();
    if (domain.os.machine == MachineType::kPc && coin()) {
      balloon.address = PciAddress{.slot = 31};
    }
  }

  void make_watchdog(Domain& domain) {
    if (coin()) {
      return;
    }
    const bool is_pc = domain.os.machine == MachineType::kPc;
    Watchdog& watchdog = domain.watchdog.emplace();
    watchdog.model = is_pc ? any<WatchdogModel>(2) : WatchdogModel::kIb700;
    watchdog.action = any<WatchdogAction>(6);
    if (watchdog.model == WatchdogModel::kI6300esb && coin()) {
      watchdog.address = PciAddress{.slot = 29};
    }
  }

  void make_rngs(Domain& domain) {
    if (coin()) {
      return;
    }
    Rng& rng = domain.rngs.emplace_back();
    rng.source = coin() ? "/dev/urandom" : "";
    rng.alias = alias();
    if (coin()) {
      rng.rate_bytes = number(1, 1'000'000);
      rng.rate_period_ms = number(1, 2000);
    }
    if (domain.os.machine == MachineType::kPc && coin()) {
      rng.address = PciAddress{.slot = 30};
    }
  }

  Serial end(bool is_stdio) {
    Serial end;
    end.backend = is_stdio ? CharBackend::kStdio : any<CharBackend>(5);
    if (end.backend == CharBackend::kStdio && !is_stdio) {
      end.backend = CharBackend::kNull;
    }
    if (end.backend == CharBackend::kFile) {
      end.path = path();
      end.append = coin();
    } else if (end.backend == CharBackend::kUnix) {
      end.path = fmt::format("/run/socket {}", ++paths_);
      end.listen = coin();
    }
    if (coin()) {
      end.log_path = path();
      end.log_append = coin();
    }
    end.alias = alias();
    return end;
  }

  void make_consoles(Domain& domain) {
    for (uint32_t i = number(0, 2); i > 0; --i) {
      const auto port = static_cast<uint32_t>(domain.virtio_consoles.size());
      domain.virtio_consoles.push_back(end(false));
      domain.virtio_consoles.back().port = port;
    }
    if (coin()) {
      domain.debug_console =
          DebugConsole{.end = end(false), .port = static_cast<uint16_t>(number(0, 0xbfff))};
    }
  }

  void make_serials(Domain& domain) {
    const uint32_t stdio_port = number(0, 7);  // of one of them, or of none
    for (uint32_t port = 0; port < kMaxSerialPorts; ++port) {
      if (coin()) {
        continue;
      }
      Serial serial = end(port == stdio_port);
      serial.port = port;
      domain.serials.push_back(std::move(serial));
    }
  }

  static constexpr uint32_t kFirstSlot = 2;
  std::mt19937 random_;
  uint32_t paths_ = 0;  // so that no image is that of two disks
};

}  // namespace

Domain generated_domain(uint32_t seed) { return Generator(seed).domain(); }

}  // namespace vmm::domain::testing
