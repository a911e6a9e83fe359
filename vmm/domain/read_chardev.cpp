// Serial ports, and the consoles that are serial ports seen again.
#include <fmt/format.h>

#include <algorithm>

#include "vmm/domain/reader.h"

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
    return;
  }
  if (source == nullptr || source->value_of("path").empty()) {
    if (!element.has_refused_children) {
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
  if (const Element* alias = element.child("alias")) {
    serial.alias = alias->value_of("name");
  }
  return serial;
}

std::optional<uint32_t> read_port_number(const ReadContext& context, const Element& element) {
  const Element* target = element.child("target");
  return target == nullptr ? std::nullopt : read_number(context, *target, "port", 0, kMaxSerialPorts - 1);
}

// libvirt gives a port without a number the one after the highest so far.
void number_ports(const ReadContext& context, const std::vector<bool>& is_numbered,
                  std::vector<Serial>& serials) {
  uint32_t next = 0;
  for (size_t i = 0; i < serials.size(); ++i) {
    if (is_numbered[i]) {
      next = std::max(next, serials[i].port + 1);
    }
  }
  for (size_t i = 0; i < serials.size(); ++i) {
    if (is_numbered[i]) {
      continue;
    }
    serials[i].port = next++;
    if (serials[i].port >= kMaxSerialPorts) {
      context.report.error(
          serials[i].line,
          fmt::format("<serial>: there is no port after {}; give each <target port='0'/> to '{}'",
                      kMaxSerialPorts - 1, kMaxSerialPorts - 1));
      return;
    }
  }
}

// libvirt: the first console is the first serial port, which it makes if there is none.
void read_consoles(const ReadContext& context, const Element& devices, bool has_serial, Domain& domain) {
  bool is_first = true;
  for (const Element& each : devices.children) {
    if (each.name != "console") {
      continue;
    }
    if (!is_first) {
      context.report.error(
          each.line, fmt::format("{}: only the first console is a serial port; use <serial>", each.place));
      return;
    }
    is_first = false;
    if (!has_serial) {
      Serial serial = read_port(context, each);
      serial.port = read_port_number(context, each).value_or(0);
      domain.serials.push_back(std::move(serial));
    }
  }
}

}  // namespace

void read_serials(const ReadContext& context, const Element& devices, Domain& domain) {
  std::vector<bool> is_numbered;
  for (const Element& each : devices.children) {
    if (each.name != "serial") {
      continue;
    }
    if (domain.serials.size() == kMaxSerialPorts) {
      context.report.error(
          each.line, fmt::format("{}: more than {} serial ports; remove it", each.place, kMaxSerialPorts));
      break;
    }
    Serial serial = read_port(context, each);
    const auto port = read_port_number(context, each);
    serial.port = port.value_or(0);
    is_numbered.push_back(port.has_value());
    domain.serials.push_back(std::move(serial));
  }
  number_ports(context, is_numbered, domain.serials);
  std::stable_sort(domain.serials.begin(), domain.serials.end(),
                   [](const Serial& a, const Serial& b) { return a.port < b.port; });
  // Where a serial port was refused, the console may have been the same one.
  const bool has_serial = !domain.serials.empty() || devices.has_refused_children;
  read_consoles(context, devices, has_serial, domain);
}

}  // namespace vmm::domain
