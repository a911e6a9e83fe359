#include "vmm/base/journal.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "vmm/base/unix_socket.h"

namespace vmm {
namespace {

// A datagram has an end; what is longer is of no use to who reads it.
constexpr size_t kLongestValue = size_t{32} << 10U;

void put_length(uint64_t length, std::string& entry) {
  for (unsigned i = 0; i < sizeof length; ++i) {
    entry += static_cast<char>(length >> (8 * i) & 0xffU);
  }
}

}  // namespace

std::string journal_entry(std::span<const JournalField> fields) {
  std::string entry;
  for (const JournalField& field : fields) {
    const std::string_view value = field.value.substr(0, kLongestValue);
    entry += field.name;
    if (value.find('\n') == std::string_view::npos) {
      entry += '=';
    } else {
      entry += '\n';
      put_length(value.size(), entry);
    }
    entry += value;
    entry += '\n';
  }
  return entry;
}

Result<Journal> Journal::open(const std::string& path) {
  VMM_ASSIGN_OR_RETURN(UniqueFd socket, connect_unix_datagram("the journal", path));
  return Journal(std::move(socket));
}

void Journal::send(std::span<const JournalField> fields) const {
  const std::string entry = journal_entry(fields);
  static_cast<void>(::send(socket_.get(), entry.data(), entry.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
}

bool is_journal_stream(int fd) {
  const char* const stream = std::getenv("JOURNAL_STREAM");
  struct stat info{};
  return stream != nullptr && ::fstat(fd, &info) == 0 &&
         stream == fmt::format("{}:{}", uint64_t{info.st_dev}, uint64_t{info.st_ino});
}

}  // namespace vmm
