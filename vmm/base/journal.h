// The journal of systemd, by its native protocol (systemd's docs/JOURNAL_NATIVE_PROTOCOL.md): a datagram an
// entry.
//
// Threads: any.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm {

struct JournalField {
  std::string_view name;  // capitals, digits and _
  std::string_view value;
};

// One entry. A value that has lines is told with its length.
std::string journal_entry(std::span<const JournalField> fields);

class Journal {
 public:
  static constexpr const char* kSocket = "/run/systemd/journal/socket";

  static Result<Journal> open(const std::string& path = kSocket);

  // Never waits: where the journal is behind, the entry is lost.
  void send(std::span<const JournalField> fields) const;

 private:
  explicit Journal(UniqueFd socket) : socket_(std::move(socket)) {}

  UniqueFd socket_;
};

// Does what is written there go to the journal, as systemd says in $JOURNAL_STREAM?
bool is_journal_stream(int fd);

}  // namespace vmm
