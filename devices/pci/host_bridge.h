// The i440FX host bridge, 00:00.0 (Intel 290549). Its shadow RAM and SMRAM registers are kept for the guest
// to read back; what they would switch does not exist here yet.
#pragma once

#include "devices/pci/pci_function.h"

namespace vmm::pci {

class HostBridge final : public PciFunction {
 public:
  HostBridge();
};

}  // namespace vmm::pci
