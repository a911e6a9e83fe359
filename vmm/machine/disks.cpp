#include "vmm/machine/disks.h"

namespace vmm {
Disks::~Disks() { close(); }
Result<std::unique_ptr<Disks>> Disks::create(const domain::Domain&, const GuestMemory&, IoBus&, Vm&,
                                             PcChipset*, EventLoop& main_loop) {
  return std::unique_ptr<Disks>(new Disks(main_loop));
}
void Disks::start() {}
void Disks::reset() {}
Status Disks::flush() { return {}; }
void Disks::close() {}
}  // namespace vmm
