// The arguments of a QMP command, read and judged before it runs.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "vmm/control/qmp_json.h"
#include "vmm/domain/domain.h"

namespace vmm::control {

// What commands take, whichever they take.
struct Request {
  std::string device;
  bool is_forced = false;
  std::string file;
  std::optional<domain::ImageFormat> format;
  std::optional<uint64_t> bytes;
};
// kDrive and kCdrom: `id` or `device`, both the name of the disk's target; QEMU knows a drive by either.
// kConsole: `device`, which may be absent.
enum Takes : unsigned {
  kNothing = 0,
  kDrive = 1,
  kCdrom = 2,
  kForce = 4,
  kFile = 8,
  kBytes = 16,
  kConsole = 32
};

// What is missing, unknown, or of another type is a fault.
std::expected<Request, Fault> read_request(const Json& values, unsigned takes);

}  // namespace vmm::control
