#include "vmm/machine/disks.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <thread>
#include <utility>

#include "block/image_file.h"
#include "boot/firmware_files.h"
#include "devices/ide/ata_disk.h"
#include "vmm/base/check.h"
#include "vmm/base/log.h"
#include "vmm/domain/boot_order.h"
#include "vmm/machine/disk_source.h"
#include "vmm/machine/image_options.h"

namespace vmm {
namespace {

constexpr uint16_t kDefaultQueueSize = 256;

// The reader has seen to it that the numbers fit.
template <typename Geometry>
std::optional<Geometry> geometry_of(const domain::Disk& disk) {
  if (!disk.geometry) {
    return std::nullopt;
  }
  return Geometry{.cylinders = static_cast<uint16_t>(disk.geometry->cylinders),
                  .heads = static_cast<uint8_t>(disk.geometry->heads),
                  .sectors_per_track = static_cast<uint8_t>(disk.geometry->sectors_per_track)};
}

}  // namespace

Disks::Disks(const domain::Domain& domain, const World& world)
    : domain_(domain),
      world_(world),
      budget_(std::make_shared<block::SpaceBudget>(
          domain.throwaway.limit_bytes.value_or(block::SpaceBudget::kNoLimit))) {}

Disks::~Disks() {
  // An image may still be tidying up its tables.
  for (const Disk& disk : disks_) {
    wait_for_rest(disk);
  }
  // The loops are stopped first: from then on what belonged to them is the main thread's to destroy.
  for (const auto& [id, thread] : io_threads_) {
    thread->stop();
  }
}

void Disks::wait_for_rest(const Disk& disk) {
  constexpr auto kLimit = std::chrono::seconds(30);
  constexpr auto kPause = std::chrono::milliseconds(1);
  const auto deadline = std::chrono::steady_clock::now() + kLimit;
  uint32_t in_flight = 1;
  while (in_flight > 0 && std::chrono::steady_clock::now() < deadline) {
    disk.thread->run_and_wait(
        [&] { in_flight = disk.medium.image == nullptr ? 0 : disk.medium.image->in_flight(); });
    if (in_flight > 0) {
      std::this_thread::sleep_for(kPause);
    }
  }
}

Result<std::unique_ptr<Disks>> Disks::create(const domain::Domain& domain, const World& world) {
  std::unique_ptr<Disks> disks(new Disks(domain, world));
  VMM_TRY(disks->create_io_threads());
  disks->disks_.reserve(domain.disks.size());
  for (const domain::Disk& disk : domain.disks) {
    VMM_TRY(disks->tell_if_missing(disk));
    if (const Status status = disks->add(disk); !status) {
      return std::unexpected(
          status.error().within(fmt::format("{}: <disk> {}", domain.where(disk.line), disk.target)));
    }
  }
  VMM_TRY(disks->check_commits());
  if (domain.os.kernel.empty()) {
    VMM_TRY(disks->check_first_disc());
  }
  return disks;
}

// A disc that firmware will pass over is said before it does: it says so to the guest's screen alone.
Status Disks::check_first_disc() const {
  const auto order = domain::boot_order(domain_, domain_.os.install_target);
  if (order.empty()) {
    return {};
  }
  const Disk& first = *find(order.front()->target);
  const std::optional<DiscBoot> boot = first.medium.boot;
  if (!boot || boot == DiscBoot::kBoots) {
    return {};
  }
  if (!domain_.os.install_target.empty()) {
    return fail("--install {}: {}", first.file.native(), reason_not_to_boot(*boot));
  }
  return domain_.warn(fmt::format("{}: {} {}", first.name, first.file.native(), reason_not_to_boot(*boot)));
}

Status Disks::create_io_threads() {
  std::vector<uint32_t> ids = domain_.iothread_ids;
  if (std::ranges::any_of(domain_.disks, [](const domain::Disk& disk) { return !disk.iothread; })) {
    ids.push_back(0);
  }
  for (const uint32_t id : ids) {
    VMM_ASSIGN_OR_RETURN(io_threads_[id], IoThread::create(fmt::format("io-{}", id)));
  }
  return {};
}

Status Disks::tell_if_missing(const domain::Disk& disk) const {
  if (!disk.source_is_optional || is_there(disk.source)) {
    return {};
  }
  return domain_.warn(fmt::format("{}: <disk> {}: {} is not there; the drive is empty",
                                  domain_.where(disk.source_line), disk.target, disk.source.native()));
}

Status Disks::add(const domain::Disk& disk) {
  Disk made;
  made.wanted = &disk;
  made.name = "disk " + disk.target;
  made.thread = io_threads_.at(disk.iothread.value_or(0)).get();
  made.boot_order = disk.boot_order;
  made.is_volatile = disk.cache == domain::CacheMode::kUnsafe || disk.transient;
  made.file = disk.source;
  made.format = disk.format;
  made.limits = disk.iotune;
  if (disk.transient) {
    VMM_TRY(make_overlay(disk, made));
  }
  if (disk.source_is_optional && !is_there(disk.source)) {
    made.file.clear();
  }
  if (!made.file.empty()) {
    // The threads that an engine begins run where this one does.
    VMM_TRY(world_.pins.pin_iothread(disk.iothread.value_or(0), ::pthread_self()));
    VMM_ASSIGN_OR_RETURN(made.medium, open_medium(disk, made, disks_.size()));
    made.layers = std::move(made.medium.layers);
    VMM_TRY(world_.pins.pin_emulator());
  }
  if (disk.bus == domain::DiskBus::kIde) {
    VMM_TRY(attach_to_ide(disk, made));
  } else {
    VMM_TRY(attach_as_virtio(disk, made));
  }
  disks_.push_back(std::move(made));
  return {};
}

Result<Disks::Medium> Disks::open_medium(const domain::Disk& wanted, const Disk& disk, size_t index) {
  VMM_ASSIGN_OR_RETURN(block::DiskOptions image_options, disk_options(wanted, world_.secrets));
  image_options.overlay = disk.overlay;
  image_options.budget = budget_;
  image_options.opened = disk.files;
  image_options.cache_counters = disk.cache;
  VMM_ASSIGN_OR_RETURN(OpenedSource source, open_source(disk.thread->loop(), wanted, image_options));
  Medium medium{.image = std::move(source.image), .boot = source.boot};
  medium.layers = medium.image->layers();
  if (wanted.device == domain::DiskDevice::kDisk) {
    auto live =
        std::make_unique<block::LiveDisk>(disk.thread->loop(), std::move(medium.image), image_options);
    medium.live = live.get();
    medium.image = std::move(live);
  }
  add_error_policy(wanted, index, medium);
  VMM_TRY(add_limits(disk, medium));
  return medium;
}

void Disks::make_virtio_block(const domain::Disk& disk, Disk& made) const {
  virtio::VirtioBlock::Options options;
  options.name = made.name;
  options.serial = disk.serial;
  options.queue_count = static_cast<uint16_t>(disk.queues.value_or(domain_.vcpus));
  options.queue_size = static_cast<uint16_t>(disk.queue_size.value_or(kDefaultQueueSize));
  options.is_cache_unsafe = made.is_volatile;
  options.has_write_cache =
      disk.cache != domain::CacheMode::kWritethrough && disk.cache != domain::CacheMode::kDirectsync;
  options.offers_discard = disk.discard == domain::DiscardMode::kUnmap;
  options.offers_event_index = disk.event_idx;
  options.logical_block_bytes = disk.logical_block_bytes;
  options.physical_block_bytes = disk.physical_block_bytes;
  options.geometry = geometry_of<virtio::VirtioBlock::Geometry>(disk);
  options.counters = made.counters.get();
  made.device = std::make_unique<virtio::VirtioBlock>(*made.medium.image, options);
}

void Disks::add_error_policy(const domain::Disk& wanted, size_t index, Medium& medium) {
  auto on_held = [this, index](block::IoStatus status) {
    const Disk& disk = disks_[index];
    if (gives_up_) {
      disk.medium.policy->give_up();
    } else {
      world_.on_held(disk.name, reason_for(status, disk.overlay != nullptr));
    }
  };
  auto on_error = [this, index](block::BlockOp op, block::ErrorPolicy action, block::IoStatus status) {
    tell_error(disks_[index], op, action, status);
  };
  auto device = std::make_unique<block::ErrorPolicyDevice>(std::move(medium.image), error_policies(wanted),
                                                           std::move(on_held), std::move(on_error));
  medium.policy = device.get();
  medium.image = std::move(device);
}

void Disks::tell_error(const Disk& disk, block::BlockOp op, block::ErrorPolicy action,
                       block::IoStatus status) const {
  if (!disk.error_paces->at(static_cast<size_t>(action)).allows()) {
    return;
  }
  MachineEvent event{.kind = MachineEvent::Kind::kDiskError,
                     .disk = disk.wanted->target,
                     .is_write = op != block::BlockOp::kRead,
                     .is_no_space = status == block::IoStatus::kNoSpace,
                     .error_action = action == block::ErrorPolicy::kStop     ? domain::ErrorPolicy::kStop
                                     : action == block::ErrorPolicy::kIgnore ? domain::ErrorPolicy::kIgnore
                                                                             : domain::ErrorPolicy::kReport};
  world_.main_loop.post([this, event = std::move(event)] { world_.on_event(event); });
}

// Outside of the error policy: what is tried again was counted before.
Status Disks::add_limits(const Disk& disk, Medium& medium) {
  auto throttled = std::make_unique<block::ThrottledDisk>(disk.thread->loop(), std::move(medium.image));
  if (disk.limits) {
    VMM_TRY(throttled->set_limits(io_limits(*disk.limits)));
  }
  medium.throttle = throttled.get();
  medium.image = std::move(throttled);
  return {};
}

Status Disks::set_limits(std::string_view target, const std::optional<domain::IoTune>& limits) {
  const Disk* const found = find(target);
  if (found == nullptr) {
    return fail("the guest has no disk '{}'", target);
  }
  Disk& disk = disks_[static_cast<size_t>(found - disks_.data())];
  const block::IoLimits wanted = limits ? io_limits(*limits) : block::IoLimits();
  Status set;
  disk.thread->run_and_wait([&] {
    for (Medium& next : disk.next_media) {
      set = set ? next.throttle->set_limits(wanted) : set;
    }
    if (set && disk.medium.throttle != nullptr) {
      set = disk.medium.throttle->set_limits(wanted);
    }
  });
  VMM_TRY(set);
  disk.limits = limits;
  return {};
}

Status Disks::attach_as_virtio(const domain::Disk& disk, Disk& made) {
  make_virtio_block(disk, made);
  VMM_ASSIGN_OR_RETURN(made.virtio,
                       world_.places.attach(*made.device, made.thread->loop(),
                                            {.address = disk.address, .has_ioeventfd = disk.ioeventfd}));
  if (made.virtio.pci != nullptr) {
    made.boot_path = boot::virtio_disk_path(made.virtio.slot);
  }
  return {};
}

Status Disks::attach_to_ide(const domain::Disk& disk, Disk& made) {
  const VirtioPlaces::World& places = world_.places.world();
  VMM_ASSIGN_OR_RETURN(ide::IdeController* const controller, places.chipset->ide(places.memory));
  const auto [channel_index, drive] = disk.ide_place;
  ide::IdeChannel& channel = controller->channel(channel_index);
  EventLoop& loop = made.thread->loop();
  if (disk.device == domain::DiskDevice::kCdrom) {
    auto cdrom = std::make_unique<ide::AtapiDrive>(ide::AtapiDrive::Options{
        .serial = disk.serial, .is_device_1 = drive == 1, .world_wide_name = disk.world_wide_name});
    made.tray = &channel.attach_cdrom(drive, std::move(cdrom), loop, made.medium.image.get());
    if (disk.tray_is_open) {
      made.tray->open(/*is_forced=*/true);
      made.is_told_open = true;
    }
    made.tray->set_on_moved([this] { note_tray_move(); });
  } else {
    ide::AtaDisk::Options options;
    options.serial = disk.serial;
    options.world_wide_name = disk.world_wide_name;
    options.rotation_rate = disk.rotation_rate.value_or(0);
    options.geometry = geometry_of<ide::AtaDisk::Geometry>(disk);
    options.is_device_1 = drive == 1;
    options.has_write_cache =
        disk.cache != domain::CacheMode::kWritethrough && disk.cache != domain::CacheMode::kDirectsync;
    options.is_cache_unsafe = made.is_volatile;
    options.offers_discard = disk.discard == domain::DiscardMode::kUnmap;
    options.physical_block_bytes = disk.physical_block_bytes;
    options.counters = made.counters.get();
    channel.attach_disk(drive, std::make_unique<ide::AtaDisk>(*made.medium.image, options), loop,
                        *made.medium.image);
  }
  made.ide = &channel.drive_io(drive);
  made.ide->count_in(made.counters.get());
  made.boot_path = boot::ide_drive_path(PcChipset::kIdeAddress.slot, PcChipset::kIdeAddress.function,
                                        channel_index, drive);
  return {};
}

const Disks::Disk* Disks::find(std::string_view target) const {
  const auto found =
      std::ranges::find_if(disks_, [target](const Disk& disk) { return disk.wanted->target == target; });
  return found == disks_.end() ? nullptr : &*found;
}

Status Disks::start() {
  for (const auto& [id, thread] : io_threads_) {
    // It begins where this one is, and so do the threads that the kernel begins for it.
    VMM_TRY(world_.pins.pin_iothread(id, ::pthread_self()));
    thread->start();
    VMM_TRY(world_.pins.pin_emulator());
  }
  return {};
}

// On the disk's thread. What waits for the host is given up either way.
void Disks::stop_waiting(Disk& disk, Waiting waiting) {
  if (disk.medium.policy != nullptr && disk.medium.policy->is_holding()) {
    log::warning("{}: requests that waited for the host are given up; what they would have written is lost",
                 disk.name);
  }
  if (waiting == Waiting::kDropped) {
    if (disk.medium.image != nullptr) {
      disk.medium.image->drop_waiting();
    }
    return;
  }
  if (disk.medium.throttle != nullptr) {
    disk.medium.throttle->let_through();
  }
  if (disk.medium.policy != nullptr) {
    disk.medium.policy->give_up();
  }
}

void Disks::quiesce(Waiting waiting) {
  if (std::exchange(is_quiesced_, true)) {
    return;
  }
  gives_up_ = true;
  std::vector<std::promise<void>> quiet(disks_.size());
  for (size_t i = 0; i < disks_.size(); ++i) {
    if (disks_[i].ide != nullptr) {
      disks_[i].ide->quiesce([&quiet, i] { quiet[i].set_value(); });
    } else {
      disks_[i].virtio.core().quiesce([&quiet, i] { quiet[i].set_value(); });
    }
    disks_[i].thread->loop().post([&disk = disks_[i], waiting] { stop_waiting(disk, waiting); });
  }
  for (std::promise<void>& promise : quiet) {
    promise.get_future().wait();
  }
}

void Disks::resume() {
  if (std::exchange(is_quiesced_, false)) {
    gives_up_ = false;
    for (const Disk& disk : disks_) {
      if (disk.ide != nullptr) {
        disk.ide->resume();
      } else {
        disk.virtio.core().resume();
      }
    }
  }
}

void Disks::retry_held() {
  for (const Disk& disk : disks_) {
    disk.thread->loop().post([&disk] {
      if (disk.medium.policy != nullptr) {
        disk.medium.policy->resume();
      }
    });
  }
}

void Disks::reset() {
  VMM_CHECK(is_quiesced_, "disks are reset while requests may be in flight");
  for (const Disk& disk : disks_) {
    disk.virtio.reset();
  }
}

Status Disks::flush() {
  VMM_CHECK(is_quiesced_, "disks are flushed while requests may be in flight");
  Status first_failure;
  for (const Disk& disk : disks_) {
    if (disk.tray != nullptr || disk.is_volatile || disk.medium.image->is_read_only()) {
      continue;
    }
    std::promise<block::IoStatus> done;
    disk.thread->run_and_wait([&] {
      block::BlockRequest request;
      request.op = block::BlockOp::kFlush;
      request.completion = block::Completion(
          [](void* context, uint64_t /*cookie*/, block::IoStatus status) {
            static_cast<std::promise<block::IoStatus>*>(context)->set_value(status);
          },
          &done, 0);
      disk.medium.image->submit(std::move(request));
    });
    if (done.get_future().get() != block::IoStatus::kOk && first_failure) {
      first_failure =
          fail("{}: the last writes of the guest could not be flushed; they may be lost", disk.name);
    }
  }
  return first_failure;
}

}  // namespace vmm
