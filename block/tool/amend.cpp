// vmm-img amend: other options for an image that there is already.
#include <bit>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "block/changed_image.h"
#include "block/crypto/luks.h"
#include "block/qcow2/amend.h"
#include "block/tool/command_line.h"
#include "block/tool/commands.h"
#include "block/tool/create_options.h"
#include "block/tool/secrets.h"
#include "block/tool/text.h"

namespace vmm::block::tool {
namespace {

struct AmendCommand {
  std::string path;
  std::string format = "qcow2";
  std::string words;
  Secrets secrets;
  bool is_quiet = false;
};

// What is to become of key slots.
struct SlotWish {
  bool is_active = false;
  std::optional<size_t> slot;
  std::shared_ptr<const Secret> old_secret;
  std::shared_ptr<const Secret> new_secret;
  std::string new_id;
  std::chrono::milliseconds time = kLuksTime;
};

Result<qcow2::AmendOptions> take_amend_words(CreateWords& words) {
  qcow2::AmendOptions options;
  if (const auto compat = words.take("compat")) {
    if (*compat != "1.1" && *compat != "v3" && *compat != "0.10" && *compat != "v2") {
      return fail_configuration("-o compat={}: 0.10 (v2) and 1.1 (v3) can be", *compat);
    }
    options.version = *compat == "1.1" || *compat == "v3" ? 3 : 2;
  }
  VMM_ASSIGN_OR_RETURN(const std::optional<uint64_t> bits, words.take_size("refcount_bits"));
  if (bits && (!std::has_single_bit(*bits) || *bits > 64)) {
    return fail_configuration("-o refcount_bits={}: a power of two up to 64 can be", *bits);
  }
  if (bits) {
    options.refcount_order = static_cast<uint32_t>(std::countr_zero(*bits));
  }
  if (words.has("lazy_refcounts")) {
    VMM_ASSIGN_OR_RETURN(options.lazy_refcounts, words.take_flag("lazy_refcounts", false));
  }
  options.data_file = words.take("data_file");
  if (words.has("data_file_raw")) {
    VMM_ASSIGN_OR_RETURN(options.data_file_raw, words.take_flag("data_file_raw", false));
  }
  return options;
}

// What another command does.
Status refuse_other_words(const CreateWords& words) {
  if (words.has("backing_file") || words.has("backing_fmt")) {
    return fail_configuration(
        "-o backing_file: what an image stands on is not changed by amend, as it is not by qemu-img; use "
        "rebase");
  }
  if (words.has("size")) {
    return fail_configuration("-o size: use vmm-img resize, which asks before anything is cut off");
  }
  return {};
}

Result<std::shared_ptr<const Secret>> take_secret(CreateWords& words, const std::string& name,
                                                  const Secrets& secrets, std::string* id) {
  auto word = words.take(name);
  if (!word) {
    return nullptr;
  }
  if (id != nullptr) {
    *id = *word;
  }
  return secrets.named(*word);
}

Result<std::optional<SlotWish>> take_slot_wish(CreateWords& words, const Secrets& secrets) {
  SlotWish wish;
  const auto state = words.take("encrypt.state");
  VMM_ASSIGN_OR_RETURN(wish.old_secret, take_secret(words, "encrypt.old-secret", secrets, nullptr));
  VMM_ASSIGN_OR_RETURN(wish.new_secret, take_secret(words, "encrypt.new-secret", secrets, &wish.new_id));
  VMM_ASSIGN_OR_RETURN(const std::optional<uint64_t> slot, words.take_size("encrypt.keyslot"));
  VMM_ASSIGN_OR_RETURN(const std::optional<uint64_t> time, words.take_size("encrypt.iter-time"));
  if (!state && !wish.old_secret && !wish.new_secret && !slot && !time) {
    return std::nullopt;
  }
  if (state != "active" && state != "inactive") {
    return fail_configuration("-o encrypt.state must say what key slots are to be: active or inactive");
  }
  wish.is_active = state == "active";
  if (slot && *slot >= kLuksKeySlots) {
    return fail_configuration("-o encrypt.keyslot={}: 0 to {} can be", *slot, kLuksKeySlots - 1);
  }
  constexpr uint64_t kMost = 60'000;
  if (time && (*time == 0 || *time > kMost || !wish.is_active)) {
    return fail_configuration("-o encrypt.iter-time={}: from 1 to {} milliseconds, with encrypt.state=active",
                              *time, kMost);
  }
  wish.slot = slot;
  wish.time = time ? std::chrono::milliseconds(*time) : kLuksTime;
  if (wish.is_active && !wish.new_secret) {
    return fail_configuration("-o encrypt.state=active needs encrypt.new-secret=NAME, the passphrase to add");
  }
  if (!wish.is_active && (wish.new_secret || (wish.old_secret != nullptr) == wish.slot.has_value())) {
    return fail_configuration(
        "-o encrypt.state=inactive needs either encrypt.keyslot=N or encrypt.old-secret=NAME, the passphrase "
        "to forget, and nothing else");
  }
  return wish;
}

// --- Key slots ---

LuksStore store_of(ChangedImage& target) {
  SyncFile* const file = target.file.get();
  const uint64_t begin = target.header.crypto_header->offset;
  return {
      .read = [file, begin](uint64_t offset,
                            std::span<std::byte> to) { return file->read(FileOffset(begin + offset), to); },
      .write = [file, begin](
                   uint64_t offset,
                   std::span<const std::byte> from) { return file->write(FileOffset(begin + offset), from); },
      .sync = [file] { return file->sync(); },
      .header_bytes = target.header.crypto_header->length};
}

// With the old passphrase, or whichever of those given opens the image.
Status add_passphrase(const AmendCommand& command, const SlotWish& wish, const LuksStore& store) {
  Passphrases known;
  if (wish.old_secret != nullptr) {
    known.push_back(wish.old_secret);
  } else {
    VMM_ASSIGN_OR_RETURN(known, command.secrets.passphrases());
    std::erase(known, wish.new_secret);
  }
  if (known.empty()) {
    return fail_configuration("to add a passphrase needs one that opens the image: --object secret,…");
  }
  for (size_t i = 0;; ++i) {
    if (i + 1 == known.size() || open_luks(store.read, store.header_bytes, *known[i])) {
      VMM_TRY(add_luks_slot(store, *known[i], *wish.new_secret, wish.slot, wish.time));
      return {};
    }
  }
}

Status remove_passphrase(const SlotWish& wish, const LuksStore& store) {
  std::vector<size_t> slots;
  if (wish.slot) {
    slots.push_back(*wish.slot);
  } else {
    VMM_ASSIGN_OR_RETURN(slots, find_luks_slots(store, *wish.old_secret));
  }
  if (slots.empty()) {
    return fail("encrypt.old-secret: that passphrase does not open any LUKS key slot");
  }
  return erase_luks_slots(store, slots);
}

Status change_slots(const AmendCommand& command, const SlotWish& wish, ChangedImage& target) {
  if (target.header.crypt != qcow2::CryptMethod::kLuks) {
    return fail("{}: is not encrypted with LUKS, and has no key slots", command.path);
  }
  const LuksStore store = store_of(target);
  const Status done = wish.is_active ? add_passphrase(command, wish, store) : remove_passphrase(wish, store);
  return done ? Status() : std::unexpected(done.error().within(command.path));
}

// ---

Result<int> amend(const AmendCommand& command) {
  if (command.format != "qcow2") {
    VMM_TRY(disk_format(command.format));
    return fail_configuration("{}: the format {} has no options to be changed; qcow2 has", command.path,
                              command.format);
  }
  VMM_ASSIGN_OR_RETURN(CreateWords words, CreateWords::parse(command.words));
  VMM_TRY(refuse_other_words(words));
  VMM_ASSIGN_OR_RETURN(const qcow2::AmendOptions options, take_amend_words(words));
  const bool has_options = options != qcow2::AmendOptions();
  VMM_ASSIGN_OR_RETURN(const std::optional<SlotWish> wish, take_slot_wish(words, command.secrets));
  VMM_TRY(words.expect_empty(command.format));
  if (has_options == wish.has_value()) {
    return fail_configuration(
        "-o must say what is to change; the key slots (encrypt.…) are changed in a step of their own");
  }
  VMM_ASSIGN_OR_RETURN(ChangedImage target, open_changed_image(command.path));
  VMM_TRY(wish ? change_slots(command, *wish, target) : qcow2::amend(*target.file, target.header, options));
  return 0;
}

}  // namespace

void declare_amend(CommandLine& command) {
  auto command_options = std::make_shared<AmendCommand>();
  command.set_footer(
      "Options of qcow2: compat (0.10 or 1.1), lazy_refcounts, refcount_bits, data_file (the name only),\n"
      "data_file_raw (off). Passphrases: encrypt.state=active,encrypt.new-secret=NAME adds one, into\n"
      "encrypt.keyslot=N or the first key slot that is free, with encrypt.iter-time; it needs one that "
      "opens\n"
      "the image (encrypt.old-secret, or any --object). encrypt.state=inactive with encrypt.old-secret=NAME\n"
      "or encrypt.keyslot=N makes the image forget one. No other program may use the image meanwhile.");
  command.add_option("-f", command_options->format, "Format: qcow2 (what is used if absent)")
      .type_name("FMT");
  command.add_option("-o", command_options->words, "name=value,…, see below").required().type_name("OPTIONS");
  command_options->secrets.add_to(command);
  command.add_flag("-q,--quiet", command_options->is_quiet, "Print nothing but errors");
  command.add_option("FILENAME", command_options->path).required().type_name("");
  command.set_action([command_options] { return amend(*command_options); });
}

}  // namespace vmm::block::tool
