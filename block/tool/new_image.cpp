#include "block/tool/new_image.h"

#include <bit>
#include <filesystem>
#include <system_error>
#include <utility>

#include "block/backing_name.h"
#include "block/image_file.h"
#include "block/sync_file.h"
#include "block/tool/encrypt_options.h"
#include "block/tool/text.h"
#include "vmm/base/bytes.h"

namespace vmm::block::tool {
Result<qcow2::Preallocation> take_preallocation(CreateWords& words, Format format) {
  const std::string word = words.take("preallocation").value_or("off");
  if (word == "off") {
    return qcow2::Preallocation::kOff;
  }
  if (word == "metadata" && format == Format::kQcow2) {
    return qcow2::Preallocation::kMetadata;
  }
  if (word == "falloc") {
    return qcow2::Preallocation::kFalloc;
  }
  if (word == "full") {
    return qcow2::Preallocation::kFull;
  }
  return fail_configuration("-o preallocation={}: off, {}falloc and full can be", word,
                            format == Format::kQcow2 ? "metadata, " : "");
}

namespace {

Result<uint32_t> take_power_of_two(CreateWords& words, const std::string& name, uint64_t otherwise,
                                   uint64_t least, uint64_t most) {
  VMM_ASSIGN_OR_RETURN(const std::optional<uint64_t> word, words.take_size(name));
  const uint64_t value = word.value_or(otherwise);
  if (!std::has_single_bit(value) || value < least || value > most) {
    return fail_configuration("-o {}: a power of two from {} to {} can be", name, least, most);
  }
  return static_cast<uint32_t>(std::countr_zero(value));
}

// A raw data file holds the whole disk in its order, whatever the tables say: they are complete from the
// start.
Status take_data_file(CreateWords& words, ImagePlan& plan, qcow2::CreateOptions& create,
                      const std::string& path) {
  create.data_file = words.take("data_file").value_or("");
  VMM_ASSIGN_OR_RETURN(create.data_file_raw, words.take_flag("data_file_raw", false));
  if (create.data_file_raw && plan.preallocation == qcow2::Preallocation::kOff) {
    plan.preallocation = qcow2::Preallocation::kMetadata;
  }
  if (create.data_file.empty()) {
    return {};
  }
  VMM_ASSIGN_OR_RETURN(const BackingName name, parse_backing_name(create.data_file, path));
  plan.data_path = name.path;
  std::error_code error;
  if (std::filesystem::weakly_canonical(plan.data_path, error) ==
      std::filesystem::weakly_canonical(path, error)) {
    return fail_configuration("{}: an image cannot be its own data file; give that another name", path);
  }
  return {};
}

Status fill_data_file(const ImagePlan& plan, const std::string& path) {
  VMM_ASSIGN_OR_RETURN(const ImageFile data, open_image_file({.path = path, .for_guest = false}));
  const auto sync = make_sync_file(data.files.main, path);
  if (data.files.main.is_block_device && data.size_bytes < plan.size_bytes) {
    return fail("{}: the block device has {} bytes, fewer than the {} of the disk", path, data.size_bytes,
                plan.size_bytes);
  }
  VMM_TRY(sync->resize(plan.size_bytes));
  const bool is_full = plan.preallocation == qcow2::Preallocation::kFull;
  return is_full || plan.preallocation == qcow2::Preallocation::kFalloc
             ? sync->allocate(FileOffset(0), plan.size_bytes, is_full)
             : Status();
}

}  // namespace

Result<qcow2::CreateOptions> take_table_words(CreateWords& words) {
  qcow2::CreateOptions create;
  const std::string compat = words.take("compat").value_or("1.1");
  if (compat != "1.1" && compat != "v3" && compat != "0.10" && compat != "v2") {
    return fail_configuration("-o compat={}: 0.10 (v2) and 1.1 (v3) can be", compat);
  }
  create.version = compat == "1.1" || compat == "v3" ? 3 : 2;
  VMM_ASSIGN_OR_RETURN(create.lazy_refcounts, words.take_flag("lazy_refcounts", false));
  VMM_ASSIGN_OR_RETURN(create.extended_l2, words.take_flag("extended_l2", false));
  VMM_ASSIGN_OR_RETURN(create.cluster_bits,
                       take_power_of_two(words, "cluster_size", 65536, uint64_t{1} << qcow2::kMinClusterBits,
                                         uint64_t{2} << 20U));
  VMM_ASSIGN_OR_RETURN(create.refcount_order, take_power_of_two(words, "refcount_bits", 16, 1, 64));
  const std::string compression = words.take("compression_type").value_or("zlib");
  if (compression != "zlib" && compression != "zstd") {
    return fail_configuration("-o compression_type={}: zlib and zstd can be", compression);
  }
  create.compression = compression == "zstd" ? qcow2::CompressionType::kZstd : qcow2::CompressionType::kZlib;
  return create;
}

namespace {

Result<qcow2::CreateOptions> qcow2_options(const NewImageOptions& options, CreateWords& words) {
  VMM_ASSIGN_OR_RETURN(qcow2::CreateOptions create, take_table_words(words));
  create.backing_file = options.backing_file;
  if (!options.backing_format.empty()) {
    create.backing_format = options.backing_format;
  }
  VMM_ASSIGN_OR_RETURN(NewEncryption encryption, make_encryption(words, options.chain.secrets()));
  create.crypt = encryption.method;
  create.crypto_header = std::move(encryption.header);
  return create;
}

}  // namespace

uint64_t ImagePlan::unit_bytes() const {
  if (!qcow2) {
    return kPageBytes;
  }
  const uint32_t bits = qcow2->extended_l2 ? qcow2->cluster_bits - 5 : qcow2->cluster_bits;
  return uint64_t{1} << bits;
}

Result<Format> new_format(const NewImageOptions& options) {
  VMM_ASSIGN_OR_RETURN(const Format format, disk_format(options.format));
  if (format != Format::kRaw && format != Format::kQcow2) {
    return fail_configuration("{}: images of the format {} are only read here; make a raw or a qcow2 one",
                              options.path, options.format);
  }
  if (format == Format::kRaw && !options.backing_file.empty()) {
    return fail_configuration("{}: a raw image stands on nothing; a qcow2 image can", options.path);
  }
  if (!options.backing_file.empty()) {
    VMM_TRY(check_backing_format(options.path, options.backing_format));
  }
  return format;
}

Status check_backing_format(const std::string& path, const std::string& format) {
  if (format.empty()) {
    return fail_configuration(
        "{}: -F must tell the format of the backing file, which is never guessed; add -F qcow2 or -F raw",
        path);
  }
  return format == "iso"
             ? fail_configuration("-F iso: images have no word for that; say raw, which reads the same")
             : Status();
}

Status take_backing(CreateWords& words, NewImageOptions& image, const char* backing_option) {
  const auto take = [&words](const char* word, const char* option, std::string& to) -> Status {
    auto value = words.take(word);
    if (value && !to.empty()) {
      return fail_configuration("-o {}: {} says it already; give one of them", word, option);
    }
    if (value) {
      to = std::move(*value);
    }
    return {};
  };
  VMM_TRY(take("backing_file", backing_option, image.backing_file));
  return take("backing_fmt", "-F", image.backing_format);
}

Result<std::unique_ptr<Disk>> open_backing(const NewImageOptions& options) {
  if (options.backing_file.empty()) {
    return nullptr;
  }
  VMM_ASSIGN_OR_RETURN(const BackingName name, parse_backing_name(options.backing_file, options.path));
  if (std::error_code error; std::filesystem::equivalent(name.path, options.path, error)) {
    return fail_configuration("{}: an image cannot stand on itself; give the new one another name",
                              options.path);
  }
  if (options.is_unsafe) {
    return nullptr;
  }
  DiskOptions backing{.path = name.path, .read_only = true};
  VMM_ASSIGN_OR_RETURN(backing.format, disk_format(options.backing_format));
  VMM_TRY(options.chain.apply_to(backing));
  auto disk = Disk::open(backing);
  if (!disk) {
    return std::unexpected(disk.error().within("backing file"));
  }
  return disk;
}

Result<ImagePlan> plan_image(const NewImageOptions& options, CreateWords& words, uint64_t size_bytes) {
  ImagePlan plan;
  VMM_ASSIGN_OR_RETURN(plan.format, new_format(options));
  plan.size_bytes = align_up(size_bytes, kSectorBytes);  // what a guest can use
  VMM_ASSIGN_OR_RETURN(plan.preallocation, take_preallocation(words, plan.format));
  if (plan.format == Format::kQcow2) {
    VMM_ASSIGN_OR_RETURN(plan.qcow2, qcow2_options(options, words));
    VMM_TRY(take_data_file(words, plan, *plan.qcow2, options.path));
    plan.qcow2->size_bytes = plan.size_bytes;
    plan.qcow2->preallocation = plan.preallocation;
    // Options that do not go together are refused before anything is lost.
    VMM_TRY(qcow2::data_offset(*plan.qcow2, options.path));
  }
  VMM_TRY(words.expect_empty(options.format));
  return plan;
}

Result<std::optional<NewFile>> make_data_file(const ImagePlan& plan) {
  if (plan.data_path.empty()) {
    return std::nullopt;
  }
  std::error_code error;
  const std::filesystem::file_status found = std::filesystem::status(plan.data_path, error);
  if (std::filesystem::exists(found) && !std::filesystem::is_block_file(found)) {
    return fail(
        "{}: there is such a file already, and as a new data file it would be emptied; remove it first, or "
        "name another one",
        plan.data_path);
  }
  VMM_ASSIGN_OR_RETURN(NewFile file, NewFile::create(plan.data_path));
  VMM_TRY(fill_data_file(plan, file.path()));
  return std::optional(std::move(file));
}

Status make_image(const NewFile& file, const ImagePlan& plan) {
  VMM_ASSIGN_OR_RETURN(const ImageFile image, open_image_file({.path = file.path(), .for_guest = false}));
  const auto sync = make_sync_file(image.files.main, file.path());
  if (plan.qcow2) {
    return qcow2::create(*sync, *plan.qcow2);
  }
  if (image.files.main.is_block_device && image.size_bytes < plan.size_bytes) {
    return fail("{}: the block device has {} bytes, fewer than the {} of the disk", file.path(),
                image.size_bytes, plan.size_bytes);
  }
  VMM_TRY(sync->resize(plan.size_bytes));
  return plan.preallocation == qcow2::Preallocation::kOff
             ? Status()
             : sync->allocate(FileOffset(0), plan.size_bytes,
                              plan.preallocation == qcow2::Preallocation::kFull);
}

}  // namespace vmm::block::tool
