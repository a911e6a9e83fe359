#include "tests/guests/runtime/start.h"

#include "tests/guests/runtime/apic.h"
#include "tests/guests/runtime/cpu.h"
#include "tests/guests/runtime/report.h"

extern "C" void runtime_main(uint64_t start_info_address);

namespace guest {
namespace {

constexpr uint32_t kStartMagic = 0x336ec578;
constexpr uint32_t kMemoryEntrySize = 24;

constinit StartInfo info = {};
constinit char line[2048] = {};

// Copied, because nobody keeps the loader's structures out of the way of what the program does to low memory.
void read_start_info(uint64_t address) {
  info.magic = read32(address);
  if (info.magic != kStartMagic) return;
  info.version = read32(address + 4);
  info.module_count = read32(address + 12);
  if (const uint64_t text = read64(address + 24); text != 0) {
    for (uint32_t i = 0; i < sizeof line - 1 && (line[i] = static_cast<char>(read8(text + i))) != 0; i++) {
    }
  }
  info.rsdp = read64(address + 32);
  if (info.version < 1) return;
  const uint64_t map = read64(address + 40);
  const uint32_t count = read32(address + 48);
  for (uint32_t i = 0; i < count && i < 64; i++) {
    const uint64_t entry = map + uint64_t{i} * kMemoryEntrySize;
    info.memory[info.memory_ranges++] = {read64(entry), read64(entry + 8), read32(entry + 16)};
  }
}

bool starts_with(const char* text, const char* start, const char*& rest) {
  while (*start != 0) {
    if (*text++ != *start++) return false;
  }
  rest = text;
  return true;
}

}  // namespace

const StartInfo& start_info() { return info; }
const char* command_line() { return line; }

const char* option(const char* name) {
  for (const char* word = line; *word != 0;) {
    const char* rest = nullptr;
    if (starts_with(word, name, rest) && *rest == '=') return rest + 1;
    while (*word != 0 && *word != ' ') word++;
    while (*word == ' ') word++;
  }
  return nullptr;
}

bool option_is(const char* name, const char* value) {
  const char* const text = option(name);
  const char* rest = nullptr;
  return text != nullptr && starts_with(text, value, rest) && (*rest == 0 || *rest == ' ');
}

uint64_t option_number(const char* name, uint64_t otherwise) {
  const char* text = option(name);
  if (text == nullptr || *text < '0' || *text > '9') return otherwise;
  uint64_t number = 0;
  for (; *text >= '0' && *text <= '9'; text++) number = number * 10 + static_cast<uint64_t>(*text - '0');
  return number;
}

bool list_has(const char* list, const char* word) {
  while (list != nullptr && *list != 0 && *list != ' ') {
    const char* rest = nullptr;
    if (starts_with(list, word, rest) && (*rest == 0 || *rest == ',' || *rest == ' ')) return true;
    while (*list != 0 && *list != ',' && *list != ' ') list++;
    if (*list == ',') list++;
  }
  return false;
}

}  // namespace guest

void runtime_main(uint64_t start_info_address) {
  guest::initialise_cpu();
  guest::set_pic_mask(0xffff);  // firmware may have left the timer on
  guest::read_start_info(start_info_address);
  guest::reset_console();
  if (guest::start_info().magic != guest::kStartMagic)
    guest::fail("PVH start info", "no magic number at ebx");
  guest::run();
  guest::finish();
}
