#include "block/tool/encrypt_options.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "block/crypto/cipher_spec.h"
#include "block/crypto/digest.h"
#include "block/crypto/luks.h"
#include "block/crypto/luks_header.h"

namespace vmm::block::tool {
namespace {

using std::chrono::milliseconds;

struct Algorithm {
  std::string_view name;
  std::string_view luks_name;
  size_t key_bytes;
};
constexpr Algorithm kAlgorithms[] = {
    {"aes-128", "aes", 16}, {"aes-192", "aes", 24}, {"aes-256", "aes", 32}, {"cast5-128", "cast5", 16}};

// QEMU encrypts what it splits the key into by whole sectors, and ends with an assertion where they are not
// whole.
Status check_key_material(const CipherSpec& spec, const std::string& algorithm, const std::string& mode) {
  return spec.key_bytes * kLuksStripes % kLuksSectorBytes == 0
             ? Status()
             : fail_configuration(
                   "-o encrypt.cipher-alg={},encrypt.cipher-mode={}: QEMU could not open such an image; take "
                   "aes-128 or aes-256, or the mode xts",
                   algorithm, mode);
}

Result<CipherSpec> cipher_of(CreateWords& words) {
  const std::string algorithm = words.take("encrypt.cipher-alg").value_or("aes-256");
  const std::string mode = words.take("encrypt.cipher-mode").value_or("xts");
  const std::string generator = words.take("encrypt.ivgen-alg").value_or("plain64");
  const std::string hash = words.take("encrypt.ivgen-hash-alg").value_or("sha256");
  for (const Algorithm& each : kAlgorithms) {
    if (each.name != algorithm) {
      continue;
    }
    // ecb has no use for an IV generator, and QEMU opens no image that names none.
    const std::string iv = generator == "essiv" ? "-essiv:" + hash : "-" + generator;
    auto spec = parse_cipher_spec(each.luks_name, mode + iv, each.key_bytes * (mode == "xts" ? 2 : 1));
    if (!spec) {
      return std::unexpected(spec.error().within("-o encrypt"));
    }
    VMM_TRY(check_key_material(*spec, algorithm, mode));
    return *spec;
  }
  return fail_configuration(
      "-o encrypt.cipher-alg={}: aes-128, aes-192, aes-256 and cast5-128 can be; this OpenSSL has no more",
      algorithm);
}

struct LuksWords {
  LuksFormat format;
  milliseconds time = kLuksTime;
};

Result<LuksWords> take_luks_words(CreateWords& words) {
  LuksWords taken;
  LuksFormat& format = taken.format;
  VMM_ASSIGN_OR_RETURN(format.cipher, cipher_of(words));
  const std::string hash = words.take("encrypt.hash-alg").value_or("sha256");
  const auto found = find_hash(hash);
  if (!found) {
    return fail_configuration("-o encrypt.hash-alg={}: sha1, sha256, sha512 and the like can be", hash);
  }
  format.hash = *found;
  VMM_ASSIGN_OR_RETURN(const std::optional<uint64_t> time, words.take_size("encrypt.iter-time"));
  constexpr uint64_t kMost = 60'000;
  if (time && (*time == 0 || *time > kMost)) {
    return fail_configuration("-o encrypt.iter-time={}: from 1 to {} milliseconds", *time, kMost);
  }
  if (time) {
    taken.time = milliseconds(*time);
  }
  return taken;
}

// Empty: none.
Result<std::string> take_format_word(CreateWords& words) {
  VMM_ASSIGN_OR_RETURN(const bool is_old_word, words.take_flag("encryption", false));
  std::string format = words.take("encrypt.format").value_or(is_old_word ? "aes" : "");
  if (!format.empty() && format != "luks" && format != "aes") {
    return fail_configuration("-o encrypt.format={}: luks and aes can be", format);
  }
  return format;
}

}  // namespace

Result<uint64_t> encryption_header_bytes(CreateWords& words) {
  VMM_ASSIGN_OR_RETURN(const std::string format, take_format_word(words));
  if (!format.empty()) {
    static_cast<void>(words.take("encrypt.key-secret"));  // whatever it is, the header is as long
  }
  if (format != "luks") {
    return 0;
  }
  VMM_ASSIGN_OR_RETURN(const LuksWords luks, take_luks_words(words));
  return luks_format_bytes(luks.format);
}

Result<NewEncryption> make_encryption(CreateWords& words, const Secrets& secrets) {
  VMM_ASSIGN_OR_RETURN(const std::string format, take_format_word(words));
  if (format.empty()) {
    return NewEncryption();
  }
  const auto id = words.take("encrypt.key-secret");
  if (!id) {
    return fail_configuration(
        "-o encrypt.format={} needs encrypt.key-secret=NAME, and --object secret,id=NAME,file=FILE", format);
  }
  VMM_ASSIGN_OR_RETURN(const std::shared_ptr<const Secret> passphrase, secrets.named(*id));
  NewEncryption made;
  made.method = format == "luks" ? qcow2::CryptMethod::kLuks : qcow2::CryptMethod::kAes;
  if (made.method == qcow2::CryptMethod::kLuks) {
    VMM_ASSIGN_OR_RETURN(const LuksWords luks, take_luks_words(words));
    VMM_ASSIGN_OR_RETURN(NewLuks header, format_luks_for(luks.format, luks.time, *passphrase));
    made.header = std::move(header.bytes);
  }
  return made;
}

}  // namespace vmm::block::tool
