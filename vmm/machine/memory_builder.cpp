#include "vmm/machine/memory_builder.h"

#include <sys/mman.h>
#include <sys/sysinfo.h>

#include <bit>
#include <cerrno>
#include <utility>
#include <vector>

#include "boot/memory_map.h"
#include "vmm/base/bytes.h"
#include "vmm/base/unique_fd.h"

namespace vmm {
namespace {

constexpr unsigned kHugePageShift = 26;  // MAP_HUGE_SHIFT and MFD_HUGE_SHIFT

// Aligned like this, the host can back the guest with huge pages and KVM can map them as such.
constexpr size_t kTransparentHugePage = 2U << 20;

uint64_t host_memory_bytes() {
  struct sysinfo info{};
  return ::sysinfo(&info) == 0 ? uint64_t{info.totalram} * info.mem_unit : UINT64_MAX;
}

unsigned huge_page_flags(const domain::MemoryBacking& backing, unsigned huge_flag) {
  if (!backing.hugepages) {
    return 0;
  }
  const unsigned size_bits =
      backing.hugepage_bytes == 0 ? 0 : static_cast<unsigned>(std::countr_zero(backing.hugepage_bytes));
  return huge_flag | size_bits << kHugePageShift;
}

Result<UniqueFd> make_memfd(const domain::Domain& domain, uint64_t length_bytes) {
  UniqueFd fd(
      ::memfd_create("guest-memory", MFD_CLOEXEC | huge_page_flags(domain.memory_backing, MFD_HUGETLB)));
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(length_bytes)) != 0) {
    return fail("{}: <memoryBacking>: cannot make a memfd of {} bytes: {}",
                domain.where(domain.memory_backing.line), length_bytes, errno_text(errno));
  }
  return fd;
}

Result<Mapping> map_region(const domain::Domain& domain, uint64_t length_bytes) {
  const domain::MemoryBacking& backing = domain.memory_backing;
  const bool is_memfd = backing.source == domain::MemorySource::kMemfd;
  UniqueFd fd;
  int flags = MAP_NORESERVE | (backing.shared || is_memfd ? MAP_SHARED : MAP_PRIVATE);
  if (is_memfd) {
    VMM_ASSIGN_OR_RETURN(fd, make_memfd(domain, length_bytes));
  } else {
    flags |= MAP_ANONYMOUS | static_cast<int>(huge_page_flags(backing, MAP_HUGETLB));
  }
  if (backing.hugepages) {
    // Without a reservation, a host that runs out of huge pages would kill us in the middle of the guest's
    // run.
    flags &= ~MAP_NORESERVE;
  }
  auto mapping = Mapping::map_aligned("guest memory", length_bytes, PROT_READ | PROT_WRITE, flags, fd.get(),
                                      backing.hugepages ? 0 : kTransparentHugePage);
  if (!mapping && backing.hugepages) {
    return fail(
        "{}: <memoryBacking>/<hugepages>: {}; reserve huge pages of this size (sysctl vm.nr_hugepages for 2 "
        "MiB, "
        "hugepagesz=1G hugepages=N on the host's kernel command line for 1 GiB), or remove <hugepages>",
        domain.where(backing.line), mapping.error().message());
  }
  return mapping;
}

Status apply_advice(const domain::Domain& domain, const Mapping& mapping) {
  const domain::MemoryBacking& backing = domain.memory_backing;
  // Advice: where the kernel does not know it, nothing is lost.
  ::madvise(mapping.data(), mapping.size(), MADV_DONTDUMP);
  ::madvise(mapping.data(), mapping.size(), backing.share_pages ? MADV_MERGEABLE : MADV_UNMERGEABLE);
  if (!backing.hugepages) {
    ::madvise(mapping.data(), mapping.size(), MADV_HUGEPAGE);
  }
  if (backing.allocate_at_start && ::madvise(mapping.data(), mapping.size(), MADV_POPULATE_WRITE) != 0) {
    return fail("{}: <memoryBacking>/<allocation mode='immediate'>: the host cannot provide {} bytes now: {}",
                domain.where(backing.line), mapping.size(), errno_text(errno));
  }
  if (backing.locked && ::mlock(mapping.data(), mapping.size()) != 0) {
    return fail(
        "{}: <memoryBacking>/<locked>: cannot lock {} bytes of guest memory: {}; raise the memlock limit "
        "(ulimit -l) or remove <locked/>",
        domain.where(backing.line), mapping.size(), errno_text(errno));
  }
  return {};
}

}  // namespace

Result<GuestMemory> build_memory(const domain::Domain& domain) {
  const uint64_t host_bytes = host_memory_bytes();
  if (domain.memory_bytes > host_bytes) {
    return fail("{}: <memory>: the guest wants {} MiB, the host has {} MiB in all; ask for less",
                domain.where(domain.memory_line), domain.memory_bytes >> 20, host_bytes >> 20);
  }
  VMM_ASSIGN_OR_RETURN(const std::vector<GuestRange> ranges, boot::ram_layout(domain.memory_bytes));
  std::vector<GuestMemory::Region> regions;
  for (const GuestRange& range : ranges) {
    VMM_ASSIGN_OR_RETURN(Mapping mapping, map_region(domain, range.length_bytes));
    VMM_TRY(apply_advice(domain, mapping));
    regions.push_back({range.start, std::move(mapping)});
  }
  return GuestMemory(std::move(regions));
}

void give_back_memory(const domain::MemoryBacking& backing, const iovec& pages) {
  // Huge pages were reserved for the guest: given back they may be gone when it wants them again, and the
  // host would kill us for touching them. Locked memory is to stay.
  if (backing.hugepages || backing.locked) {
    return;
  }
  // Advice: where it fails, the memory stays with the guest.
  const bool is_shared = backing.shared || backing.source == domain::MemorySource::kMemfd;
  ::madvise(pages.iov_base, pages.iov_len, is_shared ? MADV_REMOVE : MADV_DONTNEED);
}

Status discard_memory(const GuestMemory& memory) {
  for (const GuestMemory::Region& region : memory.regions()) {
    // MADV_REMOVE frees what a shared mapping holds; MADV_DONTNEED a private one; locked memory knows
    // neither.
    if (::madvise(region.mapping.data(), region.mapping.size(), MADV_REMOVE) == 0 ||
        ::madvise(region.mapping.data(), region.mapping.size(), MADV_DONTNEED) == 0) {
      continue;
    }
    if (!memory.fill(region.start, region.mapping.size(), std::byte{0})) {
      return fail("guest memory cannot be cleared");
    }
  }
  return {};
}

}  // namespace vmm
