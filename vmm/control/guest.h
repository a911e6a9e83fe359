// Guest: what the control socket can ask of a running guest.
//
// Threads: the main loop's. Errors: sentences for the person who asked.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "block/cache_counters.h"
#include "block/disk_counters.h"
#include "block/disk_layer.h"
#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"
#include "vmm/domain/domain.h"
#include "vmm/machine/console_info.h"
#include "vmm/machine/disk_jobs.h"
#include "vmm/machine/interface_info.h"
#include "vmm/machine/machine_actions.h"
#include "vmm/machine/machine_event.h"
#include "vmm/machine/machine_statistics.h"
#include "vmm/machine/pci_info.h"

namespace vmm::control {

class Guest {
 public:
  // As Machine::State.
  enum class State : uint8_t { kRunning, kPaused, kPausedForDisk, kWatchdog, kKept };
  struct Drive {
    std::string device;
    bool is_cdrom = false;
    bool is_read_only = false;
    std::filesystem::path file;  // empty: no disc
    domain::ImageFormat format = domain::ImageFormat::kRaw;
    bool is_tray_open = false;
    bool is_locked = false;                // by the guest
    std::vector<block::DiskLayer> layers;  // the image, then what it stands on; empty: no disc
    std::optional<domain::IoTune> limits;
    // Never null; they live as long as the guest.
    const block::DiskCounters* counters = nullptr;
    const block::CacheCounters* cache = nullptr;
  };
  enum class Opened : uint8_t { kOpen, kGuestAsked };

  virtual const domain::Domain& domain() const = 0;
  virtual State state() const = 0;
  virtual std::vector<Drive> drives() const = 0;

  // Of each vCPU, in their order: the thread's number in the kernel.
  virtual std::vector<int> vcpu_threads() const = 0;
  virtual MachineStatistics statistics() const = 0;
  virtual std::vector<ConsoleInfo> consoles() const = 0;
  virtual std::vector<InterfaceInfo> interfaces() const = 0;
  // The next change of which frames this one receives is told of, as kFilterChanged. At first all are
  // watched.
  virtual void watch_filter(std::string_view interface) = 0;
  // As if the cable of the interface `name` were plugged or not. An error: there is none of this name.
  virtual Status set_link(std::string_view name, bool is_up) = 0;
  // Empty: the machine has no PCI.
  virtual std::vector<PciFunctionInfo> pci_functions() const = 0;
  // Who is told of what happens from now on, within the call that makes it happen; empty: nobody.
  virtual void set_observer(std::function<void(const MachineEvent&)> observer) = 0;

  virtual Status pause() = 0;
  virtual Status go_on() = 0;
  virtual void press_nmi() = 0;
  virtual void power_down() = 0;
  virtual void reset() = 0;
  virtual void quit() = 0;
  // Of what throwaway disks take on the host, all together; absent in limit_bytes: as much as it has.
  struct Throwaway {
    uint64_t used_bytes = 0;
    std::optional<uint64_t> limit_bytes;
  };
  // Absent: no disk is throwaway.
  virtual std::optional<Throwaway> throwaway() const = 0;
  // REQUIRES: there is a throwaway disk.
  virtual void set_throwaway_limit(std::optional<uint64_t> bytes) = 0;
  virtual void set_actions(const MachineActionChange& change) = 0;
  virtual Status boot_once_from(std::string_view device) = 0;

  // Until the guest's run is over.
  virtual DiskJobs* disk_jobs() = 0;
  // Absent: none.
  virtual Status set_limits(std::string_view device, const std::optional<domain::IoTune>& limits) = 0;
  // Of the console `device` (console_names.h; empty: the first). It is free for who attaches next; who is
  // attached now is cut off where is_forced, and an error where not.
  virtual Status free_console(std::string_view device, bool is_forced) = 0;
  // The socket is the console's from now on. REQUIRES: there is such a console.
  virtual Status attach_to_console(std::string_view device, UniqueFd socket) = 0;

  // Of the CD-ROM drive `device`.
  virtual Result<Opened> open_tray(std::string_view device, bool is_forced) = 0;
  virtual Status close_tray(std::string_view device) = 0;
  virtual Status remove_disc(std::string_view device) = 0;
  virtual Status insert_disc(std::string_view device, const std::filesystem::path& file,
                             std::optional<domain::ImageFormat> format) = 0;
  virtual Status change_disc(std::string_view device, const std::filesystem::path& file,
                             std::optional<domain::ImageFormat> format, bool is_forced) = 0;

 protected:
  ~Guest() = default;
};

}  // namespace vmm::control
