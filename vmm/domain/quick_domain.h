// A domain out of a few options, for `vmm run`: the text of a domain file, which is then read as any other.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/domain/domain.h"

namespace vmm::domain {

struct QuickDisk {
  std::filesystem::path source;
  DiskSource source_type = DiskSource::kFile;
  ImageFormat format = ImageFormat::kRaw;
  std::string secret;               // the name of its passphrase; empty: it is not encrypted
  std::filesystem::path data_file;  // of a qcow2 image that has its data elsewhere
};

enum class QuickNet : uint8_t { kNone, kUser, kTap, kBridge };

struct QuickForward {
  IpProtocol protocol = IpProtocol::kTcp;
  IpAddress address;  // of the host
  uint16_t host_port = 0;
  uint16_t guest_port = 0;
};

// Paths are absolute, and empty where there is no such file.
struct QuickDomain {
  std::string name;
  MachineType machine = MachineType::kPc;
  uint64_t memory_mib = 1024;
  uint64_t vcpus = 1;
  std::filesystem::path kernel;
  std::filesystem::path initrd;
  std::optional<std::string> command_line;  // absent: the console, and the root disk where there is no initrd
  std::vector<QuickDisk> disks;             // throwaway all of them
  std::filesystem::path cdrom;              // booted before the disks
  std::optional<QuickNet> net;              // absent: kUser, where there is a place for it
  std::string net_device;                   // with kTap, kBridge: what is_host_device_name() takes
  std::vector<QuickForward> forwards;       // with kUser
  bool is_netbooted = false;                // from the card, before all else
  std::filesystem::path boot_path;          // with kUser: what it boots, with its folder; or
  std::string boot_url;                     // the same, from elsewhere; with is_netbooted one of them
  bool has_exit_port = false;
};

// Follows libvirt's schema. Errors, of ErrorKind::kConfiguration, name the option of `vmm run`: nothing to
// boot, what the machine does not have, figures out of range, characters that XML cannot hold.
Result<std::string> quick_domain_text(const QuickDomain& quick);

}  // namespace vmm::domain
