// What the parts of the virtio-blk program share.
#pragma once

#include "tests/guests/runtime/virtio.h"

namespace guest::blk {

inline constexpr uint64_t kAllFeatures = kBlkSegMax | kBlkReadOnly | kBlkBlockSize | kBlkFlush |
                                         kBlkTopology | kBlkConfigWce | kBlkMultiQueue | kBlkDiscard |
                                         kBlkWriteZeroes | kIndirect | kEventIndex;

// Configuration space (virtio 1.2, 5.2.4).
inline constexpr uint32_t kCapacity = 0;
inline constexpr uint32_t kSegMax = 12;
inline constexpr uint32_t kBlockSize = 20;
inline constexpr uint32_t kPhysicalBlockExponent = 24;
inline constexpr uint32_t kWriteback = 32;
inline constexpr uint32_t kQueues = 34;
inline constexpr uint32_t kMaxDiscardSectors = 36;
inline constexpr uint32_t kMaxDiscardSegments = 40;
inline constexpr uint32_t kMaxWriteZeroesSectors = 48;
inline constexpr uint32_t kMaxWriteZeroesSegments = 52;
inline constexpr uint32_t kWriteZeroesMayUnmap = 56;

inline constexpr uint32_t kQueueCount = 4;
inline constexpr uint32_t kBufferSize = 1 << 20;

// They are initialised by constants, as constinit at their definitions sees to.
// NOLINTBEGIN(bugprone-dynamic-static-initializers)
extern constinit VirtioDevice device;
extern constinit VirtQueue queues[kQueueCount];
extern constinit BlockDriver driver;
extern constinit uint8_t buffer[kBufferSize];
// NOLINTEND(bugprone-dynamic-static-initializers)

// Bytes that tell where they were written: each 8 bytes are a function of seed and place.
void fill_pattern(void* data, uint32_t length, uint64_t seed);
// `offset`: of the data in what was filled.
bool pattern_holds(const void* data, uint32_t length, uint64_t seed, uint32_t offset = 0);
bool all_bytes_are(const void* data, uint32_t length, uint8_t value);
// Writes sectors of the pattern; then reads them to other memory and compares. Silent; false: something is
// wrong.
bool write_pattern(uint64_t sector, uint32_t sectors, uint64_t seed);
bool read_pattern(uint64_t sector, uint32_t sectors, uint64_t seed);

void test_requests();
void test_refusals();
void test_read_only();
void test_ranges();   // discard and write-zeroes
void test_framing();  // where descriptors begin and end
void test_many();     // in flight, several queues, index wrap
void test_resets();   // in flight, queue sizes
void test_write_cache();

}  // namespace guest::blk
