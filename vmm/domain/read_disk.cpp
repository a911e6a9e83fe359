#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>
#include <utility>
#include <vector>

#include "vmm/base/bytes.h"
#include "vmm/domain/reader.h"

namespace vmm::domain {

namespace {

// Where the format is a mistake: the one of which nothing else is refused.
constexpr ImageFormat kUnknownFormat = ImageFormat::kQcow2;
constexpr size_t kSerialBytes = 20;  // VIRTIO_BLK_ID_BYTES (virtio 1.2, section 5.2.6)

void read_policies(const ReadContext& context, const Element& driver, Disk& disk) {
  disk.write_error = read_choice(context, driver, "error_policy", disk.write_error,
                                 {{"stop", ErrorPolicy::kStop},
                                  {"report", ErrorPolicy::kReport},
                                  {"ignore", ErrorPolicy::kIgnore},
                                  {"enospace", ErrorPolicy::kEnospace}});
  // libvirt: error_policy is for reads too unless it is 'enospace', which only writes can meet.
  const bool holds_for_reads =
      driver.attribute("error_policy") != nullptr && disk.write_error != ErrorPolicy::kEnospace;
  disk.read_error = read_choice(
      context, driver, "rerror_policy", holds_for_reads ? disk.write_error : ErrorPolicy::kReport,
      {{"stop", ErrorPolicy::kStop}, {"report", ErrorPolicy::kReport}, {"ignore", ErrorPolicy::kIgnore}});
}

void read_queues(const ReadContext& context, const Element& driver, Disk& disk) {
  disk.queues = read_number(context, driver, "queues", 1, kMaxVcpus);
  disk.queue_size = read_number(context, driver, "queue_size", kMinQueueSize, kMaxQueueSize);
  if (disk.queue_size && !is_power_of_two(*disk.queue_size)) {
    const Attribute* attribute = driver.attribute("queue_size");
    context.report.error(attribute->line,
                         fmt::format("{}: give a power of two", driver.place_of(*attribute)));
  }
  disk.event_idx = read_flag(context, driver, "event_idx", true);
  disk.ioeventfd = read_flag(context, driver, "ioeventfd", true);
}

void read_iothread(const ReadContext& context, const Element& driver, const Domain& domain, Disk& disk) {
  const Attribute* attribute = driver.attribute("iothread");
  if (attribute == nullptr) {
    return;
  }
  const auto id = parse_unsigned(attribute->value);
  const auto& ids = domain.iothread_ids;
  if (!id || std::find(ids.begin(), ids.end(), *id) == ids.end()) {
    context.report.error(attribute->line, fmt::format("{}: there is no such I/O thread; <iothreads> makes {}",
                                                      driver.place_of(*attribute), ids.size()));
    return;
  }
  disk.iothread = static_cast<uint32_t>(*id);
}

// <metadata_cache><max_size unit='…'>: libvirt's unit is bytes if it is absent.
void read_metadata_cache(const ReadContext& context, const Element& driver, Disk& disk) {
  constexpr uint64_t kMaxCacheBytes = uint64_t{1} << 30U;
  const Element* cache = driver.child("metadata_cache");
  const Element* size = cache == nullptr ? nullptr : cache->child("max_size");
  if (size == nullptr || size->is_mistaken("unit")) {
    return;
  }
  if (disk.format != ImageFormat::kQcow2) {
    context.report.error(size->line,
                         fmt::format("{}: only type='qcow2' has metadata; remove it", size->place));
    return;
  }
  const Attribute* unit = size->attribute("unit");
  const auto count = parse_unsigned(size->text);
  const std::string_view name = unit == nullptr ? std::string_view() : unit->value;
  const auto bytes = count ? scaled_bytes(*count, name, "bytes") : std::nullopt;
  if (!bytes || *bytes == 0 || *bytes > kMaxCacheBytes) {
    context.report.error(size->line, fmt::format("{}: give a size from 1 byte to 1 GiB", size->place));
    return;
  }
  disk.metadata_cache_bytes = *bytes;
}

void read_driver(const ReadContext& context, const Element& driver, const Domain& domain, Disk& disk) {
  disk.format =
      read_choice(context, driver, "type", driver.is_mistaken("type") ? kUnknownFormat : ImageFormat::kRaw,
                  {{"raw", ImageFormat::kRaw}, {"qcow2", ImageFormat::kQcow2}});
  read_metadata_cache(context, driver, disk);
  disk.cache = read_choice(context, driver, "cache", CacheMode::kWriteback,
                           {{"default", CacheMode::kWriteback},
                            {"none", CacheMode::kNone},
                            {"writeback", CacheMode::kWriteback},
                            {"writethrough", CacheMode::kWritethrough},
                            {"directsync", CacheMode::kDirectsync},
                            {"unsafe", CacheMode::kUnsafe}});
  disk.io = read_choice(
      context, driver, "io", IoMode::kIoUring,
      {{"io_uring", IoMode::kIoUring}, {"threads", IoMode::kThreads}, {"native", IoMode::kIoUring}});
  disk.discard = read_choice(context, driver, "discard", DiscardMode::kIgnore,
                             {{"ignore", DiscardMode::kIgnore}, {"unmap", DiscardMode::kUnmap}});
  disk.detect_zeroes =
      read_choice(context, driver, "detect_zeroes", DetectZeroes::kOff,
                  {{"off", DetectZeroes::kOff}, {"on", DetectZeroes::kOn}, {"unmap", DetectZeroes::kUnmap}});
  // libvirt: 'unmap' without discard='unmap' is no more than 'on'.
  if (disk.detect_zeroes == DetectZeroes::kUnmap && disk.discard == DiscardMode::kIgnore) {
    disk.detect_zeroes = DetectZeroes::kOn;
  }
  read_policies(context, driver, disk);
  read_queues(context, driver, disk);
  read_iothread(context, driver, domain, disk);
}

// What a drive whose device= is a mistake seems to be.
DiskDevice likely_device(const Element& element) {
  const Element* target = element.child("target");
  const Element* source = element.child("source");
  const bool is_on_virtio =
      target != nullptr && (target->value_of("bus") == "virtio" || target->value_of("dev").starts_with("vd"));
  const bool is_like_a_disc = source == nullptr || source->attribute("startupPolicy") != nullptr ||
                              element.child("readonly") != nullptr || target == nullptr ||
                              target->attribute("tray") != nullptr;
  return is_like_a_disc && !is_on_virtio ? DiskDevice::kCdrom : DiskDevice::kDisk;
}

// What a <source> whose disk's type= is a mistake seems to be of.
DiskSource likely_type(const Element& element) {
  const Element* source = element.child("source");
  return source != nullptr && source->attribute("dev") != nullptr ? DiskSource::kBlock : DiskSource::kFile;
}

void read_source(const ReadContext& context, const Element& element, Disk& disk) {
  if (disk.device == DiskDevice::kCdrom && element.child("source") == nullptr) {
    return;  // the drive is empty
  }
  const bool is_file = disk.source_type == DiskSource::kFile;
  const std::string_view wanted = is_file ? "file" : "dev";
  const std::string_view other = is_file ? "dev" : "file";
  const Element* source = element.child("source");
  if (source == nullptr) {
    if (!element.has_refused_children) {
      context.report.error(element.line, fmt::format("{}: has no <source {}='…'/>; say where the image is",
                                                     element.place, wanted));
    }
    return;
  }
  disk.source_line = source->line;
  if (const Attribute* misplaced = source->attribute(other)) {
    context.report.error(misplaced->line,
                         fmt::format("{}: the disk is of type='{}'; use {}=", source->place_of(*misplaced),
                                     is_file ? "file" : "block", wanted));
    return;
  }
  if (source->value_of(wanted).empty()) {
    // libvirt: a CD-ROM drive is empty then.
    if (!source->is_mistaken(wanted) && disk.device != DiskDevice::kCdrom) {
      context.report.error(source->line,
                           fmt::format("{}: has no {}='…'; say where the image is", source->place, wanted));
    }
    return;
  }
  disk.source = context.complete(*source, source->value_of(wanted));
  const Attribute* policy = source->attribute("startupPolicy");
  disk.source_is_optional = policy != nullptr && policy->value == "optional";
  if (disk.source_is_optional && disk.device != DiskDevice::kCdrom) {
    context.report.error(policy->line,
                         fmt::format("{}: only a CD-ROM drive is there without its file; remove it",
                                     source->place_of(*policy)));
  }
}

// The image names the file too; only what is named here is opened.
void read_data_store(const ReadContext& context, const Element& element, Disk& disk) {
  const Element* image = element.child("source");
  const Element* store = image == nullptr ? nullptr : image->child("dataStore");
  if (store == nullptr) {
    return;
  }
  if (disk.format != ImageFormat::kQcow2) {
    context.report.error(
        store->line,
        fmt::format("{}: only images of type='qcow2' have their data elsewhere; remove it", store->place));
    return;
  }
  const bool is_block = store->value_of("type") == "block";
  const std::string_view wanted = is_block ? "dev" : "file";
  const Element* source = store->child("source");
  if (store->is_mistaken("type") || store->has_refused_children ||
      (source != nullptr && source->is_mistaken(wanted))) {
    return;
  }
  if (source == nullptr || source->value_of(wanted).empty()) {
    context.report.error(store->line, fmt::format("{}: has no <source {}='…'/>; say where the data are",
                                                  store->place, wanted));
    return;
  }
  disk.data_file = context.complete(*source, source->value_of(wanted));
  disk.data_file_type = is_block ? DiskSource::kBlock : DiskSource::kFile;
}

BackingStore read_backing_store(const ReadContext& context, const Element& element) {
  BackingStore store;
  store.source_type = read_choice(context, element, "type", DiskSource::kFile,
                                  {{"file", DiskSource::kFile}, {"block", DiskSource::kBlock}});
  const Element* format = element.child("format");
  if (format != nullptr && format->attribute("type") != nullptr) {
    store.format = read_choice(context, *format, "type", ImageFormat::kRaw,
                               {{"raw", ImageFormat::kRaw}, {"qcow2", ImageFormat::kQcow2}});
  } else if (!element.has_refused_children && (format == nullptr || format->lacks("type"))) {
    context.report.error(element.line,
                         fmt::format("{}: has no <format type='…'/>; say 'raw' or 'qcow2'", element.place));
  }
  const Element* source = element.child("source");
  if (source == nullptr) {
    return store;
  }
  const std::string_view wanted = store.source_type == DiskSource::kFile ? "file" : "dev";
  if (source->is_mistaken(wanted)) {
    return store;
  }
  if (source->value_of(wanted).empty()) {
    context.report.error(source->line, fmt::format("{}: has no {}=; say where it is", source->place, wanted));
  } else {
    store.source = context.complete(*source, source->value_of(wanted));
  }
  return store;
}

// An empty one ends the chain; one that has no other in it says nothing about what follows.
void read_backing_stores(const ReadContext& context, const Element& disk_element, Disk& disk) {
  for (const Element* element = disk_element.child("backingStore"); element != nullptr;
       element = element->child("backingStore")) {
    if (element->children.empty() && element->attribute("type") == nullptr &&
        !element->has_refused_children) {
      disk.backing_ends = true;
      return;
    }
    if (disk.format != ImageFormat::kQcow2) {
      context.report.error(
          element->line,
          fmt::format("{}: only images of type='qcow2' stand on another; remove it", element->place));
      return;
    }
    disk.backing_stores.push_back(read_backing_store(context, *element));
  }
}

// In <source>, or where libvirt had it before.
void read_encryption(const ReadContext& context, const Element& element, Disk& disk) {
  const Element* source = element.child("source");
  const Element* encryption = source == nullptr ? nullptr : source->child("encryption");
  encryption = encryption == nullptr ? element.child("encryption") : encryption;
  if (encryption == nullptr) {
    return;
  }
  if (disk.format != ImageFormat::kQcow2) {
    context.report.error(encryption->line, fmt::format("{}: only images of type='qcow2' are decrypted here",
                                                       encryption->place));
    return;
  }
  const Element* secret = encryption->child("secret");
  const Attribute* uuid = secret == nullptr ? nullptr : secret->attribute("uuid");
  const Attribute* name = secret == nullptr || uuid != nullptr ? uuid : secret->attribute("usage");
  const bool is_unsure = secret == nullptr ? encryption->has_refused_children || !encryption->mistaken.empty()
                                           : secret->is_mistaken("uuid") || secret->is_mistaken("usage");
  if (name == nullptr && is_unsure) {
    return;
  }
  if (name == nullptr || name->value.empty()) {
    context.report.error(
        encryption->line,
        fmt::format("{}: has no <secret type='passphrase' uuid='…'/> (or usage='…')", encryption->place));
    return;
  }
  disk.secret = name->value;
}

// "vda", "vdaa": the name, and which bus it speaks of, matter; the guest names its disks itself. The
// beginnings are those of libvirt's schema.
bool is_device_name(std::string_view name) {
  constexpr size_t kLongestName = 8;
  constexpr std::array<std::string_view, 6> kBeginnings = {"vd", "hd", "sd", "fd", "xvd", "ubd"};
  const bool begins_well = std::ranges::any_of(kBeginnings, [name](std::string_view beginning) {
    return name.starts_with(beginning) && name.size() > beginning.size();
  });
  return begins_well && name.size() <= kLongestName &&
         std::all_of(name.begin(), name.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

// libvirt guesses the bus from the name where there is none; only two of its guesses are buses that vmm has.
void read_bus(const ReadContext& context, const Element& target, const Attribute& dev, Disk& disk) {
  const bool is_cdrom = disk.device == DiskDevice::kCdrom;
  const bool is_named = target.attribute("bus") != nullptr;
  disk.bus =
      read_choice(context, target, "bus", disk.target.starts_with("hd") ? DiskBus::kIde : DiskBus::kVirtio,
                  {{"virtio", DiskBus::kVirtio}, {"ide", DiskBus::kIde}, {"sata", DiskBus::kIde}});
  if (!is_named && disk.bus == DiskBus::kVirtio && !disk.target.starts_with("vd")) {
    context.report.error(
        dev.line, fmt::format("{}: means a bus that vmm does not have; add bus={}", target.place_of(dev),
                              is_cdrom ? "'ide'" : "'virtio' or 'ide'"));
  } else if (disk.bus == DiskBus::kVirtio && is_cdrom) {
    context.report.error(target.line,
                         fmt::format("{}: CD-ROM drives are on IDE; use dev='hdc' bus='ide'", target.place));
  }
}

// What does not go together with the bus.
void check_ide_disk(const ReadContext& context, const Element& element, const Disk& disk) {
  if (disk.device == DiskDevice::kDisk && disk.read_only) {
    context.report.error(element.line, fmt::format("{}: IDE disks cannot be <readonly/>; use bus='virtio' or "
                                                   "device='cdrom'",
                                                   element.place));
  }
  const Element* driver = element.child("driver");
  for (const std::string_view name : {"queues", "queue_size", "event_idx", "ioeventfd"}) {
    if (const Attribute* found = driver == nullptr ? nullptr : driver->attribute(name)) {
      context.report.error(found->line,
                           fmt::format("{}: is for virtio disks; remove it", driver->place_of(*found)));
    }
  }
}

// Whether the disk's bus is known then.
bool read_target(const ReadContext& context, const Element& element, Disk& disk) {
  const Element* target = element.child("target");
  if (target == nullptr) {
    if (!element.has_refused_children) {
      context.report.error(element.line,
                           fmt::format("{}: has no <target dev='…'/>; name it vda, vdb, …", element.place));
    }
    return false;
  }
  const Attribute* dev = target->attribute("dev");
  if (dev == nullptr && target->is_mistaken("dev")) {
    return false;
  }
  if (dev == nullptr || !is_device_name(dev->value)) {
    context.report.error(target->line, fmt::format("{}: give dev= a name such as 'vda'", target->place));
    return false;
  }
  disk.target = dev->value;
  const bool bus_is_known = !target->is_mistaken("bus");
  if (bus_is_known) {
    read_bus(context, *target, *dev, disk);
  }
  const Attribute* tray = target->attribute("tray");
  disk.tray_is_open = tray != nullptr && tray->value == "open";
  if (disk.tray_is_open && disk.device != DiskDevice::kCdrom) {
    context.report.error(
        tray->line, fmt::format("{}: only CD-ROM drives have a tray; remove it", target->place_of(*tray)));
  }
  return bus_is_known;
}

// libvirt's documentation: 1, which no motor has, or from 1025.
void read_rotation_rate(const ReadContext& context, const Element& element, bool bus_is_known, Disk& disk) {
  constexpr uint32_t kSlowest = 1025;
  constexpr uint32_t kFastest = 65534;
  const Element* target = element.child("target");
  const Attribute* rate = target == nullptr ? nullptr : target->attribute("rotation_rate");
  if (rate == nullptr) {
    return;
  }
  const auto value = parse_unsigned(rate->value);
  if (!value || (*value != 1 && (*value < kSlowest || *value > kFastest))) {
    context.report.error(rate->line, fmt::format("{}: give 1, which says that nothing turns, or {} to {}",
                                                 target->place_of(*rate), kSlowest, kFastest));
  } else if (bus_is_known && (disk.bus != DiskBus::kIde || disk.device == DiskDevice::kCdrom)) {
    context.report.error(rate->line, fmt::format("{}: is for IDE disks; remove it", target->place_of(*rate)));
  } else {
    disk.rotation_rate = static_cast<uint16_t>(*value);
  }
}

void read_serial_number(const ReadContext& context, const Element& element, Disk& disk) {
  const Element* serial = element.child("serial");
  if (serial == nullptr) {
    return;
  }
  disk.serial = serial->text;
  const bool is_plain =
      std::all_of(disk.serial.begin(), disk.serial.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
  if (!is_plain) {
    context.report.error(serial->line,
                         fmt::format("{}: give printable ASCII characters only", serial->place));
  } else if (disk.serial.size() > kSerialBytes) {
    context.report.warning(serial->line,
                           fmt::format("{}: longer than the {} bytes that virtio disks carry; the guest "
                                       "sees '{}'",
                                       serial->place, kSerialBytes, disk.serial.substr(0, kSerialBytes)));
    disk.serial.resize(kSerialBytes);
  }
}

// libvirt's schema: 16 hexadecimal digits, "0x" before them or not.
void read_world_wide_name(const ReadContext& context, const Element& element, bool bus_is_known, Disk& disk) {
  constexpr size_t kDigits = 16;
  const Element* name = element.child("wwn");
  if (name == nullptr) {
    return;
  }
  if (bus_is_known && disk.bus == DiskBus::kVirtio) {
    context.report.error(name->line, fmt::format("{}: virtio disks have no world wide name; use <serial>, or "
                                                 "bus='ide'",
                                                 name->place));
    return;
  }
  std::string_view digits = name->text;
  digits.remove_prefix(digits.starts_with("0x") ? 2 : 0);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (digits.size() != kDigits || error != std::errc() || end != digits.data() + digits.size()) {
    context.report.error(name->line, fmt::format("{}: give 16 hexadecimal digits", name->place));
    return;
  }
  disk.world_wide_name = value;
}

uint32_t read_part_of_geometry(const ReadContext& context, const Element& geometry, std::string_view name,
                               uint32_t most) {
  if (geometry.lacks(name)) {
    context.report.error(geometry.line,
                         fmt::format("{}: has no {}=; give cyls=, heads= and secs=", geometry.place, name));
  }
  return read_number(context, geometry, name, 1, most).value_or(1);
}

void read_geometry(const ReadContext& context, const Element& element, bool bus_is_known, Disk& disk) {
  const Element* geometry = element.child("geometry");
  if (geometry == nullptr) {
    return;
  }
  if (disk.device == DiskDevice::kCdrom) {
    context.report.error(geometry->line,
                         fmt::format("{}: CD-ROM drives have no cylinders; remove it", geometry->place));
    return;
  }
  const bool is_ide = bus_is_known && disk.bus == DiskBus::kIde;
  const Attribute* translation = geometry->attribute("trans");
  if (translation != nullptr && bus_is_known && !is_ide) {
    context.report.error(translation->line,
                         fmt::format("{}: is for IDE disks; remove it", geometry->place_of(*translation)));
  }
  DiskGeometry& values = disk.geometry.emplace();
  values.cylinders = read_part_of_geometry(context, *geometry, "cyls", 65535);
  values.heads = read_part_of_geometry(context, *geometry, "heads", is_ide ? 16 : 255);
  values.sectors_per_track = read_part_of_geometry(context, *geometry, "secs", 255);
  values.translation = read_choice(
      context, *geometry, "trans", ChsTranslation::kAuto,
      {{"auto", ChsTranslation::kAuto}, {"none", ChsTranslation::kNone}, {"lba", ChsTranslation::kLba}});
}

uint32_t read_block_size(const ReadContext& context, const Element& blockio, std::string_view name) {
  const auto bytes = read_number(context, blockio, name, 0, 32768);
  if (bytes && *bytes != 0 && (*bytes < 512 || !is_power_of_two(*bytes))) {
    const Attribute* attribute = blockio.attribute(name);
    context.report.error(attribute->line, fmt::format("{}: give a power of two from 512 to 32768",
                                                      blockio.place_of(*attribute)));
    return 0;
  }
  return bytes.value_or(0);
}

void read_blockio(const ReadContext& context, const Element& element, Disk& disk) {
  const Element* blockio = element.child("blockio");
  if (blockio == nullptr) {
    return;
  }
  disk.logical_block_bytes = read_block_size(context, *blockio, "logical_block_size");
  disk.physical_block_bytes = read_block_size(context, *blockio, "physical_block_size");
  if (disk.physical_block_bytes != 0 && disk.physical_block_bytes < disk.logical_block_bytes) {
    context.report.error(
        blockio->line, fmt::format("{}: the physical block is smaller than the logical one", blockio->place));
  }
}

// IDE has sectors of 512 bytes. A CD-ROM drive has its own blocks, and what else the file may say is nothing
// that the image must fit.
void check_ide_blocks(const ReadContext& context, const Element& element, Disk& disk) {
  constexpr uint32_t kDiscBlockBytes = 2048;
  const bool is_cdrom = disk.device == DiskDevice::kCdrom;
  if (disk.logical_block_bytes > 512 && (!is_cdrom || disk.logical_block_bytes != kDiscBlockBytes)) {
    context.report.error(
        element.line, is_cdrom
                          ? fmt::format("{}: CD-ROM drives have logical blocks of 2048 bytes", element.place)
                          : fmt::format("{}: IDE disks have logical blocks of 512 bytes", element.place));
  }
  if (is_cdrom) {
    disk.logical_block_bytes = 0;
    disk.physical_block_bytes = 0;
  }
}

void read_transient(const ReadContext& context, const Element& element, Disk& disk) {
  const Element* transient = element.child("transient");
  if (transient == nullptr || disk.read_only) {
    return;  // nothing is written
  }
  disk.transient = true;
  if (disk.shareable) {
    context.report.error(transient->line,
                         fmt::format("{}: what others write to a <shareable/> disk cannot be thrown away; "
                                     "remove one of them",
                                     transient->place));
  }
}

Disk read_disk(const ReadContext& context, const Element& element, const Domain& domain) {
  Disk disk;
  disk.line = element.line;
  disk.source_type = read_choice(context, element, "type",
                                 element.is_mistaken("type") ? likely_type(element) : DiskSource::kFile,
                                 {{"file", DiskSource::kFile}, {"block", DiskSource::kBlock}});
  disk.device = read_choice(context, element, "device",
                            element.is_mistaken("device") ? likely_device(element) : DiskDevice::kDisk,
                            {{"disk", DiskDevice::kDisk}, {"cdrom", DiskDevice::kCdrom}});
  if (const Element* driver = element.child("driver")) {
    read_driver(context, *driver, domain, disk);
  } else if (element.has_refused_children) {
    disk.format = kUnknownFormat;
  }
  read_source(context, element, disk);
  read_data_store(context, element, disk);
  read_backing_stores(context, element, disk);
  read_encryption(context, element, disk);
  const bool bus_is_known = read_target(context, element, disk);
  read_rotation_rate(context, element, bus_is_known, disk);
  read_serial_number(context, element, disk);
  read_world_wide_name(context, element, bus_is_known, disk);
  read_geometry(context, element, bus_is_known, disk);
  read_blockio(context, element, disk);
  disk.iotune = read_iotune(context, element);
  disk.read_only = disk.device == DiskDevice::kCdrom || element.child("readonly") != nullptr;
  if (bus_is_known && disk.bus == DiskBus::kIde) {
    if (!element.is_mistaken("device")) {
      check_ide_blocks(context, element, disk);
      check_ide_disk(context, element, disk);
    }
  } else if (bus_is_known) {
    disk.address = read_virtio_address(context, element, domain.os.machine);
  }
  disk.shareable = element.child("shareable") != nullptr;
  read_transient(context, element, disk);
  disk.boot_order = read_boot_order(context, element);
  disk.alias = alias_of(element);
  return disk;
}

// "vda" is 0, "hdz" 25, "vdaa" 26.
uint64_t index_of_name(std::string_view target) {
  constexpr std::array<std::string_view, 2> kLongBeginnings = {"xvd", "ubd"};
  const bool is_long = std::ranges::any_of(
      kLongBeginnings, [target](std::string_view beginning) { return target.starts_with(beginning); });
  uint64_t index = 0;
  for (const char letter : target.substr(std::min<size_t>(target.size(), is_long ? 3 : 2))) {
    index = index * 26 + static_cast<uint64_t>(letter - 'a') + 1;
  }
  return index == 0 ? 0 : index - 1;
}

struct ReadDisk {
  Disk disk;
  const Element* element = nullptr;
};

// As libvirt: the disks of a bus stand together, by their names, whatever their order in the file. What is
// booted first goes by it, and where each stands on PCI, and so what the guest calls it.
void sort_disks(std::vector<ReadDisk>& disks) {
  const DiskBus first_bus = disks.empty() ? DiskBus::kVirtio : disks.front().disk.bus;
  std::ranges::stable_sort(disks, {}, [first_bus](const ReadDisk& each) {
    return std::pair(each.disk.bus != first_bus, index_of_name(each.disk.target));
  });
}

}  // namespace

void read_disks(const ReadContext& context, const Element& devices, Domain& domain) {
  const bool is_microvm = domain.os.machine == MachineType::kMicrovm;
  const uint32_t most = is_microvm ? kMaxMicrovmDisks : kMaxPcDisks;
  uint32_t virtio_disks = 0;
  std::vector<ReadDisk> disks;
  for (const Element& each : devices.children) {
    if (each.name != "disk") {
      continue;
    }
    Disk disk = read_disk(context, each, domain);
    const Element* target = each.child("target");
    const bool is_virtio = disk.bus == DiskBus::kVirtio && (target == nullptr || !target->is_mistaken("bus"));
    if (is_virtio && virtio_disks++ == most) {
      context.report.error(each.line,
                           fmt::format("{}: more than {} virtio disks; machine='{}' has no place for it",
                                       each.place, most, is_microvm ? "microvm" : "pc"));
    }
    disks.push_back({std::move(disk), &each});
  }
  sort_disks(disks);
  std::vector<const Element*> elements;
  for (ReadDisk& each : disks) {
    domain.disks.push_back(std::move(each.disk));
    elements.push_back(each.element);
  }
  place_ide_drives(context, elements, domain);
}

}  // namespace vmm::domain
