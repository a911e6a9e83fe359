#include "boot/aml.h"

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm::boot::aml {

namespace {

constexpr uint8_t kNameOp = 0x08;
constexpr uint8_t kBytePrefix = 0x0a;
constexpr uint8_t kWordPrefix = 0x0b;
constexpr uint8_t kDWordPrefix = 0x0c;
constexpr uint8_t kStringPrefix = 0x0d;
constexpr uint8_t kQWordPrefix = 0x0e;
constexpr uint8_t kScopeOp = 0x10;
constexpr uint8_t kPackageOp = 0x12;
constexpr uint8_t kExtendedPrefix = 0x5b;
constexpr uint8_t kDeviceOp = 0x82;
constexpr uint8_t kRootChar = '\\';

void append(Bytes& to, uint8_t byte) { to.push_back(std::byte{byte}); }

void put_text(Bytes& to, std::string_view text) {
  const auto bytes = as_bytes(text);
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void put_name(Bytes& to, std::string_view name) {
  VMM_CHECK(name.size() == 4, "an AML name has four characters");
  put_text(to, name);
}

template <typename T>
void put_prefixed(Bytes& to, uint8_t prefix, T value) {
  append(to, prefix);
  const size_t at = to.size();
  to.resize(at + sizeof value);
  store_le<T>(to.data() + at, value);
}

void put_integer(Bytes& to, uint64_t value) {
  if (value <= 1) {
    append(to, static_cast<uint8_t>(value));  // ZeroOp, OneOp
  } else if (value <= UINT8_MAX) {
    put_prefixed(to, kBytePrefix, static_cast<uint8_t>(value));
  } else if (value <= UINT16_MAX) {
    put_prefixed(to, kWordPrefix, static_cast<uint16_t>(value));
  } else if (value <= UINT32_MAX) {
    put_prefixed(to, kDWordPrefix, static_cast<uint32_t>(value));
  } else {
    put_prefixed(to, kQWordPrefix, value);
  }
}

// Section 20.2.4: the length counts its own bytes; one byte up to 63, else 4 bits and 1 to 3 bytes more.
void put_package_length(Bytes& to, size_t content_bytes) {
  if (content_bytes + 1 < 0x40) {
    append(to, static_cast<uint8_t>(content_bytes + 1));
    return;
  }
  size_t more = 1;
  while (content_bytes + 1 + more >= size_t{1} << (4 + 8 * more)) {
    ++more;
  }
  VMM_CHECK(more <= 3, "an AML package is too long");
  const size_t length = content_bytes + 1 + more;
  append(to, static_cast<uint8_t>(more << 6 | (length & 0xf)));
  for (size_t i = 0; i < more; ++i) {
    append(to, static_cast<uint8_t>(length >> (4 + 8 * i) & 0xff));
  }
}

}  // namespace

void append(Bytes& to, const Bytes& more) { to.insert(to.end(), more.begin(), more.end()); }

Bytes name_integer(std::string_view name, uint64_t value) {
  Bytes bytes;
  append(bytes, kNameOp);
  put_name(bytes, name);
  put_integer(bytes, value);
  return bytes;
}

Bytes name_string(std::string_view name, std::string_view text) {
  Bytes bytes;
  append(bytes, kNameOp);
  put_name(bytes, name);
  append(bytes, kStringPrefix);
  put_text(bytes, text);
  append(bytes, 0);
  return bytes;
}

Bytes name_integers(std::string_view name, std::initializer_list<uint64_t> values) {
  Bytes elements;
  append(elements, static_cast<uint8_t>(values.size()));
  for (const uint64_t value : values) {
    put_integer(elements, value);
  }
  Bytes bytes;
  append(bytes, kNameOp);
  put_name(bytes, name);
  append(bytes, kPackageOp);
  put_package_length(bytes, elements.size());
  append(bytes, elements);
  return bytes;
}

Bytes device(std::string_view name, const Bytes& body) {
  Bytes bytes;
  append(bytes, kExtendedPrefix);
  append(bytes, kDeviceOp);
  put_package_length(bytes, 4 + body.size());
  put_name(bytes, name);
  append(bytes, body);
  return bytes;
}

Bytes scope(std::string_view name, const Bytes& body) {
  Bytes bytes;
  append(bytes, kScopeOp);
  put_package_length(bytes, 5 + body.size());
  append(bytes, kRootChar);
  put_name(bytes, name);
  append(bytes, body);
  return bytes;
}

}  // namespace vmm::boot::aml
