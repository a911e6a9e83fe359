// The system call behind a file operation.
#pragma once

#include <cstdint>

#include "block/engine/file_operation.h"

namespace vmm::block {

// Has the kernel do the operation, or its next part, and waits for it. Its answer, for accept_result():
// bytes moved, or a negative errno. Any thread that holds the operation.
int64_t call_kernel(FileOperation& operation);

}  // namespace vmm::block
