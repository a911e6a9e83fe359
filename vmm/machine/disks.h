// Disks: the domain's <disk> elements, each an image on an I/O thread and a virtio-blk device in front of it.
//
// Threads: the methods are the main thread's. Images, engines and queues belong to their I/O threads from
// start() on.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "block/block_device.h"
#include "block/cache_counters.h"
#include "block/disk_counters.h"
#include "block/disk_layer.h"
#include "block/error_policy.h"
#include "block/live/live_disk.h"
#include "block/overlay_file.h"
#include "block/space_budget.h"
#include "block/throttled_disk.h"
#include "devices/virtio/block.h"
#include "vmm/base/error.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/log.h"
#include "vmm/domain/domain.h"
#include "vmm/machine/disc_check.h"
#include "vmm/machine/io_thread.h"
#include "vmm/machine/machine_event.h"
#include "vmm/machine/pc_chipset.h"
#include "vmm/machine/secrets.h"
#include "vmm/machine/thread_pins.h"
#include "vmm/machine/throwaway_disk.h"
#include "vmm/machine/virtio_places.h"

namespace vmm {

class Disks {
 public:
  // What disks are attached to.
  struct World {
    VirtioPlaces& places;
    const DiskSecrets& secrets;
    const ThreadPins& pins;
    EventLoop& main_loop;
    // A CD-ROM drive's tray has moved, or the host could not do something; of the errors of a disk about
    // which the same is done only as many as log::RateLimit allows. Called on the main loop's thread.
    std::function<void(const MachineEvent& event)> on_event;
    // A request that the host could not do is held, as error_policy='stop' wants it: the guest is to be
    // paused until retry_held(). Called on an I/O thread.
    std::function<void(const std::string& disk, const std::string& reason)> on_held;
  };

  // REQUIRES: everything passed outlives the Disks.
  static Result<std::unique_ptr<Disks>> create(const domain::Domain& domain, const World& world);
  ~Disks();
  Disks(const Disks&) = delete;
  Disks& operator=(const Disks&) = delete;

  // Firmware's name of a disk of the domain's. machine='pc' only.
  const std::string& boot_path(const domain::Disk& disk) const { return find(disk.target)->boot_path; }

  // An error: a thread cannot be pinned.
  Status start();

  // Stops taking requests and waits for those in flight. In turns with resume().
  // waiting: what becomes of those that wait for a limit. Before a reset they are dropped, as by a reset of
  // their device alone: a guest gains nothing by it. kDone: they are done at once, and it is the end.
  enum class Waiting : uint8_t { kDone, kDropped };
  void quiesce(Waiting waiting);
  void resume();  // REQUIRES: kDropped before
  // Requests that are held are tried again.
  void retry_held();
  // virtio-mmio devices to their power-on state; those on PCI are reset with their bus. REQUIRES: quiesced,
  // no vCPU runs.
  void reset();

  // What was written is on stable storage when this returns, but for what nobody wants there. REQUIRES:
  // quiesced.
  Status flush();

  // What throwaway disks' guest writes. The files outlive the Disks, and are complete when they are gone.
  Result<std::vector<ThrowawayDisk>> throwaway_disks() const;
  // Of what they take on the host, all together; absent: what the host has. A higher limit helps requests
  // that are held at their next try.
  struct ThrowawaySpace {
    uint64_t used_bytes = 0;
    std::optional<uint64_t> limit_bytes;
  };
  std::optional<ThrowawaySpace> throwaway_space() const;  // absent: no disk is throwaway
  void set_throwaway_limit(std::optional<uint64_t> bytes);

  // These count from now on, of a drive for every disc; absent: none. An error: there is no such disk, or the
  // host cannot do it. REQUIRES: started.
  Status set_limits(std::string_view target, const std::optional<domain::IoTune>& limits);

  // --- The host's hand at disks and CD-ROM drives, by their target names (disk_trays.cpp). REQUIRES:
  // started.

  struct Drive {
    std::string target;
    bool is_cdrom = false;
    bool is_read_only = false;
    std::filesystem::path file;  // empty: no disc
    domain::ImageFormat format = domain::ImageFormat::kRaw;
    ide::CdTray::Status tray;  // of a CD-ROM drive
    // The image, then what it stands on, as they were when they were opened.
    std::vector<block::DiskLayer> layers;
    std::optional<domain::IoTune> limits;
    // Never null; they live as long as the Disks.
    const block::DiskCounters* counters = nullptr;
    const block::CacheCounters* cache = nullptr;
  };
  std::vector<Drive> drives() const;
  bool has(std::string_view target) const { return find(target) != nullptr; }

  // These fail where there is no such CD-ROM drive.
  Result<ide::CdTray::Opened> open_tray(std::string_view target, bool is_forced);
  Status close_tray(std::string_view target);
  // REQUIRES of the caller: the tray is open, else it is an error.
  Status remove_disc(std::string_view target);
  // Into an open tray that is empty, else it is an error; the guest sees it when the tray is closed. format:
  // absent, what the domain says of the drive.
  Status insert_disc(std::string_view target, const std::filesystem::path& file,
                     std::optional<domain::ImageFormat> format);
  // In place of the disc that is there, if any. Where the image cannot be opened, or the guest holds the tray
  // locked and this is not forced, nothing is changed; but the guest is asked to open it.
  Status change_disc(std::string_view target, const std::filesystem::path& file,
                     std::optional<domain::ImageFormat> format, bool is_forced);

  // --- For who changes images while the guest runs (disk_images.cpp) ---

  enum class LiveUse : uint8_t {
    kRead,   // what the disk holds
    kImage,  // the files that it is made of
  };
  struct Live {
    IoThread* thread = nullptr;
    block::LiveDisk* disk = nullptr;  // on its thread
  };
  // Errors: there is no such disk; it is a CD-ROM drive, or its images cannot be changed.
  Result<Live> live_disk(std::string_view target, LiveUse use) const;
  // Whether the disk can have that size, the guest's blocks being what they are.
  Status check_size(std::string_view target, uint64_t size_bytes) const;
  // Whether other disks of the guest stand on what is merged, or on what it is merged into.
  Status check_unused(std::string_view target, const std::vector<block::DiskLayer>& layers, uint32_t top,
                      uint32_t base) const;
  // What the disk is made of now.
  void note_image(std::string_view target, const std::vector<block::DiskLayer>& layers);
  // The guest is told of the disk's size.
  void tell_size(std::string_view target) const;
  // Where the guest's data are no longer in the file that the domain names.
  void warn_of_other_images() const;

 private:
  struct Medium {
    std::unique_ptr<block::BlockDevice> image;
    block::ErrorPolicyDevice* policy = nullptr;  // what is limited
    block::LiveDisk* live = nullptr;             // the image itself, of a disk
    block::ThrottledDisk* throttle = nullptr;    // the image
    std::optional<DiscBoot> boot;                // of a raw image in a CD-ROM drive
    std::vector<block::DiskLayer> layers;        // until the drive has it
  };
  struct Disk {
    const domain::Disk* wanted = nullptr;
    std::string name;       // "disk vda"
    std::string boot_path;  // machine='pc': firmware's name
    std::optional<uint32_t> boot_order;
    IoThread* thread = nullptr;
    bool is_volatile = false;  // throwaway, or cache='unsafe': nobody asked for flushes
    std::shared_ptr<const block::OverlayFile> overlay;  // of a throwaway disk
    std::shared_ptr<std::vector<block::FileState>> files = std::make_shared<std::vector<block::FileState>>();
    Medium medium;                         // that of a CD-ROM drive changes, on its thread only
    std::deque<Medium> next_media;         // opened, and not yet in the drive; on its thread only
    std::vector<Medium> old_media;         // out of the drive, and to be closed; on its thread only
    std::filesystem::path file;            // of the medium, or of the last of the next ones
    std::vector<block::DiskLayer> layers;  // the same
    std::optional<domain::IoTune> limits;  // as of now
    std::unique_ptr<block::DiskCounters> counters = std::make_unique<block::DiskCounters>();
    std::shared_ptr<block::CacheCounters> cache = std::make_shared<block::CacheCounters>();
    domain::ImageFormat format = domain::ImageFormat::kRaw;
    std::unique_ptr<virtio::VirtioBlock> device;
    VirtioTransport virtio;
    ide::DriveIo* ide = nullptr;                       // the chipset's; then there is no virtio device
    ide::CdTray* tray = nullptr;                       // of a CD-ROM drive, whose image may be null
    bool is_told_open = false;                         // of the tray
    using ErrorPaces = std::array<log::RateLimit, 4>;  // by block::ErrorPolicy
    std::unique_ptr<ErrorPaces> error_paces = std::make_unique<ErrorPaces>();
  };

  Disks(const domain::Domain& domain, const World& world);
  Status create_io_threads();
  static void wait_for_rest(const Disk& disk);
  Status check_first_disc() const;
  Status tell_if_missing(const domain::Disk& disk) const;
  Status add(const domain::Disk& disk);
  // As the domain wants the disk, but for the image that this names. On the thread of the disk, or before it
  // runs.
  Result<Medium> open_medium(const domain::Disk& wanted, const Disk& disk, size_t index);
  void add_error_policy(const domain::Disk& wanted, size_t index, Medium& medium);
  static Status add_limits(const Disk& disk, Medium& medium);
  static void stop_waiting(Disk& disk, Waiting waiting);
  std::string reason_for(block::IoStatus status, bool is_throwaway) const;
  Status make_overlay(const domain::Disk& disk, Disk& made);
  Status check_commits() const;
  void make_virtio_block(const domain::Disk& disk, Disk& made) const;
  Status attach_as_virtio(const domain::Disk& disk, Disk& made);
  Status attach_to_ide(const domain::Disk& disk, Disk& made);
  const Disk* find(std::string_view target) const;
  Result<Disk*> find_cdrom(std::string_view target);
  static void take_out(Disk& disk);
  // A disc that is opened, and not in the drive yet.
  struct OpenedDisc {
    block::BlockDevice* image = nullptr;  // the last of next_media
    std::vector<block::DiskLayer> layers;
    domain::ImageFormat format = domain::ImageFormat::kRaw;
  };
  Result<OpenedDisc> open_disc(Disk& disk, const std::filesystem::path& file,
                               std::optional<domain::ImageFormat> format);
  static void put_in(Disk& disk, const std::filesystem::path& file, OpenedDisc disc);
  void note_tray_move();
  void tell_tray_moves();
  void tell_error(const Disk& disk, block::BlockOp op, block::ErrorPolicy action,
                  block::IoStatus status) const;

  const domain::Domain& domain_;
  const World world_;
  const std::shared_ptr<block::SpaceBudget> budget_;
  bool is_quiesced_ = false;
  std::atomic<bool> looks_at_trays_soon_{false};  // tell_tray_moves() is posted
  std::atomic<bool> gives_up_{false};  // read by the I/O threads: errors are reported, nothing is held
  // Before the disks, which must go first: they belong to these loops.
  std::map<uint32_t, std::unique_ptr<IoThread>>
      io_threads_;  // by <iothread> id; 0 is for disks that name none
  std::vector<Disk> disks_;
};

}  // namespace vmm
