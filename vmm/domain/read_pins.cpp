// <vcpu cpuset=…> and <cputune>: on which of the host's CPUs the guest's threads run.
#include <fmt/format.h>

#include <algorithm>

#include "vmm/domain/cpu_set.h"
#include "vmm/domain/reader.h"

namespace vmm::domain {
namespace {

std::optional<CpuSet> read_cpu_set(const ReadContext& context, const Element& element) {
  const Attribute* attribute = element.attribute("cpuset");
  if (attribute == nullptr) {
    if (!element.is_mistaken("cpuset")) {
      context.report.error(element.line,
                           fmt::format("{}: has no cpuset=; name CPUs of the host, as '0-3'", element.place));
    }
    return std::nullopt;
  }
  auto cpus = parse_cpu_set(attribute->value);
  if (!cpus) {
    context.report.error(attribute->line,
                         fmt::format("{}: give CPUs of the host, as '0-3,^2,8'; they are below {}",
                                     element.place_of(*attribute), kMaxHostCpus));
    return std::nullopt;
  }
  return CpuSet{.line = attribute->line, .cpus = *std::move(cpus)};
}

// The number of the thread that is pinned; nothing after an error.
std::optional<uint32_t> thread_number(const ReadContext& context, const Element& pin,
                                      std::string_view attribute, const std::map<uint32_t, CpuSet>& pinned) {
  if (pin.lacks(attribute)) {
    context.report.error(pin.line,
                         fmt::format("{}: has no {}=; say which one is meant", pin.place, attribute));
    return std::nullopt;
  }
  const auto number = read_number(context, pin, attribute, 0, UINT32_MAX);
  if (number && pinned.contains(*number)) {
    context.report.error(pin.line,
                         fmt::format("{}: {}='{}' stands twice; remove one", pin.place, attribute, *number));
    return std::nullopt;
  }
  return number;
}

void read_vcpu_pin(const ReadContext& context, const Element& pin, bool vcpus_are_known, Domain& domain) {
  const auto vcpu = thread_number(context, pin, "vcpu", domain.pins.vcpus);
  auto cpus = read_cpu_set(context, pin);
  if (!vcpu || !cpus) {
    return;
  }
  // libvirt passes over these too: they may be of a guest that had more.
  if (*vcpu >= domain.vcpus && !vcpus_are_known) {
    return;
  }
  if (*vcpu >= domain.vcpus) {
    context.report.warning(pin.line,
                           fmt::format("{}: the guest has no vCPU {}; it is passed over", pin.place, *vcpu));
    return;
  }
  domain.pins.vcpus.emplace(*vcpu, *std::move(cpus));
}

void read_iothread_pin(const ReadContext& context, const Element& pin, Domain& domain) {
  const auto id = thread_number(context, pin, "iothread", domain.pins.iothreads);
  auto cpus = read_cpu_set(context, pin);
  if (!id || !cpus) {
    return;
  }
  if (std::ranges::find(domain.iothread_ids, *id) == domain.iothread_ids.end()) {
    context.report.error(pin.line, fmt::format("{}: there is no I/O thread {}; <iothreads> makes {}",
                                               pin.place, *id, domain.iothread_ids.size()));
    return;
  }
  domain.pins.iothreads.emplace(*id, *std::move(cpus));
}

}  // namespace

void read_pins(const ReadContext& context, const Element& root, Domain& domain) {
  const Element* vcpu = root.child("vcpu");
  // libvirt: what placement='auto' finds takes the place of cpuset=.
  if (vcpu != nullptr && vcpu->attribute("cpuset") != nullptr && vcpu->value_of("placement") != "auto") {
    domain.pins.all = read_cpu_set(context, *vcpu);
  }
  const Element* tune = root.child("cputune");
  if (tune == nullptr) {
    return;
  }
  const bool vcpus_are_known =
      vcpu == nullptr ? !root.has_refused_children : parse_unsigned(vcpu->text) == domain.vcpus;
  for (const Element& each : tune->children) {
    if (each.name == "vcpupin") {
      read_vcpu_pin(context, each, vcpus_are_known, domain);
    } else if (each.name == "emulatorpin") {
      domain.pins.emulator = read_cpu_set(context, each);
    } else if (each.name == "iothreadpin") {
      read_iothread_pin(context, each, domain);
    }
  }
}

}  // namespace vmm::domain
