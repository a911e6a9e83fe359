// What the parts of the hostile program share.
#pragma once

#include <cstdint>

#include "tests/guests/runtime/virtio.h"

namespace guest::hostile {

// They are initialised by constants, as constinit at their definitions sees to.
// NOLINTBEGIN(bugprone-dynamic-static-initializers)
extern constinit VirtioDevice device;
extern constinit VirtQueue queue;
extern constinit BlockDriver driver;
extern constinit uint8_t buffer[4096];
// NOLINTEND(bugprone-dynamic-static-initializers)

// The end of RAM below 4 GiB.
uint64_t end_of_memory();

// xorshift64, from a seed that is the same in every run.
uint64_t random();

// Whether the disk, after a reset, still does what it should. Counts as a check named `after`.
bool recovers(const char* after);

void test_bad_chains();
void test_bad_rings();
void test_bad_set_up();
void test_random_accesses();

}  // namespace guest::hostile
