#include "vmm/domain/boot_order.h"

#include <algorithm>
#include <map>

namespace vmm::domain {
namespace {

using Order = std::vector<const Disk*>;

void add(Order& order, const Disk* disk) {
  if (disk != nullptr && std::ranges::find(order, disk) == order.end()) {
    order.push_back(disk);
  }
}

const Disk* find(const Domain& domain, std::string_view target) {
  const auto found = std::ranges::find(domain.disks, target, &Disk::target);
  return found == domain.disks.end() ? nullptr : &*found;
}

Order by_number(const Domain& domain) {
  std::map<uint32_t, const Disk*> numbered;
  for (const Disk& disk : domain.disks) {
    if (disk.boot_order) {
      numbered[*disk.boot_order] = &disk;
    }
  }
  Order order;
  for (const auto& [number, disk] : numbered) {
    order.push_back(disk);
  }
  return order;
}

Order by_kind(const Domain& domain, const std::vector<BootDevice>& kinds) {
  Order order;
  for (const BootDevice kind : kinds) {
    const auto found = std::ranges::find_if(domain.disks, [kind](const Disk& disk) {
      return kind == (disk.device == DiskDevice::kCdrom ? BootDevice::kCdrom : BootDevice::kHardDisk);
    });
    add(order, found == domain.disks.end() ? nullptr : &*found);
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
  std::erase(order, install);
  for (const Disk& disk : domain.disks) {
    if (disk.device == DiskDevice::kDisk) {
      add(order, &disk);
    }
  }
  order.push_back(install);
}

}  // namespace

std::vector<const Disk*> boot_order(const Domain& domain, std::string_view first) {
  Order usual = as_the_file_says(domain);
  if (const Disk* const install = find(domain, domain.os.install_target)) {
    put_last(usual, domain, install);
  }
  Order order;
  add(order, find(domain, first));
  for (const Disk* const disk : usual) {
    add(order, disk);
  }
  return order;
}

}  // namespace vmm::domain
