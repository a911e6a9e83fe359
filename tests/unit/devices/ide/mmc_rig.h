// A CD/DVD drive without a controller: commands go in as bytes, outcomes come out.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <variant>
#include <vector>

#include "devices/ide/mmc_commands.h"

namespace vmm::ide {

// gtest prints them.
inline void PrintTo(const Sense& sense, std::ostream* out) {
  *out << std::hex << int{static_cast<uint8_t>(sense.sense_key)} << "/" << int{sense.asc} << "/"
       << int{sense.ascq};
}

class MmcRig {
 public:
  using Bytes = std::vector<uint8_t>;

  // A drive that has told of its reset, with a disc of that many blocks; 0: no disc.
  explicit MmcRig(uint32_t blocks = 1000) {
    if (blocks > 0) {
      put_medium(state, blocks);
    }
    state.has_reset_attention = false;
    state.has_medium_attention = false;
    state.event = MediaEvent::kNone;
  }

  Outcome run(std::initializer_list<uint8_t> cdb) {
    std::vector<std::byte> bytes;
    for (const uint8_t byte : cdb) {
      bytes.push_back(std::byte{byte});
    }
    return execute(Cdb(bytes), state);
  }

  bool succeeds(std::initializer_list<uint8_t> cdb) { return std::holds_alternative<Done>(run(cdb)); }

  // Nothing where the command does not fail.
  std::optional<Sense> sense_of(std::initializer_list<uint8_t> cdb) {
    const Outcome outcome = run(cdb);
    const auto* sense = std::get_if<Sense>(&outcome);
    return sense == nullptr ? std::nullopt : std::optional(*sense);
  }

  // Empty where the command has no reply.
  Bytes reply_to(std::initializer_list<uint8_t> cdb) {
    const Outcome outcome = run(cdb);
    const auto* reply = std::get_if<Reply>(&outcome);
    Bytes bytes;
    if (reply != nullptr) {
      for (const std::byte byte : reply->bytes) {
        bytes.push_back(std::to_integer<uint8_t>(byte));
      }
    }
    return bytes;
  }

  std::optional<Sense> test_unit_ready() { return sense_of({0x00}); }

  MmcState state;
};

}  // namespace vmm::ide
