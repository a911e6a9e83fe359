// Processors, and the I/O threads.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "vmm/domain/reader.h"

namespace vmm::domain {

namespace {

// The number in the element's text; nothing after an error.
std::optional<uint32_t> read_count(const ReadContext& context, const Element& element, uint32_t least,
                                   uint32_t most) {
  const auto count = parse_unsigned(element.text);
  if (!count) {
    context.report.error(
        element.line, fmt::format("{}: '{}' is not a whole number", element.place, printable(element.text)));
    return std::nullopt;
  }
  if (*count < least || *count > most) {
    context.report.error(element.line,
                         fmt::format("{}: {}; give at {} {}", element.place, *count,
                                     *count < least ? "least" : "most", *count < least ? least : most));
    return std::nullopt;
  }
  return static_cast<uint32_t>(*count);
}

// False: how many they are is not known, after an error.
bool read_vcpus(const ReadContext& context, const Element& root, Domain& domain) {
  const Element* element = root.child("vcpu");
  if (element == nullptr) {
    return !root.has_refused_children;
  }
  domain.vcpus_line = element->line;
  const auto count = read_count(context, *element, 1, kMaxVcpus);
  domain.vcpus = count.value_or(1);
  const auto current = read_number(context, *element, "current", 1, kMaxVcpus);
  if (count && current && *current > *count) {
    context.report.error(element->line, fmt::format("{}: current='{}' is more than the {} that there can be",
                                                    element->place, *current, *count));
  } else if (count && current && *current != *count) {
    context.report.error(
        element->line, fmt::format("{}: current='{}' of {}: CPU hot-plug is not there; write <vcpu>{}</vcpu>",
                                   element->place, *current, *count, *current));
  }
  return count.has_value();
}

void read_topology(const ReadContext& context, const Element& cpu, bool vcpus_are_known, Domain& domain) {
  domain.topology = {.sockets = domain.vcpus};
  const Element* element = cpu.child("topology");
  if (element == nullptr) {
    return;
  }
  const auto part = [&](std::string_view name, bool is_needed) {
    if (element->is_mistaken(name)) {
      return uint32_t{0};
    }
    if (is_needed && element->lacks(name)) {
      context.report.error(
          element->line,
          fmt::format("{}: has no {}=; give sockets=, cores= and threads=", element->place, name));
      return uint32_t{0};
    }
    return element->attribute(name) == nullptr
               ? uint32_t{1}
               : read_number(context, *element, name, 1, kMaxVcpus).value_or(0);
  };
  const CpuTopology topology = {
      .sockets = part("sockets", true),
      .dies = part("dies", false),
      .cores = part("cores", true),
      .threads = part("threads", true),
  };
  const uint64_t product = uint64_t{topology.sockets} * topology.dies * topology.cores * topology.threads;
  if (product == 0 || !vcpus_are_known || !element->mistaken.empty()) {
    return;
  }
  if (product != domain.vcpus) {
    context.report.error(element->line, fmt::format("{}: makes {} vCPUs, and <vcpu> says {}; make them agree",
                                                    element->place, product, domain.vcpus));
    return;
  }
  domain.topology = topology;
}

void read_feature(const ReadContext& context, const Element& element, std::set<std::string>& seen, Cpu& cpu) {
  CpuFeature feature;
  feature.name = element.value_of("name");
  feature.line = element.line;
  feature.policy = read_choice(context, element, "policy", FeaturePolicy::kRequire,
                               {{"force", FeaturePolicy::kForce},
                                {"require", FeaturePolicy::kRequire},
                                {"optional", FeaturePolicy::kOptional},
                                {"disable", FeaturePolicy::kDisable},
                                {"forbid", FeaturePolicy::kForbid}});
  if (feature.name.empty()) {
    if (!element.is_mistaken("name")) {
      context.report.error(element.line, fmt::format("{}: has no name=; say which feature", element.place));
    }
    return;
  }
  if (!seen.insert(feature.name).second) {
    context.report.error(element.line, fmt::format("{}: the feature '{}' stands twice; remove one",
                                                   element.place, printable(feature.name)));
    return;
  }
  cpu.features.push_back(std::move(feature));
}

// QEMU's processors of the host are migratable where nothing else is said, and libvirt takes it for no other.
bool read_migratable(const ReadContext& context, const Element& element) {
  const Attribute* migratable = element.attribute("migratable");
  const std::string_view mode = element.value_of("mode");
  if (migratable != nullptr && element.is_mistaken("mode")) {
    return true;
  }
  if (migratable != nullptr && mode != "host-passthrough" && mode != "maximum") {
    context.report.error(
        migratable->line,
        fmt::format("{}: has a meaning only with mode='host-passthrough' or 'maximum'; remove "
                    "it, or change mode=",
                    element.place_of(*migratable)));
    return true;
  }
  return read_flag(context, element, "migratable", true);
}

// libvirt takes mode='custom' where there is no mode; and without a model that is the hypervisor's own
// choice.
void read_mode(const ReadContext& context, const Element& element, Cpu& cpu) {
  cpu.mode = read_choice(context, element, "mode", CpuMode::kCustom,
                         {{"host-passthrough", CpuMode::kHostPassthrough},
                          {"maximum", CpuMode::kHostPassthrough},
                          {"host-model", CpuMode::kHostModel},
                          {"custom", CpuMode::kCustom}});
  cpu.migratable = read_migratable(context, element);
  if (cpu.mode != CpuMode::kCustom) {
    return;
  }
  if (const Element* model = element.child("model")) {
    cpu.model = model->text;
    if (cpu.model.empty()) {
      context.report.error(model->line, fmt::format("{}: empty; give the name of a model", model->place));
    }
    return;
  }
  cpu.mode = CpuMode::kHostPassthrough;
  if (element.child("feature") != nullptr && !element.has_refused_children && !element.is_mistaken("mode")) {
    context.report.error(
        element.line,
        fmt::format("{}: has features and no model; use mode='host-passthrough' or 'host-model', "
                    "or give <model>",
                    element.place));
  }
}

// False: some of them are not known, after an error.
bool read_iothread_ids(const ReadContext& context, const Element& list, std::set<uint32_t>& ids) {
  bool are_known = !list.has_refused_children;
  for (const Element& each : list.children) {
    const auto id = read_number(context, each, "id", 1, 1'000'000);
    if (each.lacks("id")) {
      context.report.error(each.line, fmt::format("{}: has no id=; give it a number from 1", each.place));
    }
    if (!id) {
      are_known = false;
    } else if (!ids.insert(*id).second) {
      context.report.error(each.line, fmt::format("{}: the id {} stands twice; remove one", each.place, *id));
    }
  }
  if (ids.size() > kMaxIoThreads) {
    context.report.error(list.line, fmt::format("{}: more than {} I/O threads", list.place, kMaxIoThreads));
  }
  return are_known;
}

// libvirt numbers from 1 the I/O threads that <iothreadids> does not name. Where they are not known it is all
// that there can be, so that who names one of them is not blamed too.
void read_iothreads(const ReadContext& context, const Element& root, Domain& domain) {
  std::set<uint32_t> ids;
  bool are_known = true;
  if (const Element* list = root.child("iothreadids")) {
    are_known = read_iothread_ids(context, *list, ids);
  }
  size_t count = ids.size();
  if (const Element* element = root.child("iothreads")) {
    const auto wanted = read_count(context, *element, 0, kMaxIoThreads);
    are_known = are_known && wanted.has_value();
    count = std::max<size_t>(count, wanted.value_or(0));
  }
  for (uint32_t id = 1; ids.size() < (are_known ? count : kMaxIoThreads); ++id) {
    ids.insert(id);
  }
  domain.iothread_ids.assign(ids.begin(), ids.end());
}

}  // namespace

void read_processors(const ReadContext& context, const Element& root, Domain& domain) {
  const bool vcpus_are_known = read_vcpus(context, root, domain);
  domain.topology = {.sockets = domain.vcpus};
  if (const Element* element = root.child("cpu")) {
    domain.cpu.line = element->line;
    read_mode(context, *element, domain.cpu);
    read_topology(context, *element, vcpus_are_known, domain);
    std::set<std::string> seen;
    for (const Element& each : element->children) {
      if (each.name == "feature") {
        read_feature(context, each, seen, domain.cpu);
      }
    }
  }
  read_iothreads(context, root, domain);
}

}  // namespace vmm::domain
