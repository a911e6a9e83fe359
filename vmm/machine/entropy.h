// Where random numbers for guests come from.
#pragma once

#include <filesystem>

#include "devices/virtio/rng.h"
#include "vmm/base/error.h"

namespace vmm {

// path: a character device that is read without waiting; empty: the host's kernel (getrandom(2)), which
// always has some. An error where it cannot be opened, or is something else. The source is called by one
// thread at a time.
Result<virtio::VirtioRng::Source> open_entropy(const std::filesystem::path& path);

}  // namespace vmm
