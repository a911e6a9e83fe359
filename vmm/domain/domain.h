// Domain: what a domain XML file asks for, as plain values with their defaults in sight.
//
// The meaning of each value and its default are libvirt's (https://libvirt.org/formatdomain.html); where
// libvirt leaves the choice to the hypervisor, the default written here is vmm's. Paths are complete:
// relative ones were taken relative to the folder of the file. Nothing here was looked up on the host: that
// files exist and that the host has the memory is found out by who opens them. Threads: values.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/error.h"

namespace vmm::domain {

// Sums and figures that this layer enforces (docs/limits.md).
inline constexpr uint32_t kMaxVcpus = 255;
inline constexpr uint64_t kMinMemoryBytes = uint64_t{2} << 20;
inline constexpr uint64_t kMaxMemoryBytes = uint64_t{1} << 42;
inline constexpr uint32_t kMaxIoThreads = 64;
inline constexpr uint32_t kMaxSerialPorts = 4;
inline constexpr uint32_t kMaxMicrovmDisks = 8;    // on virtio; so is the next
inline constexpr uint32_t kMaxPcDisks = 28;        // slots 2 to 31 of bus 0, but for two left free
inline constexpr uint32_t kMaxMicrovmDevices = 8;  // all on virtio together; so is the next
inline constexpr uint32_t kMaxPcDevices = 30;      // slots 2 to 31 of bus 0
inline constexpr uint32_t kMaxVirtioConsoles = 8;
inline constexpr uint32_t kExitPortEnd = 0xc000;  // from there on PCI cards have their ports
inline constexpr uint32_t kMinQueueSize = 4;      // a header, a status, and room for data
inline constexpr uint32_t kMaxQueueSize = 1024;
inline constexpr uint32_t kMinInterfaceQueueSize = 256;  // of an interface, as libvirt's hypervisor has it
inline constexpr uint32_t kMaxInterfaceQueues = 8;       // pairs: one to send and one to receive
inline constexpr uint32_t kMinMtu = 68;                  // virtio 1.2, section 5.1.4.1
inline constexpr uint32_t kMaxMtu = 65535;
inline constexpr uint32_t kMaxPortRanges = 1024;      // of all interfaces together
inline constexpr uint32_t kMaxForwardedPorts = 1024;  // of one interface without passt: each is a socket

// --- Memory ---------------------------------------------------------------------------------------------

enum class MemorySource : uint8_t { kAnonymous, kMemfd };

struct MemoryBacking {
  int line = 0;  // 0: the file has no <memoryBacking>
  bool hugepages = false;
  uint64_t hugepage_bytes = 0;  // 0: the host's default size
  MemorySource source = MemorySource::kAnonymous;
  bool locked = false;
  bool shared = false;             // <access mode='shared'/>
  bool share_pages = true;         // false: <nosharepages/>, keep KSM away
  bool allocate_at_start = false;  // <allocation mode='immediate'/>
};

// --- Booting --------------------------------------------------------------------------------------------

enum class MachineType : uint8_t { kPc, kMicrovm };
enum class BootDevice : uint8_t { kHardDisk, kCdrom, kNetwork };

// <sysinfo type='smbios'>: what the SMBIOS tables say. The names are libvirt's, which checks them no further.
struct SmbiosEntries {
  std::map<std::string, std::string> bios, system, board, chassis;
  std::vector<std::string> oem_strings;
};

struct Os {
  int line = 0;
  MachineType machine = MachineType::kPc;
  std::filesystem::path kernel;  // empty: firmware boots the guest, machine='pc' only
  int kernel_line = 0;
  std::filesystem::path initrd;  // empty: none
  int initrd_line = 0;
  std::string command_line;
  int command_line_line = 0;
  std::filesystem::path loader;  // firmware; empty: SeaBIOS where distributions put it
  int loader_line = 0;
  std::vector<BootDevice> boot_devices;  // <boot dev=…/> in the order of the file, but for what vmm has not
  // The CD-ROM drive whose disc is booted first at the first start, and after that only where nothing else
  // boots (insert_install_disc). Empty: none. No element of libvirt's says it.
  std::string install_target;
  std::optional<uint32_t>
      boot_menu_ms;                  // <bootmenu enable='yes' timeout=…/>: how long it waits; absent: no menu
  bool firmware_uses_serial = true;  // <bios useserial=…/>
  std::optional<SmbiosEntries> smbios;      // with <smbios mode='sysinfo'/>
  std::optional<uint32_t> reboot_after_ms;  // <bios rebootTimeout=…/>: where nothing boots; absent: never
};

// --- CPU ------------------------------------------------------------------------------------------------

enum class CpuMode : uint8_t { kHostPassthrough, kHostModel, kCustom };
enum class FeaturePolicy : uint8_t { kForce, kRequire, kOptional, kDisable, kForbid };

struct CpuFeature {
  std::string name;  // libvirt's name, such as "cx16"; not checked against the host
  FeaturePolicy policy = FeaturePolicy::kRequire;
  int line = 0;
};

// sockets * dies * cores * threads is the number of vCPUs.
struct CpuTopology {
  uint32_t sockets = 1;
  uint32_t dies = 1;
  uint32_t cores = 1;
  uint32_t threads = 1;
};

// CPUs of the host: ascending, at least one, below kMaxHostCpus (cpu_set.h). Not all need be there.
struct CpuSet {
  int line = 0;
  std::vector<uint32_t> cpus;
};

// Where threads run; those that nothing here is said of run wherever vmm may.
struct CpuPins {
  std::optional<CpuSet> all;             // <vcpu cpuset=…>: for threads that have none of their own
  std::map<uint32_t, CpuSet> vcpus;      // <vcpupin>, by vCPU
  std::optional<CpuSet> emulator;        // <emulatorpin>: what is neither a vCPU's nor of <iothreads>
  std::map<uint32_t, CpuSet> iothreads;  // <iothreadpin>, by Domain::iothread_ids
};

struct Cpu {
  int line = 0;  // 0: the file has no <cpu>
  CpuMode mode = CpuMode::kHostPassthrough;
  std::string model;       // with kCustom only, and then never empty
  bool migratable = true;  // false: with kHostPassthrough only; also what ties the guest to its host
  std::vector<CpuFeature> features;  // no name twice
};

// --- Clock ----------------------------------------------------------------------------------------------

enum class ClockOffset : uint8_t { kUtc, kLocaltime, kTimezone, kVariable };

struct Clock {
  int line = 0;
  ClockOffset offset = ClockOffset::kUtc;
  std::string timezone;             // with kTimezone: "Europe/Paris"
  int64_t adjustment_seconds = 0;   // with kVariable: added to the basis
  bool basis_is_localtime = false;  // with kVariable
  bool kvmclock = true;             // <timer name='kvmclock' present=…/>
  bool pit = true;                  // <timer name='pit' present=…/>
};

// --- Features and life cycle ----------------------------------------------------------------------------

struct Features {
  bool acpi = false;  // as in libvirt, ACPI is there only if the file has <acpi/>
  bool apic = true;   // x86 guests have one always
  bool pae = true;
  bool hide_kvm = false;  // <kvm><hidden state='on'/></kvm>
  bool pmu = true;        // <pmu state=…/>
};

enum class LifecycleAction : uint8_t { kDestroy, kRestart, kPreserve };

// --- Devices --------------------------------------------------------------------------------------------

// On bus 0 of domain 0, the only one there is. No two devices have the same.
struct PciAddress {
  uint8_t slot = 0;      // 2 to 31
  uint8_t function = 0;  // always 0 in this release
};

enum class DiskSource : uint8_t { kFile, kBlock };
enum class ImageFormat : uint8_t { kRaw, kQcow2 };
enum class DiskBus : uint8_t { kVirtio, kIde };
enum class DiskDevice : uint8_t { kDisk, kCdrom };

// Where an IDE drive is: channel 0 or 1, and its master (0) or slave (1). No two drives at one place.
struct IdePlace {
  uint8_t channel = 0;
  uint8_t drive = 0;
  friend auto operator<=>(const IdePlace&, const IdePlace&) = default;
};
enum class CacheMode : uint8_t { kNone, kWriteback, kWritethrough, kDirectsync, kUnsafe };
enum class IoMode : uint8_t { kIoUring, kThreads };
enum class DiscardMode : uint8_t { kIgnore, kUnmap };
enum class DetectZeroes : uint8_t { kOff, kOn, kUnmap };
enum class ErrorPolicy : uint8_t { kReport, kStop, kIgnore, kEnospace };

// Of bytes or of operations; no more than 10^15.
struct IoLimit {
  uint64_t per_second = 0;        // 0: no limit
  uint64_t burst_per_second = 0;  // …_max: at least per_second; 0: no burst
  uint64_t burst_seconds = 1;     // …_max_length: how long a burst may last
};

// <iotune>: of all, or of reads and writes apart, not both. One limit at least.
struct IoTune {
  IoLimit total_bytes, read_bytes, write_bytes;
  IoLimit total_operations, read_operations, write_operations;  // …_iops_sec
  uint64_t operation_bytes = 0;  // size_iops_sec: a longer operation counts as several; 0: as one
};

// How firmware counts the cylinders of an IDE disk: as the disk does, or so that all of it can be named.
enum class ChsTranslation : uint8_t { kAuto, kNone, kLba };

// <geometry>: what the guest is told of a disk's cylinders, whatever its size.
struct DiskGeometry {
  uint32_t cylinders = 0;                              // 1 to 65535
  uint32_t heads = 0;                                  // 1 to 16 with kIde, to 255 with kVirtio
  uint32_t sectors_per_track = 0;                      // 1 to 255
  ChsTranslation translation = ChsTranslation::kAuto;  // with kIde
};

struct BackingStore {
  DiskSource source_type = DiskSource::kFile;
  std::filesystem::path source;  // empty: whatever the image above names
  ImageFormat format = ImageFormat::kRaw;
};

// In the order of the element's parts; there are few of them.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
struct Disk {
  int line = 0;
  std::string target;  // "vda"; no two disks have the same
  DiskBus bus = DiskBus::kVirtio;
  DiskDevice device = DiskDevice::kDisk;  // kCdrom: with kIde only, and read_only
  IdePlace ide_place;                     // with kIde; machine='pc' only
  DiskSource source_type = DiskSource::kFile;
  std::filesystem::path source;  // empty: a CD-ROM drive without a disc
  int source_line = 0;
  bool source_is_optional = false;  // of a CD-ROM drive: without the file it is empty
  bool tray_is_open = false;        // of a CD-ROM drive, at the start
  ImageFormat format = ImageFormat::kRaw;
  std::optional<std::filesystem::path>
      data_file;                                  // <dataStore>: where the image's data are; only with kQcow2
  DiskSource data_file_type = DiskSource::kFile;  // with data_file
  // <backingStore>s: what the image stands on, and what that stands on, as far as the file says it. The
  // images themselves say it too, and must agree. Only with kQcow2.
  std::vector<BackingStore> backing_stores;
  bool backing_ends = false;          // nothing more is below those
  uint64_t metadata_cache_bytes = 0;  // with kQcow2; 0: the default
  // <encryption><secret>: the name of the passphrase, which the command line brings. Only with kQcow2.
  std::optional<std::string> secret;
  bool read_only = false;
  bool shareable = false;
  bool transient = false;         // what the guest writes is thrown away at the end; never with shareable
  std::filesystem::path kept_as;  // with transient: it gets this name instead; empty: none
  bool is_committed = false;  // with transient: it gets into the image when the guest has switched itself off
  std::string serial;         // at most 20 bytes, what VIRTIO_BLK_T_GET_ID can carry
  std::optional<uint64_t> world_wide_name;  // <wwn>; with kIde only
  std::optional<uint16_t> rotation_rate;    // in a minute, or 1: it does not turn; with kIde, not with kCdrom
  std::optional<DiskGeometry> geometry;     // not with kCdrom
  CacheMode cache = CacheMode::kWriteback;
  IoMode io = IoMode::kIoUring;
  DiscardMode discard = DiscardMode::kIgnore;
  DetectZeroes detect_zeroes = DetectZeroes::kOff;  // kUnmap only together with DiscardMode::kUnmap
  ErrorPolicy write_error = ErrorPolicy::kEnospace;
  ErrorPolicy read_error = ErrorPolicy::kReport;  // never kEnospace
  std::optional<uint32_t> iothread;               // one of Domain::iothread_ids
  std::optional<uint32_t> queues;                 // 1 to kMaxVcpus; absent: as many as vCPUs
  std::optional<uint32_t>
      queue_size;  // a power of two, kMinQueueSize to kMaxQueueSize; absent: the device's choice
  bool event_idx = true;
  bool ioeventfd = true;
  std::optional<IoTune> iotune;
  uint32_t logical_block_bytes = 0;    // a power of two, 512 to 32768; 0: the image's own
  uint32_t physical_block_bytes = 0;   // the same, not below the logical size
  std::optional<uint32_t> boot_order;  // from 1; no two the same
  std::optional<PciAddress> address;   // machine='pc' only; absent: vmm's choice
  std::string alias;
};

// The serial number of an IDE drive that has none in the file: guests tell drives apart by it.
std::string ide_serial(IdePlace place);

// Where what is written to transient disks is until the end. No element of libvirt's says it.
struct Throwaway {
  std::filesystem::path folder;         // empty: beside each disk's image
  bool in_memory = false;               // and in no folder
  bool is_encrypted = false;            // under a key that is gone at the end
  std::optional<uint64_t> limit_bytes;  // of all disks together; absent: what the host has
};

// <memballoon model='virtio'>
struct Balloon {
  int line = 0;
  bool deflates_on_oom = false;       // autodeflate='on'
  bool reports_free_pages = false;    // freePageReporting='on'
  std::optional<PciAddress> address;  // machine='pc' only; absent: vmm's choice
  std::string alias;
};

// <rng model='virtio'>
struct Rng {
  int line = 0;
  std::filesystem::path source;       // a character device; empty: the host's kernel, asked directly
  uint64_t rate_bytes = 0;            // in each period; 0: as many as the guest asks for
  uint32_t rate_period_ms = 1000;     // at least 1
  std::optional<PciAddress> address;  // machine='pc' only; absent: vmm's choice
  std::string alias;
};

// <panic model='isa'>: a port at which the guest's kernel tells that it has panicked; then <on_crash> is
// obeyed.
struct PanicDevice {
  int line = 0;
  std::string alias;
};
inline constexpr uint16_t kPanicDevicePort = 0x505;  // where guests find it

enum class WatchdogModel : uint8_t { kIb700, kI6300esb };
enum class WatchdogAction : uint8_t { kReset, kShutdown, kPoweroff, kPause, kInjectNmi, kNone };

// <watchdog>: what is done with a guest whose watchdog runs out.
struct Watchdog {
  int line = 0;
  WatchdogModel model = WatchdogModel::kIb700;  // kI6300esb: machine='pc' only
  WatchdogAction action = WatchdogAction::kReset;
  std::optional<PciAddress> address;  // with kI6300esb; absent: vmm's choice
};
std::string_view name_of(WatchdogAction action);

enum class CharBackend : uint8_t { kStdio, kFile, kPty, kUnix, kNull };

struct Serial {
  int line = 0;
  uint32_t port = 0;                        // 0 is COM1; below kMaxSerialPorts, no two the same
  CharBackend backend = CharBackend::kPty;  // kStdio: one port at most
  std::filesystem::path path;               // kFile, kUnix
  bool append = false;                      // kFile: keep what the file holds
  bool listen = true;                       // kUnix: mode='bind'; false: mode='connect'
  std::filesystem::path log_path;           // <log>: what the guest writes goes there, too; empty: nowhere
  bool log_append = false;                  // keep what that file holds
  std::string alias;
};

// <serial> with <target type='isa-debug'>: a port that firmware and kernels print to.
struct DebugConsole {
  Serial end;         // its port is no COM port, and says nothing
  uint16_t port = 0;  // below kExitPortEnd
};
inline constexpr uint16_t kDebugConsolePort = 0x402;  // where SeaBIOS and OVMF print

// <genid>: by which a guest knows that its disks were copied, or went back in time.
struct GenerationId {
  int line = 0;
  std::optional<std::array<uint8_t, 16>> value;  // in the order of its text; absent: another at each start
};

// A port at which the guest ends its run with an exit status; <vmm:exit> in <metadata>.
struct ExitPort {
  int line = 0;
  uint16_t port = 0;  // below kExitPortEnd
};

// --- Network interfaces ---------------------------------------------------------------------------------

struct MacAddress {
  std::array<uint8_t, 6> bytes{};  // as they are sent
  friend auto operator<=>(const MacAddress&, const MacAddress&) = default;
};

struct IpAddress {
  bool is_v6 = false;
  std::array<uint8_t, 16> bytes{};  // as they are sent; of IPv4 the first four, and then zeroes
  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

// Of type='user' the host's end is a network of vmm's own; of the others a tap or a macvtap.
enum class InterfaceType : uint8_t { kUser, kEthernet, kBridge, kDirect, kNetwork };
enum class UserBackend : uint8_t { kSlirp, kPasst };
enum class DirectMode : uint8_t { kVepa, kBridge, kPrivate, kPassthrough };
enum class IpProtocol : uint8_t { kTcp, kUdp };

// <ip> of type='user'. Without passt it names the network, in which the guest gets an address; with passt it
// is the guest's.
struct InterfaceIp {
  IpAddress address;
  uint32_t prefix = 0;  // bits; at least 1
};

// Of the host's ports `first` to `last`, the first leads to the guest's port `to`, the next to the next.
struct PortRange {
  uint16_t first = 0;        // from 1
  uint16_t last = 0;         // not below it
  uint16_t to = 0;           // and as many more fit
  bool is_excluded = false;  // these are not forwarded, whatever other ranges say; `to` is `first`
};

// <portForward>, with type='user'
struct PortForward {
  int line = 0;
  IpProtocol protocol = IpProtocol::kTcp;
  std::optional<IpAddress> address;  // of the host; absent: all that it has
  std::string device;                // only what comes to this device of the host; with passt only
  // Without one that is not excluded: all ports but those that are; with passt only. See forwarded_ports().
  std::vector<PortRange> ranges;
};

// <bandwidth>: what may pass in one direction, as libvirt counts it.
struct Bandwidth {
  uint32_t average_kib = 0;  // in a second; at least 1
  uint32_t peak_kib = 0;     // in a second, in a burst; 0: as fast as it goes
  uint32_t burst_kib = 0;    // in one burst; 0: what the average is in a tenth of a second
};

// Who moves the packets of a tap.
enum class InterfaceDriver : uint8_t { kAny, kQemu, kVhost };  // kAny: vhost where the host has it

// <driver>/<host>: what the guest may leave to the host to do with packets that it sends.
struct HostOffloads {
  bool checksum = true;
  bool gso = true;
  bool tso4 = true;
  bool tso6 = true;
  bool ecn = true;
  bool ufo = true;
  bool mergeable_buffers = true;  // mrg_rxbuf=
};

// <driver>/<guest>: what may be left to the guest to do with packets that it receives.
struct GuestOffloads {
  bool checksum = true;
  bool tso4 = true;
  bool tso6 = true;
  bool ecn = true;
  bool ufo = true;
};

// <filterref>: libvirt's filters of these names.
enum class InterfaceFilter : uint8_t {
  kNone,
  kNoMacSpoofing,
  kNoIpSpoofing,
  kNoArpMacSpoofing,
  kNoArpIpSpoofing,
  kNoArpSpoofing,  // the two before it
  kCleanTraffic,   // all of them, and nothing but IPv4 and ARP
};
// Whether it looks at the guest's IPv4 addresses.
constexpr bool looks_at_ips(InterfaceFilter filter) {
  return filter != InterfaceFilter::kNone && filter != InterfaceFilter::kNoMacSpoofing &&
         filter != InterfaceFilter::kNoArpMacSpoofing;
}

// <rom>: of what firmware boots from the network.
struct InterfaceRom {
  bool is_enabled = true;
  bool is_in_bar = true;       // bar='on': the guest sees it
  std::filesystem::path file;  // empty: vmm's choice, where the guest is to boot from the card
};

// <interface>: a network card of virtio.
// In the order of the element's parts; there are few of them.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
struct Interface {
  int line = 0;
  InterfaceType type = InterfaceType::kUser;
  MacAddress mac;       // unicast; made of the domain's uuid or name where the file has none
  std::string network;  // with kNetwork: libvirt's name for it
  std::string bridge;   // with kBridge; with kNetwork: what the file knows of it, or empty
  std::string device;   // with kDirect; with passt: the one to reach the world by, or empty
  DirectMode direct_mode = DirectMode::kVepa;
  std::string target;  // what the tap or macvtap is called; empty: the host's choice
  bool target_is_managed =
      true;  // false: the tap is there, and nothing is done to it; kEthernet, with target
  UserBackend backend = UserBackend::kSlirp;  // with kUser
  std::filesystem::path log_file;             // with passt; empty: none
  std::optional<InterfaceIp> ipv4, ipv6;      // with kUser
  std::vector<PortForward> forwards;          // with kUser
  InterfaceDriver driver = InterfaceDriver::kAny;
  uint32_t queues = 1;                    // to kMaxInterfaceQueues; 1 with kUser
  std::optional<uint32_t> rx_queue_size;  // a power of two, kMinInterfaceQueueSize to kMaxQueueSize
  std::optional<uint32_t> tx_queue_size;  // the same; absent: the device's choice
  bool event_idx = true;
  bool ioeventfd = true;
  HostOffloads host_offloads;
  GuestOffloads guest_offloads;
  std::optional<Bandwidth> inbound;   // what the guest receives
  std::optional<Bandwidth> outbound;  // what it sends
  InterfaceFilter filter = InterfaceFilter::kNone;
  std::vector<IpAddress> filter_ips;  // the guest's addresses (IPv4), where the filter looks at them
  bool link_is_up = true;
  std::optional<uint32_t> mtu;  // kMinMtu to kMaxMtu
  InterfaceRom rom;
  std::optional<uint32_t> boot_order;  // from 1; no two devices have the same
  std::optional<PciAddress> address;   // machine='pc' only; absent: vmm's choice
  std::string alias;
  std::filesystem::path packet_file;  // --dump-net: all packets go there, too; empty: nowhere
};

// <vmm:user-network> in <metadata>: of all interfaces of type='user', none of which is with passt. No element
// of libvirt's says it.
struct UserNetwork {
  int line = 0;
  bool is_restricted = false;         // the guest reaches nothing; <portForward>s lead to it all the same
  std::filesystem::path tftp_folder;  // empty: none
  std::string boot_file;              // what DHCP names for a boot, in that folder, or an URL; empty: none
  bool boots_by_url() const { return boot_file.find("://") != std::string::npos; }
};

// --- The whole ------------------------------------------------------------------------------------------

struct Domain {
  std::string file_name;  // as the user gave it, for messages
  // Of elements with mistakes in them, which have been reported: what is read of them may not be what was
  // meant. Where the domain is whole it is empty.
  std::set<int> doubtful_lines;
  std::vector<std::string> settings;  // --set: "memory=2GiB"; the line -1 is the first of them
  bool is_strict = false;             // --strict; see warn()
  std::string name;
  std::optional<std::array<uint8_t, 16>> uuid;  // in the order of its text
  std::optional<GenerationId> generation_id;
  std::string title;
  std::string description;

  uint64_t memory_bytes = 0;  // a multiple of 1 MiB, as libvirt rounds it (up)
  int memory_line = 0;
  // What the balloon is to leave to the guest: a multiple of 1 MiB, at most memory_bytes.
  uint64_t current_memory_bytes = 0;
  int current_memory_line = 0;  // 0: the file has no <currentMemory>
  MemoryBacking memory_backing;

  uint32_t vcpus = 1;
  int vcpus_line = 0;
  CpuTopology topology;  // without <topology>: a socket per vCPU, as in libvirt
  Cpu cpu;
  std::vector<uint32_t> iothread_ids;  // ascending, from 1
  CpuPins pins;

  Os os;
  Features features;
  Clock clock;
  LifecycleAction on_poweroff = LifecycleAction::kDestroy;
  LifecycleAction on_reboot = LifecycleAction::kRestart;
  LifecycleAction on_crash = LifecycleAction::kDestroy;

  std::vector<Disk> disks;  // those of a bus together, by their targets' names
  Throwaway throwaway;
  std::vector<Interface> interfaces;  // in the order of the file; no two forward one port of the host
  std::optional<UserNetwork> user_network;
  std::optional<Balloon> balloon;
  std::vector<Rng> rngs;
  std::vector<Serial> serials;  // by port
  // <console>s with <target type='virtio'>, each on a device of its own, in the order of the file, which is
  // what their ports count: Linux's hvc0, hvc1, ….
  std::vector<Serial> virtio_consoles;
  std::optional<DebugConsole> debug_console;
  std::optional<PanicDevice> panic_device;
  std::optional<Watchdog> watchdog;
  std::optional<ExitPort> exit_port;

  // "guest.xml:14" or "--set memory=2GiB", to begin a message about what stands there.
  std::string where(int line) const;
  // What the host cannot give as the file asks for it: a line of the log, or an error (kConfiguration) where
  // is_strict.
  Status warn(const std::string& text) const;
};

}  // namespace vmm::domain
