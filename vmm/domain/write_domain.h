// A domain as the text of a domain file: what `vmm --print` shows.
//
// The text is canonical: one domain has one, whatever file it came from. It follows libvirt's schema
// (domain.rng) as far as the values do: libvirt's is narrower than its own reader for some texts (serial
// numbers, aliases, time zones, a rebootTimeout above 32767), and <dataStore> is in the schema of
// libvirt 10.10 and later. What only vmm has, the exit port, is in <metadata>, in the namespace
// urn:vmm:domain:1. parse_domain() makes the same domain of it, but for what no domain file says:
// Os::install_target, Throwaway, Disk::kept_as and Disk::is_committed, and lines. Threads: values.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "vmm/base/error.h"
#include "vmm/domain/domain.h"

namespace vmm::domain {

// Relative paths become absolute. Errors, of ErrorKind::kConfiguration: a path or text that XML cannot hold,
// and more than kMaxFileBytes (load.h), which could not be read back.
Result<std::string> domain_text(const Domain& domain);

// "6a2f6f0e-8c55-4a5e-9f0c-0d3b8f1c2a77"
std::string uuid_text(const std::array<uint8_t, 16>& uuid);

}  // namespace vmm::domain
