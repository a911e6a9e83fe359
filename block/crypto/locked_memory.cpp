#include "block/crypto/locked_memory.h"

#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory_resource>
#include <new>

#include "vmm/base/bytes.h"
#include "vmm/base/thread_annotations.h"

namespace vmm::block {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kBlocksPerChunk = 64;
// In front of each piece, whose length it keeps.
constexpr size_t kHeadBytes = alignof(std::max_align_t);

// Whole pages of the host.
class LockedPages final : public std::pmr::memory_resource {
 public:
  bool are_all_locked() const { return are_all_locked_; }

 private:
  static size_t rounded(size_t bytes) { return align_up(bytes, kPageBytes); }

  void* do_allocate(size_t bytes, size_t /*alignment*/) override {
    void* const pages =
        ::mmap(nullptr, rounded(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
      throw std::bad_alloc();
    }
    are_all_locked_ = ::mlock(pages, rounded(bytes)) == 0 && are_all_locked_;
    static_cast<void>(::madvise(pages, rounded(bytes), MADV_DONTDUMP));
    return pages;
  }
  void do_deallocate(void* pages, size_t bytes, size_t /*alignment*/) override {
    ::munmap(pages, rounded(bytes));
  }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }

  bool are_all_locked_ = true;
};

class Heap {
 public:
  void* allocate(size_t bytes) VMM_EXCLUDES(mutex_) {
    if (bytes > SIZE_MAX - 2 * kHeadBytes) {
      return nullptr;
    }
    const size_t whole = whole_of(bytes);
    void* place = nullptr;
    {
      const MutexLock lock(mutex_);
      try {
        place = pool_.allocate(whole, alignof(std::max_align_t));
      } catch (const std::bad_alloc&) {
        return nullptr;
      }
    }
    std::memcpy(place, &bytes, sizeof bytes);
    return static_cast<std::byte*>(place) + kHeadBytes;
  }

  void free(void* memory) VMM_EXCLUDES(mutex_) {
    std::byte* const place = static_cast<std::byte*>(memory) - kHeadBytes;
    const size_t whole = whole_of(length_of(memory));
    ::explicit_bzero(place, whole);
    const MutexLock lock(mutex_);
    pool_.deallocate(place, whole, alignof(std::max_align_t));
  }

  static size_t length_of(const void* memory) {
    size_t bytes = 0;
    std::memcpy(&bytes, static_cast<const std::byte*>(memory) - kHeadBytes, sizeof bytes);
    return bytes;
  }

  bool is_all_locked() VMM_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return pages_.are_all_locked();
  }

 private:
  // Multiples of the alignment: libstdc++'s pools align pieces of other lengths by 8 bytes only.
  static size_t whole_of(size_t bytes) { return align_up(bytes + kHeadBytes, kHeadBytes); }

  Mutex mutex_;
  LockedPages pages_ VMM_GUARDED_BY(mutex_);
  // What is larger than a page has pages of its own.
  std::pmr::unsynchronized_pool_resource pool_ VMM_GUARDED_BY(mutex_){
      {.max_blocks_per_chunk = kBlocksPerChunk, .largest_required_pool_block = kPageBytes}, &pages_};
};

// Never destroyed: OpenSSL frees what it has when the process ends.
Heap& heap() {
  alignas(Heap) static std::byte place[sizeof(Heap)];
  static Heap* const kHeap = ::new (place) Heap;
  return *kHeap;
}

}  // namespace

void* LockedMemory::allocate(size_t bytes) { return heap().allocate(bytes); }

void* LockedMemory::reallocate(void* memory, size_t bytes) {
  void* const moved = allocate(bytes);
  if (moved != nullptr && memory != nullptr) {
    std::memcpy(moved, memory, std::min(bytes, Heap::length_of(memory)));
    free(memory);
  }
  return moved;
}

void LockedMemory::free(void* memory) {
  if (memory != nullptr) {
    heap().free(memory);
  }
}

bool LockedMemory::is_all_locked() { return heap().is_all_locked(); }

}  // namespace vmm::block
