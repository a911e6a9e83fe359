// LUKS1: opening a volume's header with a passphrase, and making one (LUKS1 On-Disk Format
// Specification 1.2.3, sections 4 and 5). Used for the encryption header of qcow2 images.
//
// Blocks its thread: PBKDF2 is slow by design. Threads: any. Errors are sentences without the name of the
// file (Error::within).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "block/crypto/luks_header.h"
#include "block/crypto/secret.h"
#include "block/sector_cipher.h"
#include "vmm/base/error.h"

namespace vmm::block {

struct LuksLimits {
  // Rounds of PBKDF2 that a header may cost, over all its active key slots and the digest after each: about
  // three minutes, where cryptsetup and qemu-img choose two seconds for a slot. What asks for more is refused
  // before it begins: an image from elsewhere could keep a host busy for days.
  uint64_t pbkdf2_rounds = UINT64_C(1) << 28U;
};

// Reads `to.size()` bytes from `offset_bytes` of the header.
using LuksReader = std::function<Status(uint64_t offset_bytes, std::span<std::byte> to)>;

struct OpenedLuks {
  LuksHeader header;
  std::unique_ptr<SectorCipher> cipher;  // uses_file_offset(): of qcow2, see block/sector_cipher.h
  size_t slot = 0;                       // whose passphrase it was
};

// All that the header costs: rounds of PBKDF2 if no slot but the last has that passphrase.
uint64_t luks_rounds(const LuksHeader& header);

// Tries all active slots. header_bytes: how much there is to read; key material lies below. Memory: below 1
// MiB. Errors: those of parse_luks_header(), the limits, `read`, and a passphrase that belongs to no slot.
Result<OpenedLuks> open_luks(const LuksReader& read, uint64_t header_bytes, const Secret& passphrase,
                             const LuksLimits& limits = {});

struct LuksFormat {
  CipherSpec cipher;
  Hash hash = Hash::kSha256;
  // See pbkdf2_iterations_for().
  uint32_t slot_iterations = 0;
  uint32_t digest_iterations = 0;
};

struct NewLuks {
  LuksHeader header;
  std::vector<std::byte> bytes;  // the header and its key slots, up to the payload
  std::unique_ptr<SectorCipher> cipher;
};

// A new master key, in key slot 0; the layout is qemu-img's. REQUIRES: iterations from 1 to INT32_MAX.
// Errors: parts of the cipher that do not go together, or that this OpenSSL does not have.
Result<NewLuks> format_luks(const LuksFormat& format, const Secret& passphrase);

// The same with as many iterations as take about `time` on this machine, for which it blocks; the format's
// own do not count.
Result<NewLuks> format_luks_for(LuksFormat format, std::chrono::milliseconds time, const Secret& passphrase);
inline constexpr std::chrono::milliseconds kLuksTime{2000};  // qemu-img's

// How many bytes they make of it, whatever the passphrase.
uint64_t luks_format_bytes(const LuksFormat& format);

// --- Key slots of a volume that nobody uses ---

// A header that is written to. Whatever crash comes, each slot is active or not, and one that is active has
// its key material, whole.
struct LuksStore {
  LuksReader read;
  std::function<Status(uint64_t offset_bytes, std::span<const std::byte> from)> write;
  std::function<Status()> sync;
  uint64_t header_bytes = 0;
};

// One more passphrase opens the volume, which `passphrase` opens already; gives its slot: `wanted`, or the
// first that is free. As slow as `time` is long. Errors: those of open_luks(); a slot that is in use, or that
// none is free; more rounds of PBKDF2 than are allowed.
Result<size_t> add_luks_slot(const LuksStore& store, const Secret& passphrase, const Secret& added,
                             std::optional<size_t> wanted, std::chrono::milliseconds time,
                             const LuksLimits& limits = {});
// Those that the passphrase opens; may be none.
Result<std::vector<size_t>> find_luks_slots(const LuksStore& store, const Secret& passphrase,
                                            const LuksLimits& limits = {});
// Their key material is written over. Refused where no other slot is active, and nothing has changed then:
// nobody could ever read the volume again. REQUIRES: each is below kLuksKeySlots.
Status erase_luks_slots(const LuksStore& store, std::span<const size_t> slots, const LuksLimits& limits = {});

}  // namespace vmm::block
