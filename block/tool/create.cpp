// vmm-img create: makes a new image.
#include <fcntl.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

#include "block/backing_name.h"
#include "block/image_file.h"
#include "block/qcow2/create.h"
#include "block/sync_file.h"
#include "block/tool/command.h"
#include "block/tool/create_options.h"
#include "block/tool/disk.h"
#include "block/tool/encrypt_options.h"
#include "block/tool/secrets.h"
#include "block/tool/text.h"
#include "vmm/base/bytes.h"
#include "vmm/base/unique_fd.h"

namespace vmm::block::tool {
namespace {

constexpr uint64_t kSectorBytes = 512;

struct Options {
  std::string path;
  std::string size;
  std::string format;
  std::string backing_file;
  std::string backing_format;
  std::string words;
  bool is_unsafe = false;
  bool is_quiet = false;
  Secrets secrets;
};

// Makes the file if there is none, and takes it away again if the image does not come about. What is there
// keeps its contents until it has been locked: somebody may be using it.
class NewFile {
 public:
  explicit NewFile(const std::string& path) : path_(path) {
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    is_new_ = static_cast<bool>(fd);
    error_ = fd || errno == EEXIST ? 0 : errno;
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile() {
    if (is_new_ && !is_kept_) {
      ::unlink(path_.c_str());
    }
  }

  Status check() const {
    return error_ == 0 ? Status() : fail("{} cannot be made: {}", path_, errno_text(error_));
  }
  void keep() { is_kept_ = true; }

 private:
  const std::string& path_;
  bool is_new_ = false;
  bool is_kept_ = false;
  int error_ = 0;
};

// What the new image stands on; nullptr: nothing, or -u. While it is open its files are locked, so that none
// of them can be overwritten by the new image.
Result<std::unique_ptr<Disk>> open_backing(const Options& options) {
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
  VMM_ASSIGN_OR_RETURN(backing.passphrases, options.secrets.passphrases());
  auto disk = Disk::open(backing);
  if (!disk) {
    return std::unexpected(disk.error().within("backing file"));
  }
  return disk;
}

Result<uint64_t> wanted_size(const Options& options, CreateWords& words, const Disk* backing) {
  VMM_ASSIGN_OR_RETURN(const std::optional<uint64_t> word, words.take_size("size"));
  if (!options.size.empty()) {
    return parse_size(options.size);
  }
  if (word || backing != nullptr) {
    return word ? *word : backing->size_bytes();
  }
  return fail_configuration("{}: the size of the new disk is missing", options.path);
}

Result<qcow2::CreateOptions> qcow2_options(const Options& options, CreateWords& words) {
  qcow2::CreateOptions create;
  create.backing_file = options.backing_file;
  if (!options.backing_format.empty()) {
    create.backing_format = options.backing_format;
  }
  const std::string compat = words.take("compat").value_or("1.1");
  if (compat != "1.1" && compat != "v3" && compat != "0.10" && compat != "v2") {
    return fail_configuration("-o compat={}: 0.10 (v2) and 1.1 (v3) can be", compat);
  }
  create.version = compat == "1.1" || compat == "v3" ? 3 : 2;
  VMM_ASSIGN_OR_RETURN(create.lazy_refcounts, words.take_flag("lazy_refcounts", false));
  VMM_ASSIGN_OR_RETURN(create.extended_l2, words.take_flag("extended_l2", false));
  VMM_ASSIGN_OR_RETURN(const std::optional<uint64_t> cluster, words.take_size("cluster_size"));
  const uint64_t cluster_bytes = cluster.value_or(65536);
  VMM_ASSIGN_OR_RETURN(const std::optional<uint64_t> refcount, words.take_size("refcount_bits"));
  const uint64_t refcount_bits = refcount.value_or(16);
  if (!std::has_single_bit(cluster_bytes) || !std::has_single_bit(refcount_bits) || refcount_bits > 64) {
    return fail_configuration(
        "-o cluster_size is a power of two from 512 to 2M, refcount_bits one from 1 to 64");
  }
  create.cluster_bits = static_cast<uint32_t>(std::countr_zero(cluster_bytes));
  create.refcount_order = static_cast<uint32_t>(std::countr_zero(refcount_bits));
  const std::string compression = words.take("compression_type").value_or("zlib");
  if (compression != "zlib" && compression != "zstd") {
    return fail_configuration("-o compression_type={}: zlib and zstd can be", compression);
  }
  create.compression = compression == "zstd" ? qcow2::CompressionType::kZstd : qcow2::CompressionType::kZlib;
  const std::string preallocation = words.take("preallocation").value_or("off");
  if (preallocation != "off" && preallocation != "metadata") {
    return fail_configuration("-o preallocation={}: off and metadata can be", preallocation);
  }
  create.preallocation =
      preallocation == "off" ? qcow2::Preallocation::kOff : qcow2::Preallocation::kMetadata;
  return create;
}

Status make(const Options& options, uint64_t size, const std::optional<qcow2::CreateOptions>& qcow2_image) {
  NewFile file(options.path);
  VMM_TRY(file.check());
  VMM_ASSIGN_OR_RETURN(const ImageFile image, open_image_file({.path = options.path, .for_guest = false}));
  const auto sync = make_sync_file(image.files.main, options.path);
  VMM_TRY(sync->resize(0));
  if (qcow2_image) {
    VMM_TRY(qcow2::create(*sync, *qcow2_image));
  } else {
    VMM_TRY(sync->resize(size));
  }
  file.keep();
  return {};
}

Result<int> create(const Options& options) {
  VMM_ASSIGN_OR_RETURN(const Format format, disk_format(options.format));
  if (format != Format::kRaw && format != Format::kQcow2) {
    return fail_configuration("{}: images of the format {} are only read here; make a raw or a qcow2 one",
                              options.path, options.format);
  }
  VMM_ASSIGN_OR_RETURN(CreateWords words, CreateWords::parse(options.words));
  if (format == Format::kRaw && !options.backing_file.empty()) {
    return fail_configuration("{}: a raw image stands on nothing; -f qcow2 can", options.path);
  }
  if (!options.backing_file.empty() && options.backing_format.empty()) {
    return fail_configuration("{}: -F must tell the format of the backing file, which is never guessed",
                              options.path);
  }
  VMM_ASSIGN_OR_RETURN(const std::unique_ptr<Disk> backing, open_backing(options));
  VMM_ASSIGN_OR_RETURN(const uint64_t asked, wanted_size(options, words, backing.get()));
  const uint64_t size = align_up(asked, kSectorBytes);  // what a guest can use
  std::optional<qcow2::CreateOptions> qcow2_image;
  if (format == Format::kQcow2) {
    VMM_ASSIGN_OR_RETURN(qcow2_image, qcow2_options(options, words));
    VMM_ASSIGN_OR_RETURN(NewEncryption encryption, make_encryption(words, options.secrets));
    qcow2_image->crypt = encryption.method;
    qcow2_image->crypto_header = std::move(encryption.header);
    qcow2_image->size_bytes = size;
    // Options that do not go together are refused before anything is lost.
    VMM_TRY(qcow2::data_offset(*qcow2_image, options.path));
  }
  VMM_TRY(words.expect_empty(options.format));
  VMM_TRY(make(options, size, qcow2_image));
  if (!options.is_quiet) {
    static_cast<void>(std::printf("Formatting '%s', fmt=%s size=%llu\n", options.path.c_str(),
                                  options.format.c_str(), static_cast<unsigned long long>(size)));
  }
  return 0;
}

}  // namespace

void add_create(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("create", "Make a new image");
  command->footer(
      "Options of qcow2: size, compat, cluster_size, refcount_bits, lazy_refcounts, extended_l2,\n"
      "compression_type, preallocation (off or metadata), encrypt.format (luks or aes), encrypt.key-secret,\n"
      "encrypt.cipher-alg, encrypt.cipher-mode, encrypt.ivgen-alg, encrypt.ivgen-hash-alg, encrypt.hash-alg,\n"
      "encrypt.iter-time. Of raw: size.");
  command->add_option("-f", options->format, "Format: raw or qcow2")->required()->type_name("FMT");
  command->add_option("-b", options->backing_file, "The new image stands on this one")->type_name("FILE");
  command->add_option("-F", options->backing_format, "Format of the backing file: raw or qcow2")
      ->type_name("FMT");
  command->add_flag("-u", options->is_unsafe, "Do not look at the backing file");
  command->add_option("-o", options->words, "name=value,…, see below")->type_name("OPTIONS");
  options->secrets.add_to(*command);
  command->add_flag("-q,--quiet", options->is_quiet, "Print nothing but errors");
  command->add_option("FILENAME", options->path)->required()->type_name("");
  command
      ->add_option("SIZE", options->size,
                   "Of the disk, as 512, 64k, 10G, rounded up to 512; if absent, that of the backing file")
      ->type_name("");
  command->callback([options, &chosen] { chosen.run = [options] { return create(*options); }; });
}

}  // namespace vmm::block::tool
