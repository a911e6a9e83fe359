// A domain file's text made into that of another guest, with disks of its own on the first one's.
//
// Everything else in it stays as it is: comments, order, what vmm leaves out. Touches no file. Threads:
// values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/domain/domain.h"

namespace vmm::domain {

struct CloneOptions {
  std::string name;
  std::array<uint8_t, 16> uuid{};
  // Absolute; of the old file and of the new one. Where they differ, relative paths become absolute.
  std::filesystem::path old_folder;
  std::filesystem::path new_folder;
};

struct CloneText {
  struct Overlay {
    size_t disk = 0;             // in Domain::disks
    std::filesystem::path path;  // to be made: NAME-vda.qcow2 in the new folder
  };
  struct Moved {
    std::filesystem::path from;
    std::filesystem::path to;  // NAME-… beside it
  };

  std::string text;
  std::vector<Overlay> overlays;    // of the disks that are written to, and not by others, and not throwaway
  std::vector<Moved> serial_ports;  // in files, and listening at sockets; logs of passt
};

// `text` is that of `domain`. Errors, of ErrorKind::kConfiguration: a name that is none, or the old one.
Result<CloneText> clone_domain_text(std::string_view text, const Domain& domain, const CloneOptions& options);

}  // namespace vmm::domain
