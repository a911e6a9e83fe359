// Images for crashes: what they may be made with, drawn at random.
#pragma once

#include <array>
#include <memory>
#include <random>
#include <string>

#include "block/crypto/luks.h"
#include "block/crypto/sector_cipher.h"
#include "tests/unit/block/qcow2/qcow2_world.h"

namespace vmm::block::qcow2 {

constexpr const char* kCrashPassphrase = "swordfish";

// One header for all images: to make it costs more than most cases do. AES-128 has the shortest key slots.
inline const NewLuks& luks_for_crashes() {
  static const NewLuks kMade = format_luks({.cipher = {.mode = CipherMode::kCbc, .key_bytes = 16},
                                            .slot_iterations = 1000,
                                            .digest_iterations = 1000},
                                           Secret::copy_of(std::string_view(kCrashPassphrase)))
                                   .value();
  return kMade;
}

inline std::shared_ptr<const SectorCipher> forever(const SectorCipher& cipher) {
  return {std::shared_ptr<void>(), &cipher};
}

inline void draw_encryption(WorldOptions& options, std::mt19937_64& random) {
  const uint64_t kind = random() % 12;
  if (kind == 0) {
    options.create.crypt = CryptMethod::kAes;
    options.cipher = make_legacy_aes_cipher(Secret::copy_of(std::string_view(kCrashPassphrase))).value();
  } else if (kind == 1 && options.create.cluster_bits >= 12) {
    options.create.crypt = CryptMethod::kLuks;
    options.create.crypto_header = luks_for_crashes().bytes;
    options.cipher = forever(*luks_for_crashes().cipher);
  }
}

inline WorldOptions random_options(std::mt19937_64& random) {
  WorldOptions options;
  CreateOptions& create_options = options.create;
  constexpr std::array<uint32_t, 12> kClusterBits = {9, 9, 9, 9, 10, 10, 12, 12, 12, 14, 14, 16};
  create_options.cluster_bits = kClusterBits[random() % kClusterBits.size()];
  create_options.version = random() % 4 == 0 ? 2 : 3;
  if (create_options.version == 3) {
    create_options.refcount_order = static_cast<uint32_t>(random() % 7);
    create_options.extended_l2 = create_options.cluster_bits >= 14 && random() % 2 == 0;
    create_options.lazy_refcounts = random() % 4 == 0;
    create_options.compression = random() % 3 == 0 ? CompressionType::kZstd : CompressionType::kZlib;
  }
  create_options.size_bytes =
      (64 + random() % 200) * kSectorBytes * (create_options.cluster_bits == 16 ? 6 : 1);
  draw_encryption(options, random);
  if (random() % 2 == 0) {
    options.base_sectors = create_options.size_bytes / kSectorBytes * (50 + random() % 100) / 100;
  } else if (random() % 4 == 0 && (create_options.version == 3 || options.cipher == nullptr)) {
    create_options.preallocation = Preallocation::kMetadata;
  }
  options.may_discard = random() % 4 != 0;
  options.cache_bytes = random() % 4 == 0 ? 1 : 0;  // the least there is
  if (random() % 6 == 0) {
    options.cache = CacheMode::kNone;
    options.may_extend_ahead = random() % 2 == 0;
  }
  return options;
}

inline std::string text_of(const WorldOptions& options) {
  const CreateOptions& made = options.create;
  return fmt::format(
      "cluster_bits {} version {} order {} extended {} lazy {} zstd {} crypt {} size {} base {} prealloc {} "
      "discard {} table cache {} cache none {} ahead {}",
      made.cluster_bits, made.version, made.refcount_order, made.extended_l2, made.lazy_refcounts,
      made.compression == CompressionType::kZstd, static_cast<int>(made.crypt), made.size_bytes,
      options.base_sectors, made.preallocation != Preallocation::kOff, options.may_discard,
      options.cache_bytes, options.cache == CacheMode::kNone, options.may_extend_ahead);
}

}  // namespace vmm::block::qcow2
