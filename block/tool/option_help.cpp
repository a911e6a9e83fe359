#include "block/tool/option_help.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "vmm/base/option_words.h"

namespace vmm::block::tool {
namespace {

struct OptionWord {
  std::string_view name;
  std::string_view value;
  std::string_view text;
};

constexpr OptionWord kRawWords[] = {
    {"preallocation", "str", "Space that is set aside: off, falloc, full"},
    {"size", "size", "Size of the disk (of create)"},
};

constexpr OptionWord kQcow2Words[] = {
    {"backing_file", "str", "What the image stands on, as -b of create and -B of convert"},
    {"backing_fmt", "str", "Its format, as -F"},
    {"cluster_size", "size", "Of a cluster, 512 to 2M (64k if absent)"},
    {"compat", "str", "Version: 0.10 (v2) or 1.1 (v3, if absent)"},
    {"compression_type", "str", "Of compressed clusters: zlib (if absent) or zstd"},
    {"data_file", "str", "The disk's data go to this new file, or block device (of create)"},
    {"data_file_raw", "on/off", "That file reads right as a raw image"},
    {"encrypt.cipher-alg", "str", "aes-256 (if absent), aes-192, aes-128 or cast5-128"},
    {"encrypt.cipher-mode", "str", "xts (if absent), cbc, ctr or ecb"},
    {"encrypt.format", "str", "Encryption: luks, or the weak aes of old"},
    {"encrypt.hash-alg", "str", "Of the passphrase: sha256 (if absent), sha1, sha512, …"},
    {"encrypt.iter-time", "num", "Milliseconds that a try of a passphrase is to take (2000 if absent)"},
    {"encrypt.ivgen-alg", "str", "plain64 (if absent), plain or essiv"},
    {"encrypt.ivgen-hash-alg", "str", "With essiv: sha256 (if absent) or another"},
    {"encrypt.key-secret", "str", "ID of the --object secret that is the passphrase"},
    {"encryption", "on/off", "on: as encrypt.format=aes"},
    {"extended_l2", "on/off", "Parts of 1/32 of a cluster, for clusters of 16k or more"},
    {"lazy_refcounts", "on/off", "The image is repaired after a crash, and writes less before"},
    {"preallocation", "str", "Space that is set aside: off, metadata, falloc, full"},
    {"refcount_bits", "num", "Width of a reference count, 1 to 64 (16 if absent)"},
    {"size", "size", "Size of the disk (of create)"},
};

}  // namespace

bool asks_for_help(std::string_view words) {
  return std::ranges::any_of(split_option_words(words),
                             [](const std::string& word) { return word == "help" || word == "?"; });
}

Result<std::string> option_help(const std::string& format) {
  const bool is_qcow2 = format == "qcow2";
  if (!is_qcow2 && format != "raw") {
    return fail_configuration("the format '{}' cannot be made here; raw and qcow2 can", format);
  }
  const std::span<const OptionWord> words = is_qcow2 ? std::span<const OptionWord>(kQcow2Words) : kRawWords;
  std::string text = fmt::format("Supported {} options:\n", format);
  for (const OptionWord& word : words) {
    text += fmt::format("  {:<22} - {}\n", fmt::format("{}=<{}>", word.name, word.value), word.text);
  }
  return text;
}

}  // namespace vmm::block::tool
