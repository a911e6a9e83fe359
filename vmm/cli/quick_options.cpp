#include "vmm/cli/quick_options.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "vmm/base/option_words.h"
#include "vmm/cli/quick_network.h"
#include "vmm/domain/diagnostics.h"
#include "vmm/domain/quick_domain.h"
#include "vmm/machine/disk_source.h"

namespace vmm::cli {

const char* const kRunHelpText =
    R"(Runs a throwaway guest without a domain file: what it writes is thrown away at the end.
Usage: vmm run [--kernel FILE] [--disk FILE]... [--cdrom ISO] [--netboot[=FILE]] [OPTIONS]

  --kernel FILE       a bzImage or a PVH kernel; without it SeaBIOS boots the guest, from the disc of --cdrom
                      first, then from the first disk
  --initrd FILE       for the kernel
  --append TEXT       its command line; if absent, "console=ttyS0", and " root=/dev/vda rw" where there is a
                      disk and no initrd
  --disk FILE[,format=raw|qcow2][,secret=NAME][,data-file=FILE]
                      a disk (vda, vdb, ...); may be repeated. The format is that of the name's ending (.qcow2;
                      raw: .img, .raw, .iso, block devices), else it must be said. A comma in a name is doubled.
                      Of a qcow2 image also: ,secret=NAME where it is encrypted, with the passphrase that
                      --secret gives by this name; ,data-file=FILE where it has its data in that file
  --cdrom ISO         a disc in a CD-ROM drive (hdc)
  --memory SIZE       as 512M or 2G; a number alone is MiB (1G if absent)
  --cpus N            1 if absent
  --name NAME         for vmm ctl (run-PID if absent, with the number of the process)
  --machine pc|microvm
                      pc if absent
  --net user|none|tap:NAME|bridge:NAME
                      its network card: in a network of vmm's own, by which it reaches what the host reaches
                      (if absent, too); none; at a tap that is there; in a bridge of the host
  --forward [tcp:|udp:][ADDRESS:]PORT:PORT
                      with --net user: a port of the host leads to a port of the guest, as 2222:22; may be
                      repeated. Of TCP and of 127.0.0.1, if it is not said; 0.0.0.0 is all of the host
  --netboot[=FILE|URL]
                      boots from the network before all else. With --net user it gets FILE, as pxelinux.0 or
                      a script for iPXE, by TFTP, and what else is in FILE's folder; or it fetches URL
  --exit-port         the guest may end the run with an exit status (docs/commands.md, scripts/guest-exit)
  --set PATH=VALUE    another value, as disk.vda.cache=none; see vmm --help; may be repeated
  --print             print the domain file that this is, and run nothing; saved, vmm --domain runs the same

And as with --domain (see vmm --help): --ephemeral=memory, --ephemeral-dir, --ephemeral-limit,
--ephemeral-encrypt, --keep, --commit, --timeout, --shutdown-timeout, --daemonize, --pidfile, --control, --metrics,
--secret, --dump-net, --log, --log-level, --check, --strict, --message-format. Exit statuses and keys are the same, too.
)";

namespace {

namespace fs = std::filesystem;

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t number = 0;
  const char* const end = std::to_address(text.end());
  const auto [rest, error] = std::from_chars(std::to_address(text.begin()), end, number);
  return error == std::errc() && rest == end ? std::optional(number) : std::nullopt;
}

Status read_memory(std::string_view text, domain::QuickDomain& quick) {
  constexpr std::string_view kUnits = "MGT";
  constexpr uint64_t kMostMib = domain::kMaxMemoryBytes >> 20;
  const char last = text.empty() ? '\0' : text.back();
  const size_t unit = kUnits.find(static_cast<char>(last >= 'a' && last <= 'z' ? last - 'a' + 'A' : last));
  const bool has_unit = !text.empty() && unit != std::string_view::npos;
  const auto number = parse_number(text.substr(0, text.size() - (has_unit ? 1 : 0)));
  const size_t shift = has_unit ? 10 * unit : 0;
  if (!number || *number > kMostMib >> shift) {
    return fail_configuration("--memory {}: a size such as 512M or 2G, up to {}T, can be", text,
                              kMostMib >> 20);
  }
  quick.memory_mib = *number << shift;
  return {};
}

Status read_cpus(std::string_view text, domain::QuickDomain& quick) {
  const auto number = parse_number(text);
  if (!number) {
    return fail_configuration("--cpus {}: give a whole number", text);
  }
  quick.vcpus = *number;
  return {};
}

Status read_machine(std::string_view text, domain::QuickDomain& quick) {
  if (text != "pc" && text != "microvm") {
    return fail_configuration("--machine {}: pc and microvm can be", text);
  }
  quick.machine = text == "pc" ? domain::MachineType::kPc : domain::MachineType::kMicrovm;
  return {};
}

Result<fs::path> absolute_path(std::string_view option, std::string_view file) {
  if (file.empty()) {
    return fail_configuration("--{}: names no file", option);
  }
  return fs::absolute(file);
}

std::optional<domain::ImageFormat> format_of_ending(const domain::QuickDisk& disk) {
  const std::string ending = disk.source.extension();
  if (ending == ".qcow2") {
    return domain::ImageFormat::kQcow2;
  }
  const bool is_raw = disk.source_type == domain::DiskSource::kBlock || ending == ".img" ||
                      ending == ".raw" || ending == ".iso";
  return is_raw ? std::optional(domain::ImageFormat::kRaw) : std::nullopt;
}

struct DiskWords {
  domain::QuickDisk disk;
  std::optional<domain::ImageFormat> said;
};

Status read_disk_word(std::string_view word, std::string_view text, DiskWords& words) {
  constexpr std::string_view kSecret = "secret=";
  constexpr std::string_view kDataFile = "data-file=";
  if (word == "format=raw") {
    words.said = domain::ImageFormat::kRaw;
  } else if (word == "format=qcow2") {
    words.said = domain::ImageFormat::kQcow2;
  } else if (word.starts_with(kSecret) && word != kSecret) {
    words.disk.secret = word.substr(kSecret.size());
  } else if (word.starts_with(kDataFile) && word != kDataFile) {
    words.disk.data_file = fs::absolute(word.substr(kDataFile.size()));
  } else {
    return fail_configuration(
        "--disk {}: behind a comma format=raw, format=qcow2, secret=NAME or data-file=FILE can be; a comma "
        "of "
        "the file's name is doubled",
        text);
  }
  return {};
}

Status check_format(const domain::QuickDisk& disk, std::string_view text) {
  const bool is_special = !disk.secret.empty() || !disk.data_file.empty();
  if (is_special && disk.format != domain::ImageFormat::kQcow2) {
    return fail_configuration("--disk {}: {} is for qcow2 images; leave it out, or add ,format=qcow2", text,
                              disk.secret.empty() ? "data-file=" : "secret=");
  }
  return {};
}

Status read_disk(std::string_view text, domain::QuickDomain& quick,
                 std::vector<domain::Diagnostic>& warnings) {
  const std::vector<std::string> parts = split_option_words(text);
  DiskWords words;
  auto& [disk, said] = words;
  VMM_ASSIGN_OR_RETURN(disk.source, absolute_path("disk", parts.front()));
  std::error_code error;
  if (fs::is_block_file(disk.source, error)) {
    disk.source_type = domain::DiskSource::kBlock;
  }
  for (size_t i = 1; i < parts.size(); ++i) {
    VMM_TRY(read_disk_word(parts[i], text, words));
  }
  const std::optional<domain::ImageFormat> format = said ? said : format_of_ending(disk);
  if (!format) {
    return fail_configuration(
        "--disk {}: its format is not in its name, and is never guessed; add ,format=qcow2 or ,format=raw",
        text);
  }
  if (!said && format == domain::ImageFormat::kRaw && begins_as_qcow2(disk.source)) {
    warnings.push_back({domain::Severity::kWarning,
                        {},
                        0,
                        fmt::format("--disk {}: is taken as raw, and begins as a qcow2 image does; add "
                                    ",format=qcow2 if it is one",
                                    text)});
  }
  disk.format = *format;
  VMM_TRY(check_format(disk, text));
  quick.disks.push_back(std::move(disk));
  return {};
}

// The guest's start would name the place in a domain file that nobody has.
Status check_readable(std::string_view option, const fs::path& file) {
  if (file.empty()) {
    return {};
  }
  struct stat info{};
  const bool is_there = ::stat(file.c_str(), &info) == 0;
  if (!is_there && errno == ENOENT) {
    return fail_configuration("{} {}: there is no such file; correct its name", option, file.native());
  }
  if (is_there && S_ISDIR(info.st_mode)) {
    return fail_configuration("{} {}: is a folder; name a file", option, file.native());
  }
  if (!is_there || ::access(file.c_str(), R_OK) != 0) {
    return fail_configuration("{} {}: cannot be read: {}; give yourself the right, or name another file",
                              option, file.native(), errno_text(errno));
  }
  return {};
}

Status check_files(const domain::QuickDomain& quick) {
  VMM_TRY(check_readable("--kernel", quick.kernel));
  VMM_TRY(check_readable("--initrd", quick.initrd));
  for (const domain::QuickDisk& disk : quick.disks) {
    VMM_TRY(check_readable("--disk", disk.source));
    VMM_TRY(check_readable("--disk data-file:", disk.data_file));
  }
  VMM_TRY(check_readable("--netboot", quick.boot_path));
  return check_readable("--cdrom", quick.cdrom);
}

// Empty: what the network has.
Status read_netboot(std::string_view value, domain::QuickDomain& quick) {
  quick.is_netbooted = true;
  if (value.find("://") != std::string_view::npos) {
    quick.boot_url = value;
  } else if (!value.empty()) {
    VMM_ASSIGN_OR_RETURN(quick.boot_path, absolute_path("netboot", value));
  }
  return {};
}

Status check_memory(const domain::QuickDomain& quick) {
  const auto pages = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES));
  const uint64_t host_mib = pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) >> 20;
  if (quick.memory_mib > host_mib) {
    return fail_configuration("--memory: the guest wants {} MiB, the host has {} MiB in all; ask for less",
                              quick.memory_mib, host_mib);
  }
  return {};
}

}  // namespace

Status read_quick_option(std::string_view name, std::string_view value, Options& options) {
  if (!options.quick) {
    return fail_configuration("--{}: is for vmm run; beside --domain, the domain file says it", name);
  }
  domain::QuickDomain& quick = *options.quick;
  if (name == "kernel") {
    VMM_ASSIGN_OR_RETURN(quick.kernel, absolute_path(name, value));
  } else if (name == "initrd") {
    VMM_ASSIGN_OR_RETURN(quick.initrd, absolute_path(name, value));
  } else if (name == "append") {
    quick.command_line = value;
  } else if (name == "disk") {
    return read_disk(value, quick, options.warnings);
  } else if (name == "cdrom") {
    VMM_ASSIGN_OR_RETURN(quick.cdrom, absolute_path(name, value));
  } else if (name == "memory") {
    return read_memory(value, quick);
  } else if (name == "cpus") {
    return read_cpus(value, quick);
  } else if (name == "name") {
    quick.name = value;
  } else if (name == "machine") {
    return read_machine(value, quick);
  } else if (name == "net") {
    return read_net(value, quick);
  } else if (name == "forward") {
    return read_forward(value, quick);
  } else if (name == "netboot") {
    return read_netboot(value, quick);
  } else if (name == "exit-port") {
    quick.has_exit_port = true;
  }
  return {};
}

Status finish_quick_options(const Options& options, bool runs) {
  if (!options.domain_path.empty() || !options.install_path.empty()) {
    return fail_configuration("{}: vmm run makes its domain of other options; leave out this one, or `run`",
                              options.domain_path.empty() ? "--install" : "--domain");
  }
  if (runs) {
    VMM_TRY(check_files(*options.quick));
    return check_memory(*options.quick);
  }
  return {};
}

}  // namespace vmm::cli
