// What a domain wants of the host and this host does not give, found without running it (vmm --check).
//
// Images are opened through the gate of a run, for reading, and no lock is taken; consoles' files are looked
// at; the rest of the machine is built and thrown away, and runs nothing. Nothing on the host is created or
// changed. Not looked at: who listens at a socket, and throwaway disks' room.
//
// Threads: the main thread's.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "vmm/base/error.h"
#include "vmm/domain/diagnostics.h"
#include "vmm/domain/domain.h"
#include "vmm/machine/secrets.h"

namespace vmm {

struct HostCheck {
  std::vector<domain::Diagnostic> found;  // by line; those of no line first
  // Warnings about the host's load now, which may be another when the guest starts: of no concern to
  // --strict.
  std::vector<domain::Diagnostic> found_now;
  // kConfiguration: an error of the command line or of the domain file is among them; kHost: errors, and all
  // are the host's; absent: there is none.
  std::optional<ErrorKind> worst;
};

HostCheck check_host(const domain::Domain& domain, const DiskSecrets& secrets);

// The same of a domain whose file has errors, but for what these may be about (Domain::doubtful_lines) and
// the machine as a whole.
HostCheck check_host_of_incomplete(const domain::Domain& domain, const DiskSecrets& secrets);

// An error where vmm could not make a socket of that name.
Status check_socket_path(const std::filesystem::path& path);

}  // namespace vmm
