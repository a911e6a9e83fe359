// DiskOptions: what a user can say about a disk, as plain values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/disk_layer.h"
#include "block/engine/engine.h"
#include "block/file_state.h"
#include "block/host_file.h"

namespace vmm::block {

class CacheCounters;
class OverlayFile;
class Secret;
class SpaceBudget;

using Passphrases = std::vector<std::shared_ptr<const Secret>>;

enum class DiscardMode : uint8_t { kIgnore, kUnmap };

enum class DetectZeroes : uint8_t {
  kOff,
  kOn,     // a write of zeroes becomes a write-zeroes
  kUnmap,  // the same, and with DiscardMode::kUnmap the space is given back
};

// One of the snapshots that an image has inside.
struct SnapshotChoice {
  std::string either;  // an ID, or else a name; if empty, what follows counts
  std::optional<std::string> id;
  std::optional<std::string> name;
  bool keeps_size = false;  // the disk is as long as it is now, and not as long as it was
};

struct DiskOptions {
  std::string path;
  Format format = Format::kRaw;
  bool read_only = false;
  // Others may write to it too (<shareable/>); for a tool, to what it stands on as well.
  bool shareable = false;
  CacheMode cache = CacheMode::kWriteback;
  std::optional<CacheMode> backing_cache;  // of what the image stands on; absent: the same
  DiscardMode discard = DiscardMode::kIgnore;
  DetectZeroes detect_zeroes = DetectZeroes::kOff;
  EngineKind io = EngineKind::kIoUring;
  // A guest needs whole sectors of 512 bytes, and at least one; tools take any size.
  bool for_guest = true;
  // External data files that may be opened where an image of the chain names them; see data_file.h.
  std::vector<std::string> data_files;
  // The format of the image's backing file, where the image names none.
  std::optional<Format> backing_format;
  // What the image stands on, from the first file on, as its domain file says; and whether it says that there
  // are no more. Where the images say otherwise they are refused.
  struct BackingStore {
    std::string path;  // empty: any
    Format format = Format::kRaw;
  };
  std::vector<BackingStore> backing_stores;
  bool backing_ends = false;
  // For the tables of each layer in memory; 0: a default that is enough for 256 GiB in clusters of 64 KiB.
  uint64_t metadata_cache_bytes = 0;
  // Where there is one, what is found in memory of each layer's tables is counted there.
  std::shared_ptr<CacheCounters> cache_counters;
  // So many images, this one and those that it stands on; 0: all. Below them there are zeroes, which the
  // block map tells apart. Only to be read.
  uint32_t layers = 0;
  // It is to stand on another image soon: what is zeroed is written down, whatever it stands on now. Its
  // contents are to stay as they are, and so its dirty bitmaps stay valid.
  bool changes_backing = false;
  // A qcow2 image's disk counts as so long, for which its L1 table has been made (qcow2/resize.h); 0: what
  // its header says.
  uint64_t disk_bytes = 0;
  // For whatever is encrypted in the chain.
  Passphrases passphrases;
  // Where there is one, what is written goes there, and `path` is only read: not even its times change. The
  // overlay is in the page cache, and a flush of it does nothing.
  std::shared_ptr<const OverlayFile> overlay;
  // Where there is one, it gets every file that is opened: the image first, then what it stands on.
  std::shared_ptr<std::vector<FileState>> opened;
  // The file must still be this one, unchanged; else it is refused. Not asked of what it stands on.
  std::optional<FileState> expected;
  // Only to see whether it could be opened. What these options want and it does not have is an error, as is a
  // lock in the way; but it is opened for reading, no lock is taken, and nothing of it changes, not even its
  // times. Only to be destroyed. REQUIRES: no overlay.
  bool is_trial = false;
  // The disk as it was then, and as long as it was then. REQUIRES: read_only.
  std::optional<SnapshotChoice> snapshot;
  // What the overlay may take, shared with the guest's others; nullptr: what the host has.
  std::shared_ptr<SpaceBudget> budget;
};

}  // namespace vmm::block
