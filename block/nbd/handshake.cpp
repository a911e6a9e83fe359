#include "block/nbd/handshake.h"

#include <concepts>

namespace vmm::block::nbd {
namespace {

void reply(Handshake::Output& output, uint32_t option, OptionReply type, size_t length = 0) {
  append_be(output, kOptionReplyMagic);
  append_be(output, option);
  append_be(output, static_cast<uint32_t>(type));
  append_be(output, static_cast<uint32_t>(length));
}

void reply(Handshake::Output& output, Option option, OptionReply type, size_t length = 0) {
  reply(output, static_cast<uint32_t>(option), type, length);
}

// With a sentence for the person at the client.
void refuse(Handshake::Output& output, Option option, OptionReply type, std::string_view reason) {
  reply(output, option, type, reason.size());
  append_text(output, reason);
}

void append_text_info(Handshake::Output& output, Option option, Info info, std::string_view text) {
  reply(output, option, OptionReply::kInfo, sizeof(Info) + text.size());
  append_be(output, static_cast<uint16_t>(info));
  append_text(output, text);
}

constexpr std::string_view kNoSuchExport = "there is no export of that name";

}  // namespace

// The data of an option, from front to back. What is not there any more makes it bad.
class Handshake::Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <std::unsigned_integral T>
  T take() {
    const auto value = read_be_at<T>(rest_, 0);
    is_bad_ |= !value;
    rest_ = value ? rest_.subspan(sizeof(T)) : std::span<const std::byte>();
    return value.value_or(0);
  }
  // Behind its length, of 32 bits.
  std::string_view take_string() {
    const auto length = take<uint32_t>();
    if (length > rest_.size() || length > kMaxStringBytes) {
      is_bad_ = true;
      rest_ = {};
      return {};
    }
    const auto bytes = rest_.first(length);
    rest_ = rest_.subspan(length);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  bool is_bad() const { return is_bad_; }
  bool is_whole() const { return !is_bad_ && rest_.empty(); }

 private:
  std::span<const std::byte> rest_;
  bool is_bad_ = false;
};

void Handshake::greet(Output& output) {
  append_be(output, kNbdMagic);
  append_be(output, kOptionMagic);
  append_be(output, static_cast<uint16_t>(kFixedNewstyle | kNoZeroes));
}

Handshake::Next Handshake::take_client_flags(uint32_t flags) {
  if ((flags & ~uint32_t{kFixedNewstyle | kNoZeroes}) != 0) {
    return Next::kFault;
  }
  is_fixed_ = (flags & kFixedNewstyle) != 0;
  sends_no_zeroes_ = (flags & kNoZeroes) != 0;
  return Next::kOption;
}

Handshake::Next Handshake::take_option(uint32_t option, std::span<const std::byte> data, Output& output) {
  const auto known = static_cast<Option>(option);
  // Without fixed newstyle, a client understands no replies.
  if (!is_fixed_ && known != Option::kExportName) {
    return Next::kFault;
  }
  switch (known) {
    case Option::kExportName:
      return take_export_name({reinterpret_cast<const char*>(data.data()), data.size()}, output);
    case Option::kAbort:
      reply(output, option, OptionReply::kAck);
      return Next::kEnd;
    case Option::kList:
      list(data, output);
      return Next::kOption;
    case Option::kStartTls:
      refuse(output, known, OptionReply::kErrUnsupported, "there is no TLS here");
      return Next::kOption;
    case Option::kInfo:
    case Option::kGo:
      return take_info(known, Reader(data), output);
    case Option::kStructuredReply:
      if (data.empty()) {
        has_structured_replies_ = true;
        reply(output, option, OptionReply::kAck);
      } else {
        refuse(output, known, OptionReply::kErrInvalid, "this option has no data");
      }
      return Next::kOption;
    case Option::kListMetaContext:
    case Option::kSetMetaContext:
      take_meta_context(known, Reader(data), output);
      return Next::kOption;
  }
  reply(output, option, OptionReply::kErrUnsupported);
  return Next::kOption;
}

// The old way in: there is no answer but success.
Handshake::Next Handshake::take_export_name(std::string_view name, Output& output) const {
  if (name != export_.name) {
    return Next::kFault;
  }
  append_be(output, export_.disk->size_bytes());
  append_be(output, transmission_flags(export_, has_structured_replies_));
  if (!sends_no_zeroes_) {
    output.resize(output.size() + kExportNameZeroes);
  }
  return Next::kTransmission;
}

void Handshake::list(std::span<const std::byte> data, Output& output) const {
  if (!data.empty()) {
    refuse(output, Option::kList, OptionReply::kErrInvalid, "this option has no data");
    return;
  }
  reply(output, Option::kList, OptionReply::kServer,
        sizeof(uint32_t) + export_.name.size() + export_.description.size());
  append_be(output, static_cast<uint32_t>(export_.name.size()));
  append_text(output, export_.name);
  append_text(output, export_.description);
  reply(output, Option::kList, OptionReply::kAck);
}

Handshake::Next Handshake::take_info(Option option, Reader data, Output& output) const {
  const std::string_view name = data.take_string();
  bool wants_name = false;
  bool wants_description = false;
  bool wants_block_size = false;
  for (uint16_t left = data.take<uint16_t>(); left > 0 && !data.is_bad(); --left) {
    const auto wanted = static_cast<Info>(data.take<uint16_t>());
    wants_name |= wanted == Info::kName;
    wants_description |= wanted == Info::kDescription;
    wants_block_size |= wanted == Info::kBlockSize;
  }
  if (!data.is_whole()) {
    refuse(output, option, OptionReply::kErrInvalid, "the option's lengths do not agree");
    return Next::kOption;
  }
  if (name != export_.name) {
    refuse(output, option, OptionReply::kErrUnknown, kNoSuchExport);
    return Next::kOption;
  }
  reply(output, option, OptionReply::kInfo, 12);
  append_be(output, static_cast<uint16_t>(Info::kExport));
  append_be(output, export_.disk->size_bytes());
  append_be(output, transmission_flags(export_, has_structured_replies_));
  if (wants_name) {
    append_text_info(output, option, Info::kName, export_.name);
  }
  if (wants_description && !export_.description.empty()) {
    append_text_info(output, option, Info::kDescription, export_.description);
  }
  if (wants_block_size) {
    const BlockSizes sizes = block_sizes(*export_.disk);
    reply(output, option, OptionReply::kInfo, 14);
    append_be(output, static_cast<uint16_t>(Info::kBlockSize));
    append_be(output, sizes.minimum);
    append_be(output, sizes.preferred);
    append_be(output, sizes.maximum);
  }
  reply(output, option, OptionReply::kAck);
  return option == Option::kGo ? Next::kTransmission : Next::kOption;
}

void Handshake::take_meta_context(Option option, Reader data, Output& output) {
  const bool is_list = option == Option::kListMetaContext;
  const std::string_view name = data.take_string();
  const auto queries = data.take<uint32_t>();
  bool is_wanted = is_list && queries == 0;
  for (uint32_t left = queries; left > 0 && !data.is_bad(); --left) {
    const std::string_view query = data.take_string();
    // A namespace alone asks what there is in it.
    is_wanted |= query == kAllocationContext || (is_list && query == "base:");
  }
  if (!data.is_whole() || !has_structured_replies_) {
    refuse(output, option, OptionReply::kErrInvalid,
           data.is_whole() ? "structured replies have not been agreed upon"
                           : "the option's lengths do not agree");
    return;
  }
  if (name != export_.name) {
    refuse(output, option, OptionReply::kErrUnknown, kNoSuchExport);
    return;
  }
  if (!is_list) {
    has_block_status_ = is_wanted;
  }
  if (is_wanted) {
    reply(output, option, OptionReply::kMetaContext, sizeof(uint32_t) + kAllocationContext.size());
    append_be(output, kAllocationContextId);
    append_text(output, kAllocationContext);
  }
  reply(output, option, OptionReply::kAck);
}

}  // namespace vmm::block::nbd
