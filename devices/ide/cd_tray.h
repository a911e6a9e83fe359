// CdTray: the host's hand at a CD-ROM drive: eject, insert, change.
//
// Threads: any; callbacks come on the drive's loop. One hand at a time: a medium is taken out before another
// is put in.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "block/block_device.h"

namespace vmm::ide {

class AtapiDrive;
class IdeChannel;

class CdTray {
 public:
  struct Status {
    bool has_medium = false;
    bool is_open = false;
    bool is_locked = false;  // the guest prevents removal
  };
  enum class Opened : uint8_t {
    kOpen,        // it is (or was) out
    kGuestAsked,  // locked: the guest sees somebody press the button, and may open it
  };

  CdTray(IdeChannel& channel, uint8_t drive, AtapiDrive& cdrom)
      : channel_(channel), drive_(drive), cdrom_(cdrom) {}

  // Called when the tray has moved, by the guest or from here: on any thread, with no lock held; where it
  // stands then, status() says. REQUIRES: no vCPU and no loop runs.
  void set_on_moved(std::function<void()> on_moved) { on_moved_ = std::move(on_moved); }

  Status status() const;
  // is_forced: opens a locked tray too, and a read that is under way fails.
  Opened open(bool is_forced);
  // Over a medium, that is a new one to the guest.
  void close();
  // The medium is gone for the guest at once; from on_removed on, nobody uses its BlockDevice.
  void remove(std::function<void()> on_removed);
  // The medium is there for the guest before on_inserted, or when the tray closes; a removal that was asked
  // for meanwhile keeps it out.
  // REQUIRES: the disk outlives its removal.
  void insert(block::BlockDevice& disk, std::function<void()> on_inserted);

 private:
  friend class IdeChannel;

  // Since it was asked last. REQUIRES: the channel's mutex is held.
  bool has_moved();
  void tell_moved() const;

  IdeChannel& channel_;
  const uint8_t drive_;
  // Guarded by the channel's mutex.
  AtapiDrive& cdrom_;
  uint64_t removals_ = 0;
  bool was_open_ = false;

  std::function<void()> on_moved_;  // constant after building
};

}  // namespace vmm::ide
