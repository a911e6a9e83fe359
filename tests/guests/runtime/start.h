// What the loader handed over: hvm_start_info (Xen public header arch-x86/hvm/start_info.h, version 1).
#pragma once

#include <cstdint>

namespace guest {

// The program: called once in ring 0 on the first CPU with interrupts disabled; the machine is powered off
// when it returns.
void run();

struct MemoryRange {
  uint64_t address;
  uint64_t length;
  uint32_t type;  // as in e820: 1 is RAM
};

struct StartInfo {
  uint32_t magic = 0;
  uint32_t version = 0;
  uint64_t rsdp = 0;
  uint32_t module_count = 0;
  uint32_t memory_ranges = 0;
  MemoryRange memory[64] = {};
};
const StartInfo& start_info();

const char* command_line();

// The value of `name=value` on the command line, up to the next blank; nullptr: not there.
const char* option(const char* name);
bool option_is(const char* name, const char* value);
uint64_t option_number(const char* name, uint64_t otherwise);  // decimal

// Whether a comma separated list, up to a blank, has this word.
bool list_has(const char* list, const char* word);

}  // namespace guest
