// Domains by the number: each seed gives one that a domain file can describe, every field of domain.h with
// more than one value over the seeds. What texts may hold is what libvirt's schema lets through.
#pragma once

#include <cstdint>

#include "vmm/domain/domain.h"

namespace vmm::domain::testing {

Domain generated_domain(uint32_t seed);

}  // namespace vmm::domain::testing
