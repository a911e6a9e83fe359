// Committing: what an overlay holds is written into the image that it stands on.
//
// Threads: blocks; the loop is run meanwhile.
#pragma once

#include <functional>
#include <memory>

#include "block/disk_options.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"

namespace vmm::block {

// `overlay`: its path, format and passphrases; with `layers` above 1 those below it are committed too, as it
// shows them. `base` is what they stand on, and is opened for writing: nobody else may use it. Flushed at the
// end. The overlay is not changed, and reads as before at any moment: until it is removed or emptied, a
// commit that was cut short can be done again, and a mark on the base says so meanwhile (image_mark.h).
// Errors name the file; some of the overlay may be in the base by then.
Status commit(const std::shared_ptr<EventLoop>& loop, const DiskOptions& overlay, const DiskOptions& base,
              const std::function<void(uint64_t done, uint64_t all)>& progress = {});

}  // namespace vmm::block
