// The NBD protocol: its numbers, and its messages read and made field by field.
//
// After doc/proto.md of the Network Block Device project, with its names: fixed newstyle negotiation,
// structured replies, block status of base:allocation. All numbers are big-endian. Threads: functions without
// state.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "vmm/base/bytes.h"

namespace vmm::block::nbd {

// --- Negotiation ---

inline constexpr uint64_t kNbdMagic = 0x4e42444d41474943;     // "NBDMAGIC"
inline constexpr uint64_t kOptionMagic = 0x49484156454f5054;  // "IHAVEOPT"
inline constexpr uint64_t kOptionReplyMagic = 0x3e889045565a9;

// Of the server's greeting and, with the same bits, of the client's answer.
inline constexpr uint16_t kFixedNewstyle = 1U << 0U;
inline constexpr uint16_t kNoZeroes = 1U << 1U;

inline constexpr size_t kClientFlagsBytes = 4;
inline constexpr size_t kOptionHeaderBytes = 16;
inline constexpr size_t kExportNameZeroes = 124;

enum class Option : uint32_t {
  kExportName = 1,
  kAbort = 2,
  kList = 3,
  kStartTls = 5,
  kInfo = 6,
  kGo = 7,
  kStructuredReply = 8,
  kListMetaContext = 9,
  kSetMetaContext = 10,
};

enum class OptionReply : uint32_t {
  kAck = 1,
  kServer = 2,
  kInfo = 3,
  kMetaContext = 4,
  kErrUnsupported = 0x8000'0001,
  kErrInvalid = 0x8000'0003,
  kErrUnknown = 0x8000'0006,
};

enum class Info : uint16_t { kExport = 0, kName = 1, kDescription = 2, kBlockSize = 3 };

// What any string is at most, in bytes.
inline constexpr size_t kMaxStringBytes = 4096;

// --- Transmission ---

// Of the export.
inline constexpr uint16_t kHasFlags = 1U << 0U;
inline constexpr uint16_t kReadOnly = 1U << 1U;
inline constexpr uint16_t kSendFlush = 1U << 2U;
inline constexpr uint16_t kSendFua = 1U << 3U;
inline constexpr uint16_t kSendTrim = 1U << 5U;
inline constexpr uint16_t kSendWriteZeroes = 1U << 6U;
inline constexpr uint16_t kSendDf = 1U << 7U;
inline constexpr uint16_t kCanMultiConn = 1U << 8U;

enum class Command : uint16_t {
  kRead = 0,
  kWrite = 1,
  kDisconnect = 2,
  kFlush = 3,
  kTrim = 4,
  kWriteZeroes = 6,
  kBlockStatus = 7,
};

// Of a request.
inline constexpr uint16_t kFua = 1U << 0U;
inline constexpr uint16_t kNoHole = 1U << 1U;
inline constexpr uint16_t kDf = 1U << 2U;
inline constexpr uint16_t kReqOne = 1U << 3U;

inline constexpr uint32_t kRequestMagic = 0x25609513;
inline constexpr uint32_t kSimpleReplyMagic = 0x67446698;
inline constexpr uint32_t kStructuredReplyMagic = 0x668e33ef;

inline constexpr size_t kRequestBytes = 28;
inline constexpr size_t kSimpleReplyBytes = 16;
inline constexpr size_t kChunkHeaderBytes = 20;

// What a client may ask of any server without having been told more.
inline constexpr uint32_t kMaxPayloadBytes = 32U << 20U;

enum class Error : uint32_t {
  kNone = 0,
  kPermission = 1,
  kIo = 5,
  kNoMemory = 12,
  kInvalid = 22,
  kNoSpace = 28,
  kNotSupported = 95,
};

inline constexpr uint16_t kChunkIsLast = 1;  // NBD_REPLY_FLAG_DONE

enum class Chunk : uint16_t {
  kNone = 0,
  kOffsetData = 1,
  kBlockStatus = 5,
  kError = 0x8001,
};

// Of base:allocation.
inline constexpr uint32_t kStateHole = 1U << 0U;
inline constexpr uint32_t kStateZero = 1U << 1U;
inline constexpr std::string_view kAllocationContext = "base:allocation";
inline constexpr uint32_t kAllocationContextId = 1;

struct OptionHeader {
  uint32_t option = 0;  // any number
  uint32_t length = 0;
};

struct Request {
  uint16_t flags = 0;
  uint16_t command = 0;  // any number
  uint64_t cookie = 0;   // the client's, given back to it
  uint64_t offset = 0;
  uint32_t length = 0;
};

// nullopt for both: there is another magic number.
inline std::optional<OptionHeader> parse_option(std::span<const std::byte, kOptionHeaderBytes> bytes) {
  if (load_be<uint64_t>(bytes.data()) != kOptionMagic) {
    return std::nullopt;
  }
  return OptionHeader{.option = load_be<uint32_t>(&bytes[8]), .length = load_be<uint32_t>(&bytes[12])};
}

inline std::optional<Request> parse_request(std::span<const std::byte, kRequestBytes> bytes) {
  if (load_be<uint32_t>(bytes.data()) != kRequestMagic) {
    return std::nullopt;
  }
  return Request{.flags = load_be<uint16_t>(&bytes[4]),
                 .command = load_be<uint16_t>(&bytes[6]),
                 .cookie = load_be<uint64_t>(&bytes[8]),
                 .offset = load_be<uint64_t>(&bytes[16]),
                 .length = load_be<uint32_t>(&bytes[24])};
}

// REQUIRES for both: so many bytes at `to`.
inline void put_simple_reply(std::byte* to, Error error, uint64_t cookie) {
  store_be(to, kSimpleReplyMagic);
  store_be(to + 4, static_cast<uint32_t>(error));
  store_be(to + 8, cookie);
}

// The only chunk of its reply. length: of what follows the header.
inline void put_chunk_header(std::byte* to, Chunk type, uint64_t cookie, uint32_t length) {
  store_be(to, kStructuredReplyMagic);
  store_be(to + 4, kChunkIsLast);
  store_be(to + 6, static_cast<uint16_t>(type));
  store_be(to + 8, cookie);
  store_be(to + 16, length);
}

template <std::unsigned_integral T>
void append_be(std::vector<std::byte>& to, T value) {
  to.resize(to.size() + sizeof value);
  store_be(to.data() + to.size() - sizeof value, value);
}

inline void append_text(std::vector<std::byte>& to, std::string_view text) {
  const auto bytes = as_bytes(text);
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace vmm::block::nbd
