#include "block/tool/image_info.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <utility>

#include "block/backing_name.h"
#include "block/crypto/luks_header.h"
#include "block/image_file.h"
#include "block/image_mark.h"
#include "block/iso/iso_info.h"
#include "block/qcow1/header.h"
#include "block/qcow2/bitmaps.h"
#include "block/qcow2/image.h"
#include "block/qcow2/snapshot_table.h"
#include "block/sync_file.h"
#include "vmm/base/bytes.h"
#include "vmm/base/printable.h"

namespace vmm::block::tool {
namespace {

using Tree = nlohmann::ordered_json;

struct Source {
  SyncFile& file;
  uint64_t size_bytes = 0;
  ImageInfo info;
};

Result<std::string> recognise(Source& source) {
  constexpr uint64_t kIsoMagicAt = 32769;
  std::array<std::byte, 8> start{};
  VMM_TRY(source.file.read(FileOffset(0), start));
  if (qcow1::has_magic(start)) {
    return "qcow";
  }
  if (load_be<uint32_t>(start.data()) == qcow2::kMagic) {
    return "qcow2";
  }
  std::array<std::byte, 5> iso{};
  VMM_TRY(source.file.read(FileOffset(kIsoMagicAt), iso));
  return std::ranges::equal(iso, as_bytes("CD001")) || std::ranges::equal(iso, as_bytes("BEA01")) ? "iso"
                                                                                                  : "raw";
}

void add_backing(Source& source, const std::string& name, const std::optional<std::string>& format) {
  Tree& tree = source.info.tree;
  tree["backing-filename"] = name;
  if (format) {
    tree["backing-filename-format"] = *format;
  }
  const auto backing = parse_backing_name(name, source.file.path());
  if (!backing) {
    source.info.backing_error = backing.error();
  }
  source.info.backing_path = backing ? backing->path : name;
  source.info.backing_format = backing && backing->format ? backing->format : format;
  tree["full-backing-filename"] = *source.info.backing_path;
}

Status add_qcow1(Source& source) {
  VMM_ASSIGN_OR_RETURN(const qcow1::Header header, qcow1::read_header(source.file));
  Tree& tree = source.info.tree;
  tree["virtual-size"] = header.size_bytes;
  tree["cluster-size"] = header.cluster_bytes();
  if (header.is_encrypted) {
    tree["encrypted"] = true;
  }
  if (header.backing_file) {
    add_backing(source, *header.backing_file, std::nullopt);
  }
  return {};
}

Tree luks_slots(const LuksHeader& header) {
  Tree slots = Tree::array();
  for (const LuksKeySlot& slot : header.slots) {
    Tree entry = {{"active", slot.is_active}};
    if (slot.is_active) {
      entry["iters"] = slot.iterations;
    }
    entry["key-offset"] = slot.key_material_sector * kLuksSectorBytes;
    if (slot.is_active) {
      entry["stripes"] = kLuksStripes;
    }
    slots.push_back(std::move(entry));
  }
  return slots;
}

Result<Tree> luks_tree(Source& source, const qcow2::CryptoHeader& place) {
  std::array<std::byte, kLuksHeaderBytes> bytes{};
  VMM_TRY(source.file.read(FileOffset(place.offset), bytes));
  const auto header = parse_luks_header(bytes);
  if (!header) {
    return std::unexpected(header.error().within(source.file.path()));
  }
  const std::string mode = luks_cipher_mode(header->cipher);
  const std::string iv = mode.find('-') == std::string::npos ? "" : mode.substr(mode.find('-') + 1);
  Tree tree = {{"ivgen-alg", iv.substr(0, iv.find(':'))}};
  tree["hash-alg"] = hash_name(header->hash);
  tree["cipher-alg"] =
      fmt::format("{}-{}", luks_cipher_name(header->cipher), single_key_bytes(header->cipher) * 8);
  tree["uuid"] = header->uuid;
  if (header->cipher.iv == IvGenerator::kEssiv) {
    tree["ivgen-hash-alg"] = hash_name(header->cipher.iv_hash);
  }
  tree["format"] = "luks";
  tree["cipher-mode"] = mode.substr(0, mode.find('-'));
  tree["slots"] = luks_slots(*header);
  tree["payload-offset"] = header->payload_offset_bytes();
  tree["master-key-iters"] = header->key_digest_iterations;
  return tree;
}

Result<Tree> bitmaps_tree(Source& source, const qcow2::Header& header) {
  Tree list = Tree::array();
  VMM_TRY(qcow2::visit_bitmaps(source.file, header, [&list](const qcow2::Bitmap& bitmap) -> Status {
    Tree flags = Tree::array();
    if ((bitmap.flags & qcow2::kBitmapInUse) != 0) {
      flags.push_back("in-use");
    }
    if ((bitmap.flags & qcow2::kBitmapAuto) != 0) {
      flags.push_back("auto");
    }
    list.push_back({{"flags", std::move(flags)},
                    {"name", bitmap.name},
                    {"granularity", uint64_t{1} << bitmap.granularity_bits}});
    return {};
  }));
  return list;
}

Result<Tree> qcow2_specific(Source& source, const qcow2::Header& header) {
  const bool is_new = header.version >= 3;
  Tree data = {{"compat", is_new ? "1.1" : "0.10"}};
  data["compression-type"] = header.compression == qcow2::CompressionType::kZstd ? "zstd" : "zlib";
  if (is_new) {
    data["lazy-refcounts"] = (header.compatible & qcow2::kCompatibleLazyRefcounts) != 0;
  }
  if (header.bitmaps) {
    VMM_ASSIGN_OR_RETURN(data["bitmaps"], bitmaps_tree(source, header));
  }
  data["refcount-bits"] = 1U << header.refcount_order;
  if (header.crypt == qcow2::CryptMethod::kAes) {
    data["encrypt"] = {{"format", "aes"}};
  } else if (header.crypto_header) {
    VMM_ASSIGN_OR_RETURN(data["encrypt"], luks_tree(source, *header.crypto_header));
  }
  if (header.has(qcow2::kIncompatibleDataFile)) {
    if (!header.data_file.empty()) {
      data["data-file"] = header.data_file;
    }
    data["data-file-raw"] = (header.autoclear & qcow2::kAutoclearRawDataFile) != 0;
  }
  if (is_new) {
    data["corrupt"] = header.has(qcow2::kIncompatibleCorrupt);
    data["extended-l2"] = header.has(qcow2::kIncompatibleExtendedL2);
  }
  return data;
}

Result<Tree> snapshots_tree(Source& source, const qcow2::Header& header) {
  constexpr uint64_t kNanoseconds = 1'000'000'000;
  VMM_ASSIGN_OR_RETURN(const qcow2::SnapshotTable table, qcow2::read_snapshot_table(source.file, header));
  Tree list = Tree::array();
  for (const qcow2::Snapshot& snapshot : table.snapshots) {
    Tree entry;
    // The specification's "icount": what follows the fields that are always there. All ones: none.
    if (const auto icount = read_be_at<uint64_t>(snapshot.more_extra, 0); icount && *icount != UINT64_MAX) {
      entry["icount"] = *icount;
    }
    entry["vm-clock-nsec"] = snapshot.guest_nanoseconds % kNanoseconds;
    entry["name"] = snapshot.name;
    entry["date-sec"] = snapshot.date_seconds;
    entry["date-nsec"] = snapshot.date_nanoseconds;
    entry["vm-clock-sec"] = snapshot.guest_nanoseconds / kNanoseconds;
    entry["id"] = snapshot.id;
    entry["vm-state-size"] = snapshot.vm_state_bytes;
    list.push_back(std::move(entry));
  }
  return list;
}

Status add_qcow2(Source& source) {
  VMM_ASSIGN_OR_RETURN(const qcow2::Header header, qcow2::read_header(source.file));
  Tree& tree = source.info.tree;
  if (header.snapshot_count > 0) {
    VMM_ASSIGN_OR_RETURN(tree["snapshots"], snapshots_tree(source, header));
  }
  tree["virtual-size"] = header.size_bytes;
  tree["cluster-size"] = header.cluster_bytes();
  if (header.crypt != qcow2::CryptMethod::kNone) {
    tree["encrypted"] = true;
  }
  tree["dirty-flag"] = header.has(qcow2::kIncompatibleDirty);
  if (header.has_backing_file()) {
    add_backing(source, header.backing_file, header.backing_format);
  }
  VMM_ASSIGN_OR_RETURN(Tree data, qcow2_specific(source, header));
  tree["format-specific"] = {{"type", "qcow2"}, {"data", std::move(data)}};
  return {};
}

Tree boot_tree(const IsoBootCatalogue& boot) {
  Tree tree = {{"catalogue-block", boot.block}};
  if (!boot.problem.empty()) {
    tree["problem"] = boot.problem;
  }
  tree["entries"] = Tree::array();
  for (const IsoBootEntry& entry : boot.entries) {
    tree["entries"].push_back({{"platform", boot_platform_name(entry.platform)},
                               {"bootable", entry.is_bootable},
                               {"emulation", boot_emulation_name(entry.emulation)},
                               {"load-segment", entry.load_segment},
                               {"sector-count", entry.sector_count},
                               {"block", entry.block},
                               {"in-image", entry.lies_in_image}});
  }
  return tree;
}

Status add_iso(Source& source) {
  VMM_ASSIGN_OR_RETURN(const IsoInfo iso, read_iso_info(source.file));
  source.info.tree["virtual-size"] = source.size_bytes;
  Tree data = Tree::object();
  if (iso.volume_bytes) {
    data["volume-id"] = iso.volume_id;
    data["volume-size"] = *iso.volume_bytes;
  }
  data["iso9660"] = iso.volume_bytes.has_value();
  if (iso.joliet_volume_id) {
    data["joliet-volume-id"] = *iso.joliet_volume_id;
  }
  data["joliet"] = iso.joliet_volume_id.has_value();
  data["rock-ridge"] = iso.has_rock_ridge;
  data["udf"] = !iso.udf_version.empty();
  data["isohybrid-mbr"] = iso.has_mbr;
  data["isohybrid-gpt"] = iso.has_gpt;
  if (iso.boot) {
    data["el-torito"] = boot_tree(*iso.boot);
  }
  source.info.tree["format-specific"] = {{"type", "iso"}, {"data", std::move(data)}};
  return {};
}

Status add_format(Source& source, const std::string& format) {
  source.info.tree["format"] = format;
  if (format == "qcow2") {
    return add_qcow2(source);
  }
  if (format == "qcow") {
    return add_qcow1(source);
  }
  if (format == "iso") {
    return add_iso(source);
  }
  if (format == "raw" || format == "file" || format == "host_device") {
    source.info.tree["format"] = "raw";
    source.info.tree["virtual-size"] = source.size_bytes;
    return {};
  }
  return fail_configuration("{}: the format '{}' is not known here; raw, iso, qcow and qcow2 are",
                            source.file.path(), printable(format));
}

}  // namespace

Result<ImageInfo> image_info(const std::string& path, const std::optional<std::string>& format,
                             bool is_shared) {
  VMM_ASSIGN_OR_RETURN(
      const ImageFile image,
      open_image_file({.path = path, .read_only = true, .shareable = is_shared, .for_guest = false}));
  const auto sync = make_sync_file(image.files.main, path);
  Source source{.file = *sync, .size_bytes = image.size_bytes, .info = {}};
  source.info.tree["filename"] = path;
  std::string name;
  if (format) {
    name = *format;
  } else {
    VMM_ASSIGN_OR_RETURN(name, recognise(source));
    source.info.is_recognised = true;
  }
  VMM_TRY(add_format(source, name));
  if (const auto newer = mark_of(path, ImageMark::kNewer)) {
    source.info.tree["newer-image"] = *newer;
  }
  if (const auto merged = mark_of(path, ImageMark::kMerging)) {
    source.info.tree["unfinished-commit-of"] = *merged;
  }
  struct stat status{};
  if (::fstat(image.files.main.fd.get(), &status) == 0) {
    source.info.tree["actual-size"] = static_cast<uint64_t>(status.st_blocks) * 512;
  }
  if (!source.info.tree.contains("dirty-flag")) {
    source.info.tree["dirty-flag"] = false;
  }
  return std::move(source.info);
}

}  // namespace vmm::block::tool
