#include "vmm/domain/boot_order.h"

#include <algorithm>
#include <map>

namespace vmm::domain {
namespace {

using Order = std::vector<BootSource>;

void add(Order& order, const BootSource& source) {
  if (source != BootSource{} && std::ranges::find(order, source) == order.end()) {
    order.push_back(source);
  }
}

const Disk* find(const Domain& domain, std::string_view target) {
  const auto found = std::ranges::find(domain.disks, target, &Disk::target);
  return found == domain.disks.end() ? nullptr : &*found;
}

Order by_number(const Domain& domain) {
  std::map<uint32_t, BootSource> numbered;
  for (const Disk& disk : domain.disks) {
    if (disk.boot_order) {
      numbered[*disk.boot_order] = {.disk = &disk};
    }
  }
  for (const Interface& interface : domain.interfaces) {
    if (interface.boot_order) {
      numbered[*interface.boot_order] = {.interface = &interface};
    }
  }
  Order order;
  for (const auto& [number, source] : numbered) {
    order.push_back(source);
  }
  return order;
}

// The first of the kind; neither: there is none.
BootSource first_of(const Domain& domain, BootDevice kind) {
  if (kind == BootDevice::kNetwork) {
    return {.interface = domain.interfaces.empty() ? nullptr : &domain.interfaces.front()};
  }
  const auto found = std::ranges::find_if(domain.disks, [kind](const Disk& disk) {
    return kind == (disk.device == DiskDevice::kCdrom ? BootDevice::kCdrom : BootDevice::kHardDisk);
  });
  return {.disk = found == domain.disks.end() ? nullptr : &*found};
}

Order by_kind(const Domain& domain, const std::vector<BootDevice>& kinds) {
  Order order;
  for (const BootDevice kind : kinds) {
    add(order, first_of(domain, kind));
  }
  return order;
}

Order as_the_file_says(const Domain& domain) {
  Order order = by_number(domain);
  if (order.empty()) {
    order = by_kind(domain, domain.os.boot_devices);
  }
  if (order.empty()) {
    order = by_kind(domain, {BootDevice::kHardDisk});
  }
  return order.empty() ? by_kind(domain, {BootDevice::kCdrom}) : order;
}

void put_last(Order& order, const Domain& domain, const Disk* install) {
  std::erase(order, BootSource{.disk = install});
  for (const Disk& disk : domain.disks) {
    if (disk.device == DiskDevice::kDisk) {
      add(order, {.disk = &disk});
    }
  }
  order.push_back({.disk = install});
}

}  // namespace

std::vector<BootSource> boot_sources(const Domain& domain, std::string_view first) {
  Order usual = as_the_file_says(domain);
  if (const Disk* const install = find(domain, domain.os.install_target)) {
    put_last(usual, domain, install);
  }
  Order order;
  add(order, {.disk = find(domain, first)});
  for (const BootSource& source : usual) {
    add(order, source);
  }
  return order;
}

std::vector<const Disk*> boot_order(const Domain& domain, std::string_view first) {
  std::vector<const Disk*> disks;
  for (const BootSource& source : boot_sources(domain, first)) {
    if (source.disk != nullptr) {
      disks.push_back(source.disk);
    }
  }
  return disks;
}

}  // namespace vmm::domain
