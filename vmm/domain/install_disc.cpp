#include "vmm/domain/install_disc.h"

#include <algorithm>
#include <array>
#include <string>

namespace vmm::domain {
namespace {

struct Seat {
  const char* target = nullptr;
  IdePlace place;
};

// Where PCs have their CD-ROM drive comes first.
constexpr std::array<Seat, 4> kSeats = {Seat{.target = "hdc", .place = {.channel = 1, .drive = 0}},
                                        Seat{.target = "hdd", .place = {.channel = 1, .drive = 1}},
                                        Seat{.target = "hdb", .place = {.channel = 0, .drive = 1}},
                                        Seat{.target = "hda", .place = {.channel = 0, .drive = 0}}};

Result<Disk> make_drive(const Domain& domain) {
  const auto free = std::ranges::find_if(kSeats, [&domain](const Seat& seat) {
    return std::ranges::none_of(domain.disks, [&seat](const Disk& disk) {
      return disk.target == seat.target || (disk.bus == DiskBus::kIde && disk.ide_place == seat.place);
    });
  });
  if (free == kSeats.end()) {
    return fail_configuration(
        "--install: {} has four IDE disks and no CD-ROM drive; make one of them bus='virtio'",
        domain.file_name);
  }
  Disk disk;
  disk.line = domain.os.line;
  disk.target = free->target;
  disk.bus = DiskBus::kIde;
  disk.device = DiskDevice::kCdrom;
  disk.ide_place = free->place;
  disk.serial = ide_serial(free->place);
  disk.read_only = true;
  return disk;
}

}  // namespace

Status insert_install_disc(Domain& domain, const std::filesystem::path& image) {
  if (domain.os.machine != MachineType::kPc || !domain.os.kernel.empty()) {
    return fail_configuration(
        "--install: {}: a disc is booted by the firmware of a machine='pc' that has no <kernel>",
        domain.where(domain.os.line));
  }
  auto drive =
      std::ranges::find_if(domain.disks, [](const Disk& disk) { return disk.device == DiskDevice::kCdrom; });
  if (drive == domain.disks.end()) {
    VMM_ASSIGN_OR_RETURN(Disk made, make_drive(domain));
    drive = domain.disks.insert(domain.disks.end(), std::move(made));
  }
  drive->source = image;
  drive->source_type = DiskSource::kFile;
  drive->format = ImageFormat::kRaw;
  drive->data_file.reset();
  drive->backing_stores.clear();
  drive->backing_ends = false;
  drive->source_is_optional = false;
  drive->tray_is_open = false;
  drive->secret.reset();
  domain.os.install_target = drive->target;
  return {};
}

}  // namespace vmm::domain
