// Serial ports, the consoles that are serial ports seen again, consoles of virtio, and the debug console.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "vmm/domain/reader.h"
#include "vmm/domain/serial_numbers.h"

namespace vmm::domain {

namespace {

// libvirt takes what means nothing to the type, and so does vmm; but nothing is dropped without a word.
void warn_if_there(const ReadContext& context, const Element& source, std::string_view name,
                   std::string_view where) {
  if (const Attribute* found = source.attribute(name)) {
    context.report.warning(
        found->line, fmt::format("{}: has a meaning only with {}; left out", source.place_of(*found), where));
  }
}

void read_path(const ReadContext& context, const Element& element, Serial& serial) {
  const bool needs_path = serial.backend == CharBackend::kFile || serial.backend == CharBackend::kUnix;
  const Element* source = element.child("source");
  if (!needs_path) {
    // A running domain's dump shows here which terminal it got: that says nothing about the next run.
    if (source != nullptr && !element.is_mistaken("type")) {
      warn_if_there(context, *source, "append", "type='file'");
      warn_if_there(context, *source, "mode", "type='unix'");
      if (serial.backend != CharBackend::kPty) {
        warn_if_there(context, *source, "path", "type='file' or 'unix'");
      }
    }
    return;
  }
  if (source == nullptr || source->value_of("path").empty()) {
    const bool is_mistaken = source != nullptr && source->is_mistaken("path");
    if (!element.has_refused_children && !is_mistaken) {
      context.report.error(
          element.line,
          fmt::format("{}: has no <source path='…'/>; say where the port leads to", element.place));
    }
    return;
  }
  serial.path = context.complete(*source, source->value_of("path"));
  if (serial.backend == CharBackend::kFile) {
    serial.append = read_flag(context, *source, "append", false);
    warn_if_there(context, *source, "mode", "type='unix'");
  } else {
    serial.listen = read_choice(context, *source, "mode", true, {{"bind", true}, {"connect", false}});
    warn_if_there(context, *source, "append", "type='file'");
  }
  constexpr size_t kLongestSocketPath = 107;  // sun_path of unix(7), with its NUL
  if (serial.backend == CharBackend::kUnix && serial.path.native().size() > kLongestSocketPath) {
    context.report.error(source->line,
                         fmt::format("{}: the path of a socket has at most {} bytes; give a shorter one",
                                     source->place, kLongestSocketPath));
  }
}

void read_log(const ReadContext& context, const Element& element, Serial& serial) {
  const Element* log = element.child("log");
  if (log == nullptr) {
    return;
  }
  if (log->value_of("file").empty()) {
    if (!log->is_mistaken("file")) {
      context.report.error(log->line,
                           fmt::format("{}: names no file; give it as file='…', or remove it", log->place));
    }
    return;
  }
  serial.log_path = context.complete(*log, log->value_of("file"));
  serial.log_append = read_flag(context, *log, "append", false);
}

Serial read_port(const ReadContext& context, const Element& element) {
  Serial serial;
  serial.line = element.line;
  serial.backend = read_choice(context, element, "type", CharBackend::kPty,
                               {{"stdio", CharBackend::kStdio},
                                {"file", CharBackend::kFile},
                                {"pty", CharBackend::kPty},
                                {"unix", CharBackend::kUnix},
                                {"null", CharBackend::kNull}});
  read_path(context, element, serial);
  read_log(context, element, serial);
  serial.alias = alias_of(element);
  return serial;
}

std::optional<uint32_t> read_port_number(const ReadContext& context, const Element& element,
                                         uint32_t highest = kMaxSerialPorts - 1) {
  const Element* target = element.child("target");
  return target == nullptr ? std::nullopt : read_number(context, *target, "port", 0, highest);
}

// The serial ports, in the order of the file.
struct SerialList {
  std::vector<Serial> serials;
  std::vector<std::optional<uint64_t>> said;  // the number of each that has one
};

// Each gets one: there are no more ports than numbers, and two of one number are refused later.
void number_ports(SerialList& list) {
  const auto numbers = serial_numbers(list.said);
  for (size_t i = 0; i < numbers.size(); ++i) {
    list.serials[i].port = static_cast<uint32_t>(numbers[i].value_or(0));
  }
}

std::string_view target_type(const Element& element) {
  const Element* target = element.child("target");
  return target == nullptr ? std::string_view() : target->value_of("type");
}

void read_virtio_console(const ReadContext& context, const Element& element, Domain& domain) {
  if (domain.virtio_consoles.size() == kMaxVirtioConsoles) {
    context.report.error(element.line, fmt::format("{}: more than {} consoles of virtio; remove it",
                                                   element.place, kMaxVirtioConsoles));
    return;
  }
  Serial console = read_port(context, element);
  console.port = static_cast<uint32_t>(domain.virtio_consoles.size());
  domain.virtio_consoles.push_back(std::move(console));
}

void check_target_of_console(const ReadContext& context, const Element& element) {
  const Element* address = element.child("address");
  if (address != nullptr && address->mistaken.empty()) {
    context.report.error(address->line,
                         fmt::format("{}: COM ports stand where PCs have them; remove it", address->place));
  }
}

bool is_serial_port(const Element& device) {
  return device.name == "serial" && target_type(device) != "isa-debug";
}

std::string_view value_in(const Element& port, std::string_view child, std::string_view attribute,
                          std::string_view otherwise) {
  const Element* element = port.child(child);
  const Attribute* found = element == nullptr ? nullptr : element->attribute(attribute);
  return found == nullptr ? otherwise : std::string_view(found->value);
}

// Where a port leads to, as far as the file says it and the type takes it.
std::array<std::string_view, 5> end_of(const Element& port) {
  const std::string_view type = port.attribute("type") == nullptr ? "pty" : port.value_of("type");
  std::array<std::string_view, 5> end = {type, "", "", value_in(port, "log", "file", ""),
                                         value_in(port, "log", "append", "off")};
  if (type == "file" || type == "unix") {
    end[1] = value_in(port, "source", "path", "");
    end[2] =
        type == "file" ? value_in(port, "source", "append", "off") : value_in(port, "source", "mode", "bind");
  }
  return end;
}

// libvirt drops what such a console says of its own.
void warn_of_another_end(const ReadContext& context, const Element& console, const Element& devices) {
  const auto serial = std::ranges::find_if(devices.children, is_serial_port);
  if (serial == devices.children.end() || console.attribute("type") == nullptr || console.has_mistakes() ||
      serial->has_mistakes() || end_of(console) == end_of(*serial)) {
    return;
  }
  context.report.warning(console.line, fmt::format("{}: is the <serial> of line {} seen again, and leads "
                                                   "where that leads; what it says of its own is left out",
                                                   console.place, serial->line));
}

// libvirt: the first console that is not virtio's is the first serial port, which it makes if there is none.
void read_consoles(const ReadContext& context, const Element& devices, bool has_serial, Domain& domain) {
  bool is_first = true;
  for (const Element& each : devices.children) {
    if (each.name != "console") {
      continue;
    }
    if (target_type(each) == "virtio") {
      read_virtio_console(context, each, domain);
      continue;
    }
    const Element* target = each.child("target");
    if (target == nullptr ? each.has_refused_children : target->is_mistaken("type")) {
      continue;  // it may be one of virtio
    }
    if (!is_first) {
      context.report.error(each.line,
                           fmt::format("{}: only the first console is a serial port; use <serial>, or "
                                       "<target type='virtio'/>",
                                       each.place));
      return;
    }
    check_target_of_console(context, each);
    is_first = false;
    if (!has_serial) {
      Serial serial = read_port(context, each);
      serial.port = read_port_number(context, each).value_or(0);
      domain.serials.push_back(std::move(serial));
    } else {
      warn_of_another_end(context, each, devices);
    }
  }
}

uint16_t read_debug_port(const ReadContext& context, const Element& element) {
  const Element* address = element.child("address");
  const Attribute* iobase = address == nullptr ? nullptr : address->attribute("iobase");
  if (iobase == nullptr) {
    return kDebugConsolePort;
  }
  const auto port = parse_address_number(iobase->value);
  if (!port || *port >= kExitPortEnd) {
    context.report.error(iobase->line,
                         fmt::format("{}: give a port below {:#x}, as {:#x}", address->place_of(*iobase),
                                     kExitPortEnd, kDebugConsolePort));
    return kDebugConsolePort;
  }
  return static_cast<uint16_t>(*port);
}

// Whether <target>, its <model> and <address> are about one device.
void check_target_of_serial(const ReadContext& context, const Element& element) {
  const bool is_debug = target_type(element) == "isa-debug";
  const Element* target = element.child("target");
  const bool is_unsure = target == nullptr ? element.has_refused_children : target->is_mistaken("type");
  if (is_unsure) {
    return;
  }
  const Element* model = target == nullptr ? nullptr : target->child("model");
  const std::string_view name = model == nullptr ? std::string_view() : model->value_of("name");
  if (!name.empty() && (name == "isa-debugcon") != is_debug) {
    context.report.error(model->line,
                         fmt::format("{}: does not go with <target type='{}'>; remove one of the two",
                                     model->place, is_debug ? "isa-debug" : "isa-serial"));
  }
  const Element* address = element.child("address");
  if (address != nullptr && !is_debug && address->mistaken.empty()) {
    context.report.error(
        address->line,
        fmt::format("{}: COM ports stand where PCs have them; use <target port=…/>", address->place));
  }
}

void read_debug_console(const ReadContext& context, const Element& element, Domain& domain) {
  if (domain.debug_console) {
    context.report.error(element.line,
                         fmt::format("{}: more than one debug console; remove it", element.place));
    return;
  }
  constexpr uint32_t kHighestNumber = 255;  // it means nothing
  static_cast<void>(read_port_number(context, element, kHighestNumber));
  domain.debug_console =
      DebugConsole{.end = read_port(context, element), .port = read_debug_port(context, element)};
}

// False: there are enough.
bool read_serial(const ReadContext& context, const Element& element, SerialList& list) {
  if (list.serials.size() == kMaxSerialPorts) {
    context.report.error(element.line, fmt::format("{}: more than {} serial ports; remove it", element.place,
                                                   kMaxSerialPorts));
    return false;
  }
  Serial serial = read_port(context, element);
  const auto number = read_port_number(context, element);
  if (!element.is_mistaken("type")) {
    list.serials.push_back(std::move(serial));
    list.said.emplace_back(number);
  }
  return true;
}

}  // namespace

void read_serials(const ReadContext& context, const Element& devices, Domain& domain) {
  SerialList list;
  for (const Element& each : devices.children) {
    if (each.name != "serial") {
      continue;
    }
    check_target_of_serial(context, each);
    if (target_type(each) == "isa-debug") {
      read_debug_console(context, each, domain);
    } else if (!read_serial(context, each, list)) {
      break;
    }
  }
  number_ports(list);
  domain.serials = std::move(list.serials);
  std::ranges::stable_sort(domain.serials, {}, &Serial::port);
  // Where a serial port was refused, the console may have been the same one.
  const bool has_serial =
      std::ranges::any_of(devices.children, is_serial_port) || devices.has_refused_children;
  read_consoles(context, devices, has_serial, domain);
}

}  // namespace vmm::domain
