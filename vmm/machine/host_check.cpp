#include "vmm/machine/host_check.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "block/block_device.h"
#include "block/file_state.h"
#include "block/image_file.h"
#include "boot/bzimage.h"
#include "boot/elf_file.h"
#include "boot/firmware.h"
#include "boot/input_file.h"
#include "vmm/base/event_loop.h"
#include "vmm/base/printable.h"
#include "vmm/console/console.h"
#include "vmm/core/clock.h"
#include "vmm/domain/boot_order.h"
#include "vmm/domain/diagnostics.h"
#include "vmm/kvm/kvm.h"
#include "vmm/machine/cpu_plan.h"
#include "vmm/machine/disk_source.h"
#include "vmm/machine/entropy.h"
#include "vmm/machine/image_options.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/memory_builder.h"
#include "vmm/machine/network_end.h"
#include "vmm/machine/network_rom.h"
#include "vmm/machine/network_vhost.h"
#include "vmm/machine/output_files.h"
#include "vmm/machine/thread_pins.h"

namespace vmm {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostFound = domain::Reporter::kMaxErrors;

// Of /proc/meminfo (proc(5)), in bytes.
std::optional<uint64_t> memory_figure(std::string_view name) {
  std::ifstream file("/proc/meminfo");
  std::string word;
  uint64_t kib = 0;
  for (std::string line; file >> word >> kib && std::getline(file, line);) {
    if (word == name) {
      return kib << 10U;
    }
  }
  return std::nullopt;
}

uint64_t number_in(const fs::path& file) {
  uint64_t number = 0;
  std::ifstream(file) >> number;
  return number;
}

// Free, and promised to nobody (hugetlbpage.rst).
uint64_t free_hugepages(uint64_t page_bytes) {
  const fs::path folder = fmt::format("/sys/kernel/mm/hugepages/hugepages-{}kB", page_bytes >> 10U);
  const uint64_t free = number_in(folder / "free_hugepages");
  return free - std::min(free, number_in(folder / "resv_hugepages"));
}

// The host's ends of serial ports and consoles, each with its element as a run calls it.
template <typename Guest, typename Action>
void for_each_end(Guest& domain, const Action& action) {
  for (auto& serial : domain.serials) {
    action(serial, fmt::format("<serial> port {}", serial.port));
  }
  if (domain.debug_console) {
    action(domain.debug_console->end, "<serial> of type isa-debug");
  }
  for (auto& console : domain.virtio_consoles) {
    action(console, "<console>");
  }
}

// Without its disks, the host's ends of its devices, and what takes memory from others: these are looked at
// one by one.
domain::Domain without_host_files(const domain::Domain& domain) {
  domain::Domain bare = domain;
  bare.disks.clear();
  bare.os.install_target.clear();
  bare.interfaces.clear();
  for_each_end(bare, [](domain::Serial& end, std::string_view /*element*/) {
    end.backend = domain::CharBackend::kNull;
    end.log_path.clear();
  });
  for (domain::Rng& rng : bare.rngs) {
    rng.source.clear();
  }
  bare.pins = {};
  bare.memory_backing.locked = false;
  bare.memory_backing.allocate_at_start = false;
  bare.memory_backing.hugepages = false;
  return bare;
}

Status check_kernel(const std::string& path) {
  VMM_ASSIGN_OR_RETURN(const boot::InputFile file, boot::InputFile::open(path, "kernel"));
  VMM_ASSIGN_OR_RETURN(const bool is_elf, boot::is_elf(file));
  if (is_elf) {
    VMM_TRY(boot::read_elf_segments(file));
  } else {
    VMM_TRY(boot::BzImage::parse(file));
  }
  return {};
}

Status check_initrd(const std::string& path) {
  VMM_TRY(boot::InputFile::open(path, "initrd"));
  return {};
}

Status check_firmware(const std::string& path) {
  VMM_TRY(boot::read_firmware(path));
  return {};
}

Status check_named_file(const std::string& path) {
  return ::access(path.c_str(), R_OK) == 0
             ? Status()
             : fail("{} cannot be read: {}; correct its name, or give yourself the right", printable(path),
                    errno_text(errno));
}

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : "."; }

Status check_folder(const fs::path& folder) {
  struct stat info{};
  if (::stat(folder.c_str(), &info) != 0) {
    return fail("the folder {} cannot be used: {}; make it, or name another", folder.native(),
                errno_text(errno));
  }
  if (!S_ISDIR(info.st_mode)) {
    return fail("{} is no folder; name one", folder.native());
  }
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    return fail("no file can be made in the folder {}: {}; give yourself the right, or name another",
                folder.native(), errno_text(errno));
  }
  return {};
}

Status check_socket_to_connect(const fs::path& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0 || ::access(path.c_str(), W_OK) != 0) {
    return fail("cannot connect to the socket of a console {}: {}; start who listens there first",
                path.native(), errno_text(errno));
  }
  return S_ISSOCK(info.st_mode) ? Status() : fail("{} is no socket; name one", path.native());
}

// A pipe's reader would see it opened.
Status check_output_file(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::is_other(status)) {
    return check_file_console(path);
  }
  return ::access(path.c_str(), W_OK) == 0
             ? Status()
             : fail("cannot open {} for a console: {}", path.native(), errno_text(errno));
}

bool has_whole_sectors(const fs::path& file) {
  std::error_code error;
  return fs::file_size(file, error) % 512 == 0 && !error;
}

class HostChecker {
 public:
  HostChecker(const domain::Domain& domain, const DiskSecrets& secrets)
      : domain_(domain), secrets_(secrets) {}

  HostCheck check() {
    check_kvm();
    check_memory();
    check_boot_files();
    const bool is_machine_possible = !worst_;
    if (!is_machine_possible) {
      check_time_zone();
    }
    check_disks();
    check_consoles();
    check_entropy();
    check_interfaces();
    note(check_pins());
    if (is_machine_possible) {
      check_machine();
    }
    return take();
  }

  HostCheck check_incomplete() {
    if (note(open_kvm()) && !is_doubtful(domain_.cpu.line)) {
      check_processor();
    }
    if (domain_.memory_bytes >= domain::kMinMemoryBytes && !is_doubtful(domain_.memory_backing.line)) {
      check_memory();
    }
    if (!is_doubtful(domain_.clock.line)) {
      check_time_zone();
    }
    check_named(domain_.os.kernel_line, "<os>/<kernel>", domain_.os.kernel);
    check_named(domain_.os.initrd_line, "<os>/<initrd>", domain_.os.initrd);
    check_named(domain_.os.loader_line, "<os>/<loader>", domain_.os.loader);
    check_disks();
    check_consoles();
    check_entropy();
    check_interfaces();
    note(check_pins());
    return take();
  }

 private:
  using Severity = domain::Severity;

  struct Opened {
    const domain::Disk* disk = nullptr;
    std::vector<block::FileState> files;  // the image first
    std::optional<DiscBoot> boot;
  };

  void note(domain::Diagnostic diagnostic, ErrorKind kind) {
    if (diagnostic.severity == Severity::kError && (!worst_ || kind == ErrorKind::kConfiguration)) {
      worst_ = kind;
    }
    found_.push_back(std::move(diagnostic));
  }

  domain::Diagnostic placed(Severity severity, int line, std::string text) const {
    return {severity, line < 0 ? domain_.where(line) : domain_.file_name, std::max(line, 0), std::move(text)};
  }

  void note(Severity severity, int line, std::string text, ErrorKind kind = ErrorKind::kHost) {
    note(placed(severity, line, std::move(text)), kind);
  }

  // What begins with the file's name says of itself where it belongs. False: there was an error.
  bool note(const Status& status) {
    if (!status) {
      const Error& error = status.error();
      note(domain::diagnostic_of(Severity::kError, error.message(), domain_.file_name), error.kind());
    }
    return status.has_value();
  }

  void note(int line, std::string_view element, const Status& status) {
    if (!status) {
      note(Severity::kError, line, fmt::format("{}: {}", element, status.error().message()),
           status.error().kind());
    }
  }

  HostCheck take() {
    std::ranges::stable_sort(found_, {}, &domain::Diagnostic::line);
    return {.found = std::move(found_), .found_now = std::move(found_now_), .worst = worst_};
  }

  Status open_kvm() {
    VMM_ASSIGN_OR_RETURN(Kvm kvm, Kvm::open());
    kvm_.emplace(std::move(kvm));
    VMM_TRY(kvm_->create_vm());
    return {};
  }

  void check_processor() {
    const auto faults = cpu_faults(domain_, *kvm_);
    if (!faults) {
      note(std::unexpected(faults.error()));
      return;
    }
    for (const Error& fault : *faults) {
      note(std::unexpected(fault));
    }
  }

  void check_kvm() {
    if (note(open_kvm())) {
      note(check_vcpus(domain_, *kvm_));
      check_processor();
    }
  }

  // Such as the machine would say it.
  void check_time_zone() {
    if (domain_.clock.offset == domain::ClockOffset::kTimezone) {
      const auto offset = utc_offset_of_zone(domain_.clock.timezone);
      note(domain_.clock.line, "<clock>", offset ? Status() : std::unexpected(offset.error()));
    }
  }

  // Mapped, and its pages not touched.
  void check_memory() {
    const auto memory = build_memory(without_host_files(domain_));
    if (!memory) {
      note(std::unexpected(memory.error()));
      return;
    }
    check_locking(*memory);
    if (domain_.memory_backing.hugepages) {
      check_free_hugepages();
    } else {
      check_free_memory();
    }
  }

  // They are counted, and none is taken from who starts meanwhile.
  void check_free_hugepages() {
    const domain::MemoryBacking& backing = domain_.memory_backing;
    const auto usual_bytes = memory_figure("Hugepagesize:");
    const uint64_t page_bytes =
        backing.hugepage_bytes != 0 ? backing.hugepage_bytes : usual_bytes.value_or(0);
    const uint64_t wanted = page_bytes == 0 ? 1 : (domain_.memory_bytes + page_bytes - 1) / page_bytes;
    const uint64_t free = free_hugepages(page_bytes);
    if (free < wanted) {
      note(Severity::kError, backing.line,
           fmt::format(
               "<memoryBacking>/<hugepages>: the guest needs {} of {} KiB, the host has {} free; reserve "
               "more (/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages), or remove the element",
               wanted, page_bytes >> 10U, free, page_bytes >> 10U));
    }
  }

  void check_locking(const GuestMemory& memory) {
    for (const GuestMemory::Region& region : memory.regions()) {
      if (domain_.memory_backing.locked &&
          ::mlock2(region.mapping.data(), region.mapping.size(), MLOCK_ONFAULT) != 0) {
        note(Severity::kError, domain_.memory_backing.line,
             fmt::format("<memoryBacking>/<locked>: cannot lock {} bytes of guest memory: {}; raise the "
                         "memlock limit (ulimit -l) or remove <locked/>",
                         region.mapping.size(), errno_text(errno)));
        return;
      }
    }
  }

  // A guest that touches its memory as it needs it starts all the same.
  void check_free_memory() {
    const domain::MemoryBacking& backing = domain_.memory_backing;
    const auto free_bytes = memory_figure("MemAvailable:");
    if (!free_bytes || domain_.memory_bytes <= *free_bytes) {
      return;
    }
    std::string text = fmt::format(
        "<memory>: the guest may use {} MiB, the host has {} MiB free now; ask for less, or end something "
        "else",
        domain_.memory_bytes >> 20U, *free_bytes >> 20U);
    if (backing.allocate_at_start || backing.locked) {
      note(Severity::kError, domain_.memory_line, std::move(text));
    } else {
      found_now_.push_back(placed(Severity::kWarning, domain_.memory_line, std::move(text)));
    }
  }

  void check_boot_files() {
    const domain::Os& os = domain_.os;
    if (os.kernel.empty()) {
      const bool is_named = os.loader_line != 0;
      note(is_named ? os.loader_line : os.line, is_named ? "<os>/<loader>" : "<os>",
           check_firmware(os.loader));
      return;
    }
    note(os.kernel_line, "<os>/<kernel>", check_kernel(os.kernel));
    if (!os.initrd.empty()) {
      note(os.initrd_line, "<os>/<initrd>", check_initrd(os.initrd));
    }
  }

  // Then it is not known which of them will stay.
  bool has_too_many_disks() const {
    constexpr size_t kIdePlaces = 4;
    return domain_.disks.size() > domain::kMaxPcDisks + kIdePlaces;
  }

  bool is_doubtful(int line) const { return domain_.doubtful_lines.contains(line); }

  void check_named(int line, std::string_view element, const fs::path& path) {
    if (!path.empty() && !is_doubtful(line)) {
      note(line, element, check_named_file(path));
    }
  }

  // --- Disks ---

  void check_disks() {
    const auto loop = EventLoop::create();
    if (!loop) {
      note(std::unexpected(loop.error()));
      return;
    }
    for (const domain::Disk& disk : domain_.disks) {
      if (found_.size() >= kMostFound) {
        note(Severity::kError, disk.line, "the rest of the disks were not looked at");
        break;
      }
      if (!is_doubtful(disk.line) && !has_too_many_disks()) {
        check_disk(**loop, disk);
      } else if (!disk.source_is_optional) {
        check_named(disk.source_line, "<disk>/<source>", disk.source);
      }
    }
    images_.clear();
    check_images_of_two();
    if (domain_.os.kernel.empty() && domain_.doubtful_lines.empty()) {
      check_first_disc();
    }
  }

  void note_of(const domain::Disk& disk, const Status& status) {
    note(disk.line, "<disk> " + disk.target, status);
  }

  void check_disk(EventLoop& loop, const domain::Disk& disk) {
    if (disk.source.empty()) {
      return;
    }
    if (disk.source_is_optional && !is_there(disk.source)) {
      note(Severity::kWarning, disk.source_line,
           fmt::format("<disk> {}: {} is not there; the drive is empty", disk.target, disk.source.native()));
      return;
    }
    Opened opened{.disk = &disk};
    const Status status = open_for_trial(loop, disk, opened);
    const bool is_perhaps_qcow2 = disk.format == domain::ImageFormat::kRaw && begins_as_qcow2(disk.source);
    // A raw image of such a size is to be made longer, which would spoil a qcow2 image.
    const bool is_size_wrong = is_perhaps_qcow2 && !status && !has_whole_sectors(disk.source);
    if (is_perhaps_qcow2) {
      note(is_size_wrong ? Severity::kError : Severity::kWarning, disk.source_line,
           fmt::format("<disk> {}: {} is taken as raw, and begins as a qcow2 image does; write <driver "
                       "type='qcow2'/> if it is one",
                       disk.target, disk.source.native()));
    }
    if (!is_size_wrong) {
      note_of(disk, status);
    }
    if (status) {
      opened_.push_back(std::move(opened));
    }
    if (disk.transient) {
      note_of(disk, check_overlay(disk));
    }
  }

  Status open_for_trial(EventLoop& loop, const domain::Disk& disk, Opened& opened) {
    VMM_ASSIGN_OR_RETURN(block::DiskOptions options, disk_options(disk, secrets_));
    options.is_trial = true;
    options.read_only = disk.read_only || disk.transient;
    options.opened = std::make_shared<std::vector<block::FileState>>();
    VMM_ASSIGN_OR_RETURN(OpenedSource source, open_source(loop, disk, options));
    opened.files = std::move(*options.opened);
    opened.boot = source.boot;
    images_.push_back(std::move(source.image));
    return {};
  }

  // Where what is written to a throwaway disk is kept meanwhile. A folder that is not said is found at the
  // start.
  Status check_overlay(const domain::Disk& disk) const {
    if (disk.is_committed && ::access(disk.source.c_str(), W_OK) != 0) {
      return fail("--commit: {} cannot be written ({}), and so nothing committed to it", disk.source.native(),
                  errno_text(errno));
    }
    const auto options = overlay_options(domain_.throwaway, disk);
    return options.in_memory || options.folder.empty() ? Status() : check_folder(options.folder);
  }

  // A run finds it out by its locks, and this takes none.
  void check_images_of_two() {
    for (size_t i = 0; i < opened_.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (writes_under(opened_[i], opened_[j]) || writes_under(opened_[j], opened_[i])) {
          note(Severity::kError, opened_[i].disk->line,
               fmt::format("<disk> {}: {} and {} (line {}) have an image in common, and one of them writes "
                           "to it; give another, or make both <readonly/>",
                           opened_[i].disk->target, opened_[i].disk->target, opened_[j].disk->target,
                           opened_[j].disk->line));
        }
      }
    }
  }

  static bool writes_under(const Opened& one, const Opened& other) {
    const bool may_share = one.disk->shareable && other.disk->shareable;
    const auto first = other.files.begin() + (may_share ? 1 : 0);
    return std::ranges::any_of(written_by(one), [&](const block::FileState& written) {
      return std::any_of(first, other.files.end(),
                         [&](const block::FileState& file) { return file.is_same_file(written); });
    });
  }

  static std::vector<block::FileState> written_by(const Opened& opened) {
    const domain::Disk& disk = *opened.disk;
    if (disk.read_only || (disk.transient && !disk.is_committed)) {
      return {};
    }
    std::vector<block::FileState> written{opened.files.front()};
    if (!disk.data_file) {
      return written;
    }
    if (const auto data = block::state_of_file(*disk.data_file)) {
      written.push_back(*data);
    }
    return written;
  }

  // A disc that firmware will pass over.
  void check_first_disc() {
    const auto order = domain::boot_order(domain_, domain_.os.install_target);
    if (order.empty()) {
      return;
    }
    const auto first = std::ranges::find(opened_, order.front(), &Opened::disk);
    const std::optional<DiscBoot> boot = first == opened_.end() ? std::nullopt : first->boot;
    if (!boot || *boot == DiscBoot::kBoots) {
      return;
    }
    const domain::Disk& disk = *first->disk;
    const std::string text = fmt::format("{} {}", disk.source.native(), reason_not_to_boot(*boot));
    if (domain_.os.install_target.empty()) {
      note(Severity::kWarning, disk.line, fmt::format("<disk> {}: {}", disk.target, text));
    } else {
      note(fail("--install: {}", text));
    }
  }

  // --- Consoles ---

  void check_consoles() {
    for_each_end(domain_, [&](const domain::Serial& end, std::string_view element) {
      note(end.line, element, check_console(end));
    });
  }

  Status check_console(const domain::Serial& end) const {
    if (!end.log_path.empty()) {
      VMM_TRY(refuse_as_output(domain_, end.log_path));
      VMM_TRY(check_output_file(end.log_path));
    }
    switch (end.backend) {
      case domain::CharBackend::kFile:
        VMM_TRY(refuse_as_output(domain_, end.path));
        return check_output_file(end.path);
      case domain::CharBackend::kUnix:
        return end.listen ? check_socket_path(end.path) : check_socket_to_connect(end.path);
      case domain::CharBackend::kStdio:
      case domain::CharBackend::kPty:
      case domain::CharBackend::kNull:
        break;
    }
    return {};
  }

  Status check_pins() const {
    VMM_TRY(ThreadPins::create(domain_));
    return {};
  }

  void check_entropy() {
    for (const domain::Rng& rng : domain_.rngs) {
      if (const auto source = open_entropy(rng.source); !source) {
        note(rng.line, "<rng>", std::unexpected(source.error()));
      }
    }
  }

  void check_interfaces() {
    for (const domain::Interface& interface : domain_.interfaces) {
      note(interface.line, "<interface>", check_net_end(interface));
      if (!is_doubtful(interface.line)) {
        check_card_rom(interface);
        check_who_moves_packets(interface);
      }
      if (!interface.log_file.empty()) {
        note(interface.line, "<interface>/<backend>", check_log_of(interface));
      }
    }
    check_boot_folder();
  }

  void check_card_rom(const domain::Interface& interface) {
    const auto rom = read_card_rom(domain_, interface);
    if (!rom) {
      note(interface.line, "<interface>", std::unexpected(rom.error()));
    } else if (const std::string why = *rom ? why_passed_over(**rom, interface) : ""; !why.empty()) {
      note(Severity::kWarning, interface.line, "<interface>: " + why);
    }
  }

  void check_who_moves_packets(const domain::Interface& interface) {
    if (const Status possible = check_vhost(interface); !possible) {
      note(Severity::kWarning, interface.line,
           fmt::format("<interface>: vmm moves the packets itself, without vhost: {}",
                       possible.error().message()));
    }
  }

  // What guests that boot from the network are given.
  void check_boot_folder() {
    if (!domain_.user_network || domain_.user_network->tftp_folder.empty()) {
      return;
    }
    const domain::UserNetwork& network = *domain_.user_network;
    std::error_code error;
    if (!fs::is_directory(network.tftp_folder, error)) {
      note(Severity::kError, network.line,
           fmt::format("<metadata>/<vmm:user-network>: the TFTP folder {} is not there; make it, or name "
                       "another",
                       printable(network.tftp_folder.native())));
    } else if (!network.boot_file.empty() && !network.boots_by_url() &&
               ::access((network.tftp_folder / network.boot_file).c_str(), R_OK) != 0) {
      note(Severity::kWarning, network.line,
           fmt::format("<metadata>/<vmm:user-network bootfile='{}'>: cannot be read in {}: {}",
                       printable(network.boot_file), printable(network.tftp_folder.native()),
                       errno_text(errno)));
    }
  }

  Status check_log_of(const domain::Interface& interface) const {
    const fs::path& file = interface.log_file;
    VMM_TRY(refuse_as_output(domain_, file));
    if (!is_there(file)) {
      return check_folder(folder_of(file));
    }
    return ::access(file.c_str(), W_OK) == 0
               ? Status()
               : fail("{}: cannot be written: {}", file.native(), errno_text(errno));
  }

  // --- The rest ---

  // Kernel and initrd in memory, vCPUs, and what else there is only where the machine is.
  void check_machine() {
    kvm_.reset();
    const domain::Domain bare = without_host_files(domain_);
    note(build(bare));
  }

  Status build(const domain::Domain& bare) const {
    VMM_ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::create());
    VMM_TRY(Machine::build(bare, *loop, secrets_));
    return {};
  }

  const domain::Domain& domain_;
  const DiskSecrets& secrets_;
  std::optional<Kvm> kvm_;
  std::vector<Opened> opened_;
  std::vector<std::unique_ptr<block::BlockDevice>> images_;  // together they have one engine
  std::vector<domain::Diagnostic> found_;
  std::vector<domain::Diagnostic> found_now_;
  std::optional<ErrorKind> worst_;
};

}  // namespace

HostCheck check_host(const domain::Domain& domain, const DiskSecrets& secrets) {
  return HostChecker(domain, secrets).check();
}

HostCheck check_host_of_incomplete(const domain::Domain& domain, const DiskSecrets& secrets) {
  return HostChecker(domain, secrets).check_incomplete();
}

Status check_socket_path(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (fs::exists(status) && !fs::is_socket(status)) {
    return fail("{} is there already, and is no socket; give another path", path.native());
  }
  return check_folder(folder_of(path));
}

}  // namespace vmm
