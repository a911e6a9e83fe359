// Network interfaces that are made, changed and deleted by messages to the kernel (rtnetlink(7)).
//
// Threads: any.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vmm/base/error.h"

namespace vmm::net {

// One message of RTM_NEWLINK or RTM_DELLINK.
class LinkRequest {
 public:
  // flags: NLM_F_CREATE and such. index: of the interface; 0: of none, or it is named.
  LinkRequest(uint16_t type, uint16_t flags, int index = 0);

  // IFLA_…
  void add(uint16_t attribute, std::span<const std::byte> value);
  void add_number(uint16_t attribute, uint32_t value);
  void add_text(uint16_t attribute, std::string_view text);  // with a zero behind it
  // What is added until end() lies within this attribute.
  [[nodiscard]] size_t begin(uint16_t attribute);
  void end(size_t begun);

  std::span<const std::byte> bytes() const { return message_; }
  // Waits for the kernel's answer, at most 10 s. 0: done; else an errno.
  int send();

 private:
  std::vector<std::byte> message_;
};

// An interface that is deleted with this, if there is one.
class MadeLink {
 public:
  MadeLink() = default;
  explicit MadeLink(int index) : index_(index) {}
  MadeLink(MadeLink&& other) noexcept : index_(std::exchange(other.index_, 0)) {}
  MadeLink& operator=(MadeLink&&) = delete;
  MadeLink(const MadeLink&) = delete;
  MadeLink& operator=(const MadeLink&) = delete;
  ~MadeLink();

  int index() const { return index_; }

 private:
  int index_ = 0;
};

// False: it could not be.
bool delete_link(int index);

}  // namespace vmm::net
