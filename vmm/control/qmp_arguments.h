// The arguments of a QMP command, read and judged before it runs.
//
// Threads: values.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "vmm/control/qmp_json.h"
#include "vmm/control/qmp_types.h"
#include "vmm/domain/domain.h"
#include "vmm/machine/machine_actions.h"

namespace vmm::control {

// What commands take, whichever they take.
struct Request {
  std::string device;
  std::string file;
  std::optional<uint64_t> bytes;
  // Of commands that change images (qmp_image_commands.h).
  std::string node;       // of the disk, where `device` is empty
  std::string base;       // a file
  std::string base_node;  // or a node
  std::string top;
  std::string top_node;
  std::string job;  // its id
  uint64_t bytes_per_second = 0;
  std::string group;
  domain::IoTune limits;  // what was no number of QEMU's range is out of range
  MachineActionChange actions;
  std::optional<domain::ImageFormat> format;
  bool is_forced = false;
  bool is_flat = false;
  bool is_of_nodes = false;
  bool is_existing = false;  // what `file` names
  bool is_of_top = false;
  bool is_block_job = false;  // of a command of the older kind, which has other errors
  bool is_dismissed = true;   // when it has ended
  bool is_finalized = true;   // by itself
  bool is_up = false;
};
// kDrive and kCdrom: `id` or `device`, both the name of the disk's target; QEMU knows a drive by either.
enum Takes : unsigned {
  kNothing = 0,
  kDrive = 1U << 0,
  kCdrom = 1U << 1,
  kForce = 1U << 2,
  kFile = 1U << 3,
  kBytes = 1U << 4,
  kFlat = 1U << 5,
  kQueryNodes = 1U << 6,
  kActions = 1U << 7,
  kNode = 1U << 8,  // `device` or `node-name`
  kSize = 1U << 9,
  kSnapshot = 1U << 10,
  kJobStart = 1U << 11,
  kBase = 1U << 12,
  kTop = 1U << 13,
  kBackup = 1U << 14,
  kBlockJob = 1U << 15,  // `device`, which is a job's id
  kJob = 1U << 16,       // `id`, the same
  kSpeed = 1U << 17,
  kDiskOnly = 1U << 18,  // `device` alone
  kLimits = 1U << 19,
  kConsole = 1U << 20,  // `device`, which may be absent
  kLink = 1U << 21,
  kInterface = 1U << 22,  // `name`, which may be absent
  kOldJob = 1U << 23,     // no argument: the command's errors are those of block jobs
};

// As query-qmp-schema tells them.
std::vector<Member> arguments_of(unsigned takes);

// What is missing, unknown, or of another type is a fault.
std::expected<Request, Fault> read_request(const Json& values, unsigned takes);

}  // namespace vmm::control
