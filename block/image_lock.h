// ImageLock: an image is kept from a second writer, in the way QEMU keeps it.
//
// QEMU (2.10 and later) puts shared OFD locks (fcntl(2), F_OFD_SETLK) on single bytes of the image: byte
// 100 + n says "I use permission n", byte 200 + n says "nobody else may use permission n". Permissions:
// 0 consistent read, 1 write, 2 write unchanged data, 3 resize. Whoever finds the other's byte locked gives
// way. The locks end with the last hold on the open file, and a request that io_uring has just completed may
// still be one: who closes an image gives them back first.
#pragma once

#include <string>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm::block {

enum class ImageUse : unsigned char {
  kRead,         // nobody may write meanwhile
  kWrite,        // nobody else may write
  kReadShared,   // others may write
  kWriteShared,  // others may write too
};

// Who is told what to do about a lock in the way.
enum class LockedFor : unsigned char { kGuest, kTool };

// Takes the locks on an open image, or says who holds it, by PID and name where the host shows that. Changes
// nothing in the file. A file system without locks is taken as it is, with a warning. A holder that no
// process shows is waited for, half a second at most. On failure no lock is held.
Status lock_image(const UniqueFd& image, const std::string& path, ImageUse use,
                  LockedFor whom = LockedFor::kGuest);

// Says what lock_image() would say, and takes no lock, not even for a moment: nobody else is refused for it.
// Locks of this process on other descriptors count.
Status look_at_locks(const UniqueFd& image, const std::string& path, ImageUse use,
                     LockedFor whom = LockedFor::kGuest);

// Gives back what lock_image() took; on an image that holds no locks it does nothing.
void unlock_image(const UniqueFd& image);

}  // namespace vmm::block
