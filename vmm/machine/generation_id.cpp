#include "vmm/machine/generation_id.h"

#include <sys/mman.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace vmm {
namespace {

using Guid = std::array<uint8_t, 16>;

constexpr size_t kIdPageBytes = 4096;

// A GUID in memory: the first three fields of the text are numbers, and stand little-endian.
void put_guid(const Guid& guid, std::byte* to) {
  constexpr std::array<size_t, 16> kOrder = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
  for (const size_t at : kOrder) {
    *to++ = std::byte{guid[at]};
  }
}

Result<Guid> random_guid() {
  Guid guid{};
  if (::getrandom(guid.data(), guid.size(), 0) != static_cast<ssize_t>(guid.size())) {
    return fail("<genid>: the host's kernel gives no random numbers: {}", errno_text(errno));
  }
  return guid;
}

}  // namespace

Result<Mapping> make_generation_id_page(const domain::Domain& domain) {
  VMM_ASSIGN_OR_RETURN(Mapping page, Mapping::map("the generation id", kIdPageBytes, PROT_READ | PROT_WRITE,
                                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  VMM_ASSIGN_OR_RETURN(Guid guid, random_guid());
  const bool goes_back_in_time = std::ranges::any_of(domain.disks, &domain::Disk::transient);
  if (domain.generation_id->value && !goes_back_in_time) {
    guid = *domain.generation_id->value;
  }
  put_guid(guid, page.data());
  return page;
}

}  // namespace vmm
