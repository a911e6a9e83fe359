#include "block/open_chain.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "block/backing_name.h"
#include "block/crypto/luks_header.h"
#include "block/data_file.h"
#include "block/image_chain.h"
#include "block/image_cipher.h"
#include "block/image_file.h"
#include "block/iso/iso_info.h"
#include "block/overlay_file.h"
#include "block/qcow1/image.h"
#include "block/qcow2/create.h"
#include "block/qcow2/image.h"
#include "block/qcow2/open_image.h"
#include "block/qcow2/snapshot.h"
#include "block/qcow2/writer.h"
#include "block/raw_image.h"
#include "block/raw_layer.h"

namespace vmm::block {
namespace {

// Clusters whose 32 parts are pages of the host: a small write takes a page, and nothing is copied for it.
constexpr uint32_t kOverlayClusterBits = 17;

class ChainOpener {
 public:
  // base_depth: of the layer that is a disk of its own; 0: none.
  ChainOpener(EventLoop& loop, const DiskOptions& options, uint32_t base_depth = 0)
      : loop_(loop), options_(options), base_depth_(base_depth) {}

  Result<std::unique_ptr<ImageChain>> open() {
    DiskOptions layer = options_;
    if (options_.overlay != nullptr) {
      layer.read_only = true;
      layer.discard = DiscardMode::kIgnore;
    }
    while (true) {
      auto next = open_layer(layer);
      if (!next) {
        return std::unexpected(layers_.empty() ? next.error() : within_chain(next.error()));
      }
      VMM_TRY(check_backing_store(*next));
      if (!next->has_value()) {
        break;
      }
      layer = **next;
      if (is_base()) {
        layer.read_only = false;
        layer.cache = options_.cache;
        layer.discard = DiscardMode::kUnmap;
      }
    }
    if (base_depth_ >= layers_.size()) {
      return fail("{}: there are only {} images below it", options_.path, layers_.size() - 1);
    }
    if (options_.overlay != nullptr && !options_.read_only) {
      VMM_TRY(add_overlay());
    }
    return make_disk();
  }

 private:
  // What the layer stands on, if anything.
  using Next = std::optional<DiskOptions>;

  // What the layer that was opened last says of what it stands on, beside what the domain file says.
  Status check_backing_store(const Next& next) const {
    const auto& wanted = options_.backing_stores;
    const size_t index = layers_.size() - 1;
    const std::string& image = names_.back();
    if (index >= wanted.size()) {
      return index == wanted.size() && options_.backing_ends && next
                 ? fail("{}: stands on {}, and <backingStore/> says on nothing; make them agree", image,
                        next->path)
                 : Status();
    }
    const DiskOptions::BackingStore& store = wanted[index];
    if (!next) {
      return fail("{}: stands on nothing, and <backingStore> says otherwise; make them agree", image);
    }
    std::error_code error;
    if (!store.path.empty() && !std::filesystem::equivalent(store.path, next->path, error)) {
      return fail("{}: stands on {}, and <backingStore> says on {}; make them agree", image, next->path,
                  store.path);
    }
    if (store.format != next->format) {
      return fail("{}: says that its backing file {} is {}, and <backingStore> says {}; make them agree",
                  image, next->path, format_name(next->format), format_name(store.format));
    }
    return {};
  }

  Result<Next> open_layer(const DiskOptions& options) {
    names_.push_back(options.path);
    if (names_.size() > kMaxChainLayers) {
      return fail("more than {} files stand on each other; merge some of them (vmm-img commit)",
                  kMaxChainLayers);
    }
    VMM_ASSIGN_OR_RETURN(ImageFile image, open_image_file(options));
    VMM_TRY(refuse_loop(image, options.path));
    switch (options.format) {
      case Format::kRaw:
        return open_raw(std::move(image), options);
      case Format::kIso:
        return open_iso(std::move(image), options);
      case Format::kQcow:
        return open_qcow1(std::move(image), options);
      case Format::kQcow2:
        return open_qcow2(std::move(image), options);
    }
    return fail("{}: its format is not known", options.path);
  }

  Error within_chain(const Error& error) const {
    return Error(fmt::format("{} (backing chain: {})", error.message(), chain_text(names_)), error.kind());
  }

  Status refuse_loop(const ImageFile& image, const std::string& path) {
    struct stat info{};
    if (::fstat(image.files.main.fd.get(), &info) != 0) {
      return fail("{} cannot be examined", path);
    }
    const std::pair<dev_t, ino_t> id(info.st_dev, info.st_ino);
    if (std::ranges::find(files_, id) != files_.end()) {
      return fail("{} stands on itself: a backing file must not be among those above it", path);
    }
    files_.push_back(id);
    return {};
  }

  Result<std::unique_ptr<HostFile>> make_file(ImageFile& image, const DiskOptions& options) {
    VMM_ASSIGN_OR_RETURN(auto engine, Engine::for_loop(loop_, options.io));
    if (!options.read_only) {
      // The file grows: its last block is not partial for ever.
      image.geometry.partial_block_offset = UINT64_MAX;
    }
    return std::make_unique<HostFile>(std::move(engine), std::move(image.files), image.geometry,
                                      options.cache, options.discard == DiscardMode::kUnmap);
  }

  Result<Next> open_raw(ImageFile image, const DiskOptions& options) {
    const uint64_t size = image.size_bytes;
    if (size > INT64_MAX) {
      return fail("{} is {} bytes long, more than a disk can be", options.path, size);
    }
    if (layers_.empty()) {
      top_limits_ = image.limits;
    }
    VMM_ASSIGN_OR_RETURN(auto file, make_file(image, options));
    any_file_ = any_file_ == nullptr ? file.get() : any_file_;
    if (is_base()) {
      layers_.push_back(std::make_unique<RawLayer>(*file, size));
      raw_base_ = std::make_unique<RawImage>(
          std::move(file),
          RawImage::Options{.path = options.path, .size_bytes = size, .limits = image.limits});
    } else {
      layers_.push_back(std::make_unique<RawLayer>(std::move(file), size));
    }
    note_layer(options);
    return Next();
  }

  Result<Next> open_iso(ImageFile image, const DiskOptions& options) {
    VMM_TRY(refuse_writing(options, "an ISO image"));
    const auto sync = make_sync_file(image.files.main, options.path);
    VMM_TRY(read_iso_info(*sync));
    image.limits.logical_block_bytes = kIsoBlockBytes;
    return open_raw(std::move(image), options);
  }

  Result<Next> open_qcow1(ImageFile image, const DiskOptions& options) {
    VMM_TRY(refuse_writing(options, "a qcow image of version 1"));
    if (layers_.empty()) {
      top_limits_ = image.limits;
    }
    const auto sync = make_sync_file(image.files.main, options.path);
    VMM_ASSIGN_OR_RETURN(const qcow1::Header header, qcow1::read_header(*sync));
    VMM_ASSIGN_OR_RETURN(Next next, backing_of(header.backing_file, std::nullopt, options));
    std::unique_ptr<SectorCipher> cipher;
    if (header.is_encrypted) {
      VMM_ASSIGN_OR_RETURN(cipher, find_aes_cipher(*sync, options.passphrases));
    }
    VMM_ASSIGN_OR_RETURN(auto file, make_file(image, options));
    any_file_ = any_file_ == nullptr ? file.get() : any_file_;
    VMM_ASSIGN_OR_RETURN(auto layer, qcow1::Image::open(std::move(file), *sync, header, std::move(cipher)));
    layers_.push_back(std::move(layer));
    note_layer(options, {.cluster_bytes = header.cluster_bytes(),
                         .is_encrypted = header.is_encrypted,
                         .backing_name = header.backing_file});
    return next;
  }

  static Status refuse_writing(const DiskOptions& options, std::string_view what) {
    return options.read_only
               ? Status()
               : fail("{} is {}, which is never written to; {}", options.path, what,
                      options.for_guest ? "make the disk <readonly/>" : "convert it to qcow2 or raw first");
  }

  Result<Next> open_qcow2(ImageFile image, const DiskOptions& options) {
    const BlockLimits limits = image.limits;
    const bool is_block_device = image.files.main.is_block_device;
    auto sync = make_sync_file(image.files.main, options.path);
    VMM_ASSIGN_OR_RETURN(qcow2::Header header, qcow2::read_header(*sync));
    VMM_ASSIGN_OR_RETURN(Next next, backing_of(header.backing_file, header.backing_format, options));
    qcow2::Image::Options image_options;
    VMM_ASSIGN_OR_RETURN(image_options.cipher, cipher_of(header, *sync, options));
    if (options.is_trial && !options.read_only) {
      VMM_TRY(qcow2::refuse_corrupt(*sync, header));
    } else if (!options.read_only) {
      // A disk that is being resized is written to behind its old end only, where no bitmap looks; one whose
      // backing file changes is written what it holds already.
      const bool stays = options.disk_bytes != 0 || options.changes_backing;
      VMM_TRY(stays ? qcow2::prepare_for_maintenance(*sync, header)
                    : qcow2::prepare_for_writing(*sync, header));
    }
    header.size_bytes = options.disk_bytes == 0 ? header.size_bytes : options.disk_bytes;
    if (options.snapshot) {
      VMM_TRY(qcow2::show_snapshot(*sync, header, *options.snapshot));
    }
    qcow2::Image::Files files;
    VMM_ASSIGN_OR_RETURN(files.image, make_file(image, options));
    files.sync = std::move(sync);
    if (header.has(qcow2::kIncompatibleDataFile)) {
      VMM_TRY(open_data_file(header, options, files));
    }
    any_file_ = any_file_ == nullptr ? files.image.get() : any_file_;
    image_options.read_only = options.read_only || options.is_trial;
    image_options.cache_bytes = options.metadata_cache_bytes;
    image_options.cache_counters = options.cache_counters;
    const uint64_t cluster_bytes = header.cluster_bytes();
    DiskLayer info{.has_snapshots = header.snapshot_count > 0,
                   .cluster_bytes = cluster_bytes,
                   .is_encrypted = header.crypt != qcow2::CryptMethod::kNone,
                   .backing_format = header.backing_format};
    if (header.has_backing_file()) {
      info.backing_name = header.backing_file;
    }
    VMM_ASSIGN_OR_RETURN(auto layer,
                         qcow2::Image::open(std::move(files), std::move(header), std::move(image_options)));
    if (is_base()) {
      base_ = {.image = layer.get(), .is_block_device = is_block_device};
    }
    if (layers_.empty()) {
      top_ = {.image = layer.get(), .is_block_device = is_block_device};
      top_limits_ = limits;
      top_limits_.discard_alignment_bytes =
          options.discard == DiscardMode::kUnmap ? static_cast<uint32_t>(cluster_bytes) : 0;
    }
    layers_.push_back(std::move(layer));
    note_layer(options, std::move(info));
    return next;
  }

  // How an overlay is encrypted: what its image keeps secret is not to lie beside it in clear.
  Result<NewCipher> overlay_cipher() {
    const bool is_secret = layers_.front()->cipher() != nullptr;
    if (options_.overlay->may_be_kept() && is_secret) {
      std::vector<std::byte> luks;
      if (top_.image != nullptr && top_.image->state().header.crypto_header) {
        luks.resize(kLuksHeaderBytes);
        VMM_TRY(
            top_.image->sync_file().read(FileOffset(top_.image->state().header.crypto_header->offset), luks));
      }
      return make_luks_cipher(luks, *options_.passphrases.front());
    }
    NewCipher made;
    if (options_.overlay->is_encrypted() || is_secret) {
      VMM_ASSIGN_OR_RETURN(made.cipher, make_random_cipher());
    }
    return made;
  }

  // A new image on top of all layers.
  Status add_overlay() {
    VMM_ASSIGN_OR_RETURN(ImageFile image, open_overlay(*options_.overlay));
    const std::string& path = options_.overlay->name();
    auto encryption = overlay_cipher();
    if (!encryption) {
      return std::unexpected(encryption.error().within(path));
    }
    qcow2::CreateOptions wanted{.size_bytes = layers_.front()->size_bytes(),
                                .cluster_bits = kOverlayClusterBits,
                                .extended_l2 = true,
                                .backing_file = std::filesystem::absolute(options_.path),
                                .backing_format = format_name(options_.format)};
    if (!encryption->luks_header.empty()) {
      wanted.crypt = qcow2::CryptMethod::kLuks;
      wanted.crypto_header = std::move(encryption->luks_header);
    }
    qcow2::Image::Files files;
    files.sync = make_volatile_file(image.files.main, path);
    VMM_TRY(qcow2::create(*files.sync, wanted));
    VMM_ASSIGN_OR_RETURN(qcow2::Header header, qcow2::read_header(*files.sync));
    VMM_ASSIGN_OR_RETURN(auto engine, Engine::for_loop(loop_, options_.io));
    files.image = std::make_unique<HostFile>(std::move(engine), std::move(image.files), image.geometry,
                                             CacheMode::kUnsafe, true);
    any_file_ = files.image.get();
    VMM_ASSIGN_OR_RETURN(auto layer, qcow2::Image::open(std::move(files), std::move(header),
                                                        {.read_only = false,
                                                         .cache_bytes = options_.metadata_cache_bytes,
                                                         .cache_counters = options_.cache_counters,
                                                         .cipher = std::move(encryption->cipher)}));
    top_.image = layer.get();
    top_limits_.discard_alignment_bytes =
        options_.discard == DiscardMode::kUnmap ? uint32_t{1} << kOverlayClusterBits : 0;
    layers_.insert(layers_.begin(), std::move(layer));
    return {};
  }

  static Result<std::unique_ptr<SectorCipher>> cipher_of(const qcow2::Header& header, SyncFile& file,
                                                         const DiskOptions& options) {
    switch (header.crypt) {
      case qcow2::CryptMethod::kNone:
        return nullptr;
      case qcow2::CryptMethod::kAes:
        return find_aes_cipher(file, options.passphrases);
      case qcow2::CryptMethod::kLuks:
        return find_luks_cipher(file, FileOffset(header.crypto_header->offset), header.crypto_header->length,
                                options.passphrases);
    }
    return fail("{}: its encryption is not known", options.path);
  }

  Status open_data_file(const qcow2::Header& header, const DiskOptions& options, qcow2::Image::Files& files) {
    DiskOptions data = options;
    VMM_ASSIGN_OR_RETURN(data.path, named_data_file(header.data_file, options));
    data.format = Format::kRaw;
    data.expected.reset();
    auto image = open_image_file(data);
    if (!image) {
      return std::unexpected(image.error().within(fmt::format("data file of {}", options.path)));
    }
    VMM_TRY(refuse_loop(*image, data.path));
    files.data_sync = make_sync_file(image->files.main, data.path);
    VMM_ASSIGN_OR_RETURN(files.data_file, make_file(*image, data));
    return {};
  }

  Result<Next> backing_of(const std::optional<std::string>& file,
                          const std::optional<std::string>& file_format, const DiskOptions& options) const {
    const bool is_last = options.layers != 0 && names_.size() >= options.layers;
    if (!file || file->empty() || is_last) {
      return Next();
    }
    VMM_ASSIGN_OR_RETURN(const BackingName name, parse_backing_name(*file, options.path));
    DiskOptions backing = options;
    backing.path = name.path;
    backing.read_only = true;
    backing.cache = options.backing_cache.value_or(options.cache);
    backing.shareable = options.shareable && !options.for_guest;
    backing.discard = DiscardMode::kIgnore;
    backing.for_guest = false;
    backing.backing_format.reset();
    backing.disk_bytes = 0;
    backing.snapshot.reset();
    backing.expected.reset();
    VMM_ASSIGN_OR_RETURN(backing.format,
                         backing_format_of(*file, name.format ? name.format : file_format, options));
    return Next(backing);
  }

  // What the image says, or else who runs the program; they must not contradict each other.
  Result<Format> backing_format_of(const std::string& file, const std::optional<std::string>& in_image,
                                   const DiskOptions& options) const {
    if (!in_image) {
      return options.backing_format ? Result<Format>(*options.backing_format)
                                    : fail(
                                          "{}: does not say which format its backing file {} has, and a "
                                          "format is never guessed; {}",
                                          options.path, file, how_to_say_format(options));
    }
    const auto format = format_named(*in_image);
    if (!format) {
      return fail(
          "{}: its backing file {} has the format '{}', which is not known here; raw, qcow and qcow2 are",
          options.path, file, *in_image);
    }
    if (options.for_guest && options.backing_format && *options.backing_format != *format) {
      return fail("{}: says that its backing file {} is {}, and <backingStore> says {}; make them agree",
                  options.path, file, *in_image, format_name(*options.backing_format));
    }
    return *format;
  }

  std::string_view how_to_say_format(const DiskOptions& options) const {
    if (names_.size() == 1) {
      return options.for_guest ? "say it in the disk's <backingStore>" : "say it (--backing-format)";
    }
    return options.format == Format::kQcow
               ? "version 1 of qcow has no place for it: convert that image (vmm-img convert -f qcow "
                 "--backing-format … -O qcow2)"
               : "write it into that image (vmm-img rebase -u -b … -F …)";
  }

  void note_layer(const DiskOptions& options, DiskLayer info = {}) {
    info.path = options.path;
    info.format = options.format;
    info.size_bytes = layers_.back()->size_bytes();
    infos_.push_back(std::move(info));
  }

  bool is_base() const { return base_depth_ != 0 && layers_.size() == base_depth_; }

  // An image that is written to.
  struct Written {
    qcow2::Image* image = nullptr;
    bool is_block_device = false;
  };

  Result<std::unique_ptr<ImageWriter>> make_writer(const Written& written, ChainReader& reader,
                                                   qcow2::Writer::Options wanted) const {
    VMM_TRY(qcow2::note_metadata(written.image->sync_file(), written.image->state()));
    if (options_.is_trial) {
      return nullptr;
    }
    wanted.may_extend_ahead = is_direct(wanted.cache) && !written.is_block_device;
    return std::make_unique<qcow2::Writer>(*written.image, reader, wanted);
  }

  // The layers from the base on; a raw one stays a layer of the chain, too.
  Status make_base(ImageChain::Layers& layers) {
    if (raw_base_ != nullptr) {
      layers.base = std::move(raw_base_);
      return {};
    }
    if (base_.image == nullptr) {
      return fail("{}: it is only read here, and nothing is committed to it; convert it first",
                  names_[base_depth_]);
    }
    const auto first = layers_.begin() + base_depth_;
    ImageChain::Layers own;
    std::move(first, layers_.end(), std::back_inserter(own.own));
    layers_.erase(first, layers_.end());
    layers.of_base = own.all();
    auto reader = std::make_unique<ChainReader>(own.all(), *any_file_);
    VMM_ASSIGN_OR_RETURN(
        auto writer,
        make_writer(base_, *reader,
                    {.cache = options_.cache, .may_discard = true, .has_backing = own.own.size() > 1}));
    layers.base = std::make_unique<ImageChain>(
        std::move(own), std::move(reader), std::move(writer), *any_file_,
        ImageChain::Options{.detect_zeroes = DetectZeroes::kOff,
                            .limits = top_limits_,
                            .layers = {infos_.begin() + base_depth_, infos_.end()}});
    return {};
  }

  Result<std::unique_ptr<ImageChain>> make_disk() {
    const uint64_t size = layers_.front()->size_bytes();
    if (options_.for_guest && (size == 0 || size % 512 != 0)) {
      return fail("{}: its disk is {} bytes long, not a multiple of 512 above 0; resize it (qemu-img resize)",
                  options_.path, size);
    }
    const bool has_backing = layers_.size() > 1 || options_.changes_backing;
    ImageChain::Layers layers;
    if (base_depth_ != 0) {
      VMM_TRY(make_base(layers));
    }
    layers.own = std::move(layers_);
    auto reader = std::make_unique<ChainReader>(layers.all(), *any_file_);
    std::unique_ptr<ImageWriter> writer;
    if (!options_.read_only) {
      const bool is_overlay = options_.overlay != nullptr;
      VMM_ASSIGN_OR_RETURN(writer, make_writer(top_, *reader,
                                               {.cache = is_overlay ? CacheMode::kUnsafe : options_.cache,
                                                .may_discard = options_.discard == DiscardMode::kUnmap,
                                                .has_backing = has_backing,
                                                .budget = is_overlay ? options_.budget : nullptr}));
    }
    return std::make_unique<ImageChain>(
        std::move(layers), std::move(reader), std::move(writer), *any_file_,
        ImageChain::Options{
            .detect_zeroes = options_.detect_zeroes, .limits = top_limits_, .layers = std::move(infos_)});
  }

  EventLoop& loop_;
  const DiskOptions& options_;
  const uint32_t base_depth_;
  std::vector<std::string> names_;
  std::vector<std::pair<dev_t, ino_t>> files_;
  std::vector<DiskLayer> infos_;  // of the layers
  std::vector<std::unique_ptr<ImageFormat>> layers_;
  std::unique_ptr<RawImage> raw_base_;
  HostFile* any_file_ = nullptr;
  Written top_;
  Written base_;
  BlockLimits top_limits_;
};

}  // namespace

Result<std::unique_ptr<BlockDevice>> open_chain(EventLoop& loop, const DiskOptions& options) {
  return ChainOpener(loop, options).open();
}

Result<std::unique_ptr<ImageChain>> open_chain_to_commit(EventLoop& loop, const DiskOptions& options,
                                                         uint32_t base_depth) {
  return ChainOpener(loop, options, base_depth).open();
}

}  // namespace vmm::block
