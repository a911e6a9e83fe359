// Makes the SectorCipher of a CipherSpec and of qcow's old encryption. See block/sector_cipher.h for threads.
#pragma once

#include <memory>
#include <span>

#include "block/crypto/cipher_spec.h"
#include "block/crypto/secret.h"
#include "block/sector_cipher.h"
#include "vmm/base/error.h"

namespace vmm::block {

// What the numbers of the sectors count, which the IVs are made from.
enum class IvSectors : unsigned char { kOfFile, kOfDisk };

// Nothing is allocated by encrypt() and decrypt(); the key is wiped with the cipher.
// REQUIRES: check_cipher_spec(spec); key.size() == spec.key_bytes.
// Errors: a cipher that this OpenSSL does not have.
Result<std::unique_ptr<SectorCipher>> make_sector_cipher(const CipherSpec& spec,
                                                         std::span<const std::byte> key,
                                                         IvSectors iv_sectors);

// crypt_method 1 of qcow and qcow2: AES-128-CBC, IV plain64 of the disk's sector, the first 16 bytes of the
// passphrase as they are, filled up with zeroes. The image has nothing to check the passphrase against.
Result<std::unique_ptr<SectorCipher>> make_legacy_aes_cipher(const Secret& passphrase);

}  // namespace vmm::block
