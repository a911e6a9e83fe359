// Which COM ports the serial ports of a domain are.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace vmm::domain {

// `said`: what each <serial> on a COM port has as its <target port=…/>, in the order of the file. The answer
// has their numbers, as libvirt gives them: one without a number gets the first that is free. Absent: all
// kMaxSerialPorts are taken.
std::vector<std::optional<uint64_t>> serial_numbers(std::span<const std::optional<uint64_t>> said);

}  // namespace vmm::domain
