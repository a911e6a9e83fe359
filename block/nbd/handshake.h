// Handshake: what server and client agree upon before the first request (fixed newstyle negotiation).
//
// It is given whole messages and appends what is to be sent to a buffer. Whatever a client sends is answered
// as the protocol wants it, or ends the conversation. Threads: those of its session.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "block/nbd/export.h"
#include "block/nbd/protocol.h"

namespace vmm::block::nbd {

// Options longer than that end the conversation: an export's name and a handful of others fit.
inline constexpr uint32_t kMaxOptionBytes = 16U << 10U;

class Handshake {
 public:
  enum class Next : uint8_t {
    kOption,
    kTransmission,
    kEnd,    // as the client asked for
    kFault,  // as the client does not keep to the protocol
  };
  using Output = std::vector<std::byte>;

  // The export outlives it.
  explicit Handshake(const Export& exported) : export_(exported) {}

  static void greet(Output& output);
  Next take_client_flags(uint32_t flags);
  // data: at most kMaxOptionBytes.
  Next take_option(uint32_t option, std::span<const std::byte> data, Output& output);

  bool has_structured_replies() const { return has_structured_replies_; }
  bool has_block_status() const { return has_block_status_; }

 private:
  class Reader;

  Next take_export_name(std::string_view name, Output& output) const;
  void list(std::span<const std::byte> data, Output& output) const;
  Next take_info(Option option, Reader data, Output& output) const;
  void take_meta_context(Option option, Reader data, Output& output);

  const Export& export_;
  bool is_fixed_ = false;
  bool sends_no_zeroes_ = false;
  bool has_structured_replies_ = false;
  bool has_block_status_ = false;
};

}  // namespace vmm::block::nbd
