// Identity, memory, features, clock, life cycle and what only vmm has.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>

#include "vmm/base/bytes.h"
#include "vmm/domain/reader.h"

namespace vmm::domain {

namespace {

// The number of bytes that the element's text and unit= say; nothing after an error.
std::optional<uint64_t> read_size(const ReadContext& context, const Element& element,
                                  std::string_view number) {
  if (element.is_mistaken("unit")) {
    return std::nullopt;
  }
  const auto count = parse_unsigned(number);
  if (!count) {
    context.report.error(element.line,
                         fmt::format("{}: '{}' is not a whole number", element.place, printable(number)));
    return std::nullopt;
  }
  constexpr std::string_view kUnit = "KiB";
  const Attribute* unit = element.attribute("unit");
  if (unit != nullptr && !scaled_bytes(1, unit->value, kUnit)) {
    context.report.error(unit->line, fmt::format("{}: unknown unit; use 'b', 'KiB', 'MiB', 'GiB' or 'TiB'",
                                                 element.place_of(*unit)));
    return std::nullopt;
  }
  const auto bytes = scaled_bytes(*count, unit == nullptr ? kUnit : unit->value, kUnit);
  if (!bytes || *bytes > kMaxMemoryBytes) {
    context.report.error(element.line, fmt::format("{}: more than {} TiB; give at most that", element.place,
                                                   kMaxMemoryBytes >> 40));
    return std::nullopt;
  }
  return bytes;
}

void read_hugepages(const ReadContext& context, const Element& hugepages, MemoryBacking& backing) {
  backing.hugepages = true;
  const Element* page = hugepages.child("page");
  if (page == nullptr || page->is_mistaken("size")) {
    return;
  }
  const auto bytes = read_size(context, *page, page->value_of("size"));
  constexpr uint64_t kTwoMiB = uint64_t{2} << 20U;
  constexpr uint64_t kOneGiB = uint64_t{1} << 30U;
  if (bytes && *bytes != kTwoMiB && *bytes != kOneGiB) {
    context.report.error(
        page->line,
        fmt::format("{}: {} bytes is not the size of a page; x86 has huge pages of 2 MiB and 1 GiB",
                    page->place, *bytes));
    return;
  }
  backing.hugepage_bytes = bytes.value_or(0);
}

void read_memory_backing(const ReadContext& context, const Element& element, MemoryBacking& backing) {
  backing.line = element.line;
  if (const Element* hugepages = element.child("hugepages")) {
    read_hugepages(context, *hugepages, backing);
  }
  if (const Element* source = element.child("source")) {
    backing.source = read_choice(context, *source, "type", MemorySource::kAnonymous,
                                 {{"anonymous", MemorySource::kAnonymous}, {"memfd", MemorySource::kMemfd}});
  }
  if (const Element* access = element.child("access")) {
    backing.shared = read_choice(context, *access, "mode", false, {{"private", false}, {"shared", true}});
  }
  if (const Element* allocation = element.child("allocation")) {
    backing.allocate_at_start =
        read_choice(context, *allocation, "mode", false, {{"ondemand", false}, {"immediate", true}});
  }
  backing.locked = element.child("locked") != nullptr;
  backing.share_pages = element.child("nosharepages") == nullptr;
}

// libvirt takes nothing and more than all for all.
void read_current_memory(const ReadContext& context, const Element& root, Domain& domain) {
  domain.current_memory_bytes = domain.memory_bytes;
  const Element* current = root.child("currentMemory");
  if (current == nullptr) {
    return;
  }
  domain.current_memory_line = current->line;
  const auto bytes = read_size(context, *current, current->text);
  if (!bytes || *bytes == 0 || domain.memory_bytes < kMinMemoryBytes) {
    return;
  }
  const uint64_t wanted = align_up(*bytes, kMiB);
  if (wanted > domain.memory_bytes) {
    context.report.warning(current->line,
                           fmt::format("{}: more than <memory>; the guest has that", current->place));
    return;
  }
  domain.current_memory_bytes = wanted;
}

void read_timer(const ReadContext& context, const Element& timer, std::set<std::string_view>& seen,
                Clock& clock) {
  const std::string_view name = timer.value_of("name");
  const bool present = read_flag(context, timer, "present", true);
  if (timer.lacks("name")) {
    context.report.error(timer.line, fmt::format("{}: has no name=; say which timer is meant", timer.place));
  }
  if (name.empty() || timer.is_mistaken("present")) {
    return;
  }
  if (!seen.insert(name).second) {
    context.report.error(
        timer.line, fmt::format("{}: the timer '{}' stands twice; remove one", timer.place, printable(name)));
  } else if (name == "kvmclock") {
    clock.kvmclock = present;
  } else if (name == "pit") {
    clock.pit = present;
  } else if (name == "hpet" && present) {
    context.report.warning(
        timer.line, fmt::format("{}: vmm has no HPET; the guest uses kvmclock and the TSC", timer.place));
  } else if (name != "hpet" && !present) {
    context.report.error(timer.line,
                         fmt::format("{}: the {} cannot be taken away from the guest; remove the element",
                                     timer.place, printable(name)));
  }
}

// libvirt takes them, and so does vmm; but nothing is dropped without a word.
void warn_of_no_meaning(const ReadContext& context, const Element& element, const Attribute& attribute,
                        std::string_view where) {
  context.report.warning(attribute.line, fmt::format("{}: has a meaning only with {}; left out",
                                                     element.place_of(attribute), where));
}

// libvirt takes 'reset' as "no adjustment yet", and makes offset='variable' with this basis of 'utc' and
// 'localtime' with a number.
void read_adjustment(const ReadContext& context, const Element& element, Clock& clock) {
  const Attribute* adjustment = element.attribute("adjustment");
  if (adjustment == nullptr || adjustment->value == "reset") {
    return;
  }
  constexpr int64_t kFarthest = int64_t{1} << 40;
  const auto seconds = parse_signed(adjustment->value);
  if (!seconds || *seconds > kFarthest || *seconds < -kFarthest) {
    context.report.error(adjustment->line, fmt::format("{}: give a whole number of seconds, or 'reset'",
                                                       element.place_of(*adjustment)));
  } else if (clock.offset == ClockOffset::kTimezone) {
    warn_of_no_meaning(context, element, *adjustment, "another offset=");
  } else {
    clock.basis_is_localtime = clock.basis_is_localtime || clock.offset == ClockOffset::kLocaltime;
    clock.offset = ClockOffset::kVariable;
    clock.adjustment_seconds = *seconds;
  }
}

void read_timezone(const ReadContext& context, const Element& element, Clock& clock) {
  const Attribute* timezone = element.attribute("timezone");
  if (timezone != nullptr && clock.offset != ClockOffset::kTimezone) {
    warn_of_no_meaning(context, element, *timezone, "offset='timezone'");
  } else if (timezone != nullptr) {
    clock.timezone = timezone->value;
    // It becomes the name of a file below /usr/share/zoneinfo.
    if (clock.timezone.starts_with('/') || clock.timezone.find("..") != std::string::npos) {
      context.report.error(timezone->line,
                           fmt::format("{}: not the name of a time zone; write it like 'Europe/Paris'",
                                       element.place_of(*timezone)));
    }
  }
  if (clock.offset == ClockOffset::kTimezone && clock.timezone.empty()) {
    context.report.error(element.line,
                         fmt::format("{}: offset='timezone' needs timezone='…'", element.place));
  }
}

void read_basis(const ReadContext& context, const Element& element, Clock& clock) {
  const Attribute* basis = element.attribute("basis");
  if (basis != nullptr && clock.offset != ClockOffset::kVariable) {
    warn_of_no_meaning(context, element, *basis, "offset='variable'");
    return;
  }
  clock.basis_is_localtime =
      read_choice(context, element, "basis", false, {{"utc", false}, {"localtime", true}});
}

LifecycleAction read_action(const Element& root, std::string_view name, LifecycleAction otherwise) {
  const Element* element = root.child(name);
  if (element == nullptr) {
    return otherwise;
  }
  if (element->text == "restart") {
    return LifecycleAction::kRestart;
  }
  return element->text == "preserve" ? LifecycleAction::kPreserve : LifecycleAction::kDestroy;
}

std::optional<ExitPort> read_exit_port(const ReadContext& context, const Element& exit) {
  if (exit.is_mistaken("port")) {
    return std::nullopt;
  }
  const auto port = parse_address_number(exit.value_of("port"));
  if (!port || *port >= kExitPortEnd) {
    context.report.error(
        exit.line, fmt::format("{}: give it a port below {:#x}, as port='0xf4'", exit.place, kExitPortEnd));
    return std::nullopt;
  }
  return ExitPort{.line = exit.line, .port = static_cast<uint16_t>(*port)};
}

UserNetwork read_user_network(const ReadContext& context, const Element& element) {
  constexpr size_t kLongestName = 127;  // `file` of RFC 2131, section 2, with its NUL
  UserNetwork network;
  network.line = element.line;
  network.is_restricted = read_flag(context, element, "restrict", false);
  if (!element.value_of("tftp").empty()) {
    network.tftp_folder = context.complete(element, element.value_of("tftp"));
  }
  const Attribute* file = element.attribute("bootfile");
  if (file == nullptr) {
    return network;
  }
  network.boot_file = file->value;
  if (printable(file->value, kLongestName) != file->value) {
    context.report.error(file->line, fmt::format("{}: give at most {} printable characters",
                                                 element.place_of(*file), kLongestName));
  } else if (!file->value.empty() && !network.boots_by_url() && element.value_of("tftp").empty() &&
             !element.is_mistaken("tftp")) {
    context.report.error(file->line,
                         fmt::format("{}: is a file in the folder of tftp=; give that too, or an URL",
                                     element.place_of(*file)));
  }
  return network;
}

}  // namespace

std::optional<std::array<uint8_t, 16>> parse_uuid(std::string_view text) {
  std::array<uint8_t, 16> uuid{};
  size_t digits = 0;
  for (const char c : text) {
    if (c == '-') {
      continue;
    }
    const bool is_decimal = c >= '0' && c <= '9';
    const char lower = static_cast<char>(c | 0x20);
    if (digits == 32 || (!is_decimal && (lower < 'a' || lower > 'f'))) {
      return std::nullopt;
    }
    const int digit = is_decimal ? c - '0' : lower - 'a' + 10;
    uuid[digits / 2] = static_cast<uint8_t>((uuid[digits / 2] << 4) | digit);
    ++digits;
  }
  return digits == 32 ? std::optional(uuid) : std::nullopt;
}

std::optional<uint64_t> scaled_bytes(uint64_t count, std::string_view unit, std::string_view otherwise) {
  std::string name(unit.empty() ? otherwise : trimmed(unit));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (name == "b" || name == "byte" || name == "bytes") {
    return count;
  }
  constexpr std::string_view kPrefixes = "kmgtpe";
  const size_t power = name.empty() ? std::string_view::npos : kPrefixes.find(name[0]);
  const std::string_view suffix = std::string_view(name).substr(name.empty() ? 0 : 1);
  if (power == std::string_view::npos || (!suffix.empty() && suffix != "b" && suffix != "ib")) {
    return std::nullopt;
  }
  const uint64_t base = suffix == "b" ? 1000 : 1024;
  for (size_t i = 0; i <= power; ++i) {
    if (count > std::numeric_limits<uint64_t>::max() / base) {
      return std::nullopt;
    }
    count *= base;
  }
  return count;
}

void read_identity(const ReadContext& context, const Element& root, Domain& domain) {
  if (root.lacks("type")) {
    context.report.error(root.line, "<domain>: has no type=; write <domain type='kvm'>");
  }
  if (const Element* name = root.child("name")) {
    domain.name = name->text;
    const bool is_no_folder = name->text == "." || name->text == "..";  // where vmm ctl finds the guest
    if (name->text.empty() || is_no_folder || name->text.find_first_of("/\n") != std::string::npos) {
      context.report.error(
          name->line,
          fmt::format("{}: give a name, of one line, without '/', and not '.' or '..'", name->place));
    }
  } else if (!root.has_refused_children) {
    context.report.error(root.line, "<domain>: has no <name>; give it one");
  }
  if (const Element* uuid = root.child("uuid")) {
    domain.uuid = parse_uuid(uuid->text);
    if (!domain.uuid) {
      context.report.error(uuid->line, fmt::format("{}: '{}' is not 32 hexadecimal digits", uuid->place,
                                                   printable(uuid->text)));
    }
  }
  if (const Element* id = root.child("genid")) {
    domain.generation_id = GenerationId{.line = id->line, .value = parse_uuid(id->text)};
    if (!domain.generation_id->value && !id->text.empty()) {
      context.report.error(
          id->line, fmt::format("{}: '{}' is not 32 hexadecimal digits", id->place, printable(id->text)));
    }
  }
  if (const Element* title = root.child("title")) {
    domain.title = title->text;
    if (domain.title.find('\n') != std::string::npos) {
      context.report.error(
          title->line,
          fmt::format("{}: give a title of one line; <description> may have several", title->place));
    }
  }
  if (const Element* description = root.child("description")) {
    domain.description = description->text;
  }
}

void read_memory(const ReadContext& context, const Element& root, Domain& domain) {
  if (const Element* memory = root.child("memory")) {
    domain.memory_line = memory->line;
    if (const auto bytes = read_size(context, *memory, memory->text)) {
      domain.memory_bytes = align_up(*bytes, kMiB);
      if (*bytes < kMinMemoryBytes) {
        const bool has_unit = memory->attribute("unit") != nullptr;
        context.report.error(memory->line, fmt::format("{}: {} bytes are too few; give at least {} MiB{}",
                                                       memory->place, *bytes, kMinMemoryBytes / kMiB,
                                                       has_unit ? "" : " (without unit= it is in KiB)"));
      }
    }
  } else if (!root.has_refused_children) {
    context.report.error(root.line, "<domain>: has no <memory>; say how much the guest has");
  }
  read_current_memory(context, root, domain);
  if (const Element* backing = root.child("memoryBacking")) {
    read_memory_backing(context, *backing, domain.memory_backing);
  }
}

void read_features(const ReadContext& context, const Element& root, Domain& domain) {
  const Element* features = root.child("features");
  if (features == nullptr) {
    return;
  }
  domain.features.acpi = features->child("acpi") != nullptr;
  if (const Element* kvm = features->child("kvm")) {
    const Element* hidden = kvm->child("hidden");
    domain.features.hide_kvm = hidden != nullptr && read_flag(context, *hidden, "state", true);
  }
  if (const Element* pmu = features->child("pmu")) {
    domain.features.pmu = read_flag(context, *pmu, "state", true);
  }
}

void read_clock(const ReadContext& context, const Element& root, Domain& domain) {
  const Element* element = root.child("clock");
  if (element == nullptr) {
    return;
  }
  Clock& clock = domain.clock;
  clock.line = element->line;
  clock.offset = read_choice(context, *element, "offset", ClockOffset::kUtc,
                             {{"utc", ClockOffset::kUtc},
                              {"localtime", ClockOffset::kLocaltime},
                              {"timezone", ClockOffset::kTimezone},
                              {"variable", ClockOffset::kVariable}});
  if (!element->is_mistaken("offset")) {  // else nothing is known of what goes with it
    read_timezone(context, *element, clock);
    read_basis(context, *element, clock);
    read_adjustment(context, *element, clock);
  }
  std::set<std::string_view> seen;
  for (const Element& each : element->children) {
    if (each.name == "timer") {
      read_timer(context, each, seen, clock);
    }
  }
}

void read_lifecycle(const Element& root, Domain& domain) {
  domain.on_poweroff = read_action(root, "on_poweroff", LifecycleAction::kDestroy);
  domain.on_reboot = read_action(root, "on_reboot", LifecycleAction::kRestart);
  domain.on_crash = read_action(root, "on_crash", LifecycleAction::kDestroy);
}

void read_metadata(const ReadContext& context, const Element& root, Domain& domain) {
  const Element* metadata = root.child("metadata");
  if (metadata == nullptr) {
    return;
  }
  if (const Element* exit = metadata->child("vmm:exit")) {
    domain.exit_port = read_exit_port(context, *exit);
  }
  if (const Element* network = metadata->child("vmm:user-network")) {
    domain.user_network = read_user_network(context, *network);
  }
}

}  // namespace vmm::domain
