#include "vmm/domain/throwaway.h"

#include <algorithm>
#include <string_view>

namespace vmm::domain {
namespace {

namespace fs = std::filesystem;

struct Kept {
  std::string_view target;  // empty: the one that is throwaway
  fs::path file;
};

// Of an empty name there is no absolute one.
fs::path absolute_file(std::string_view name) { return name.empty() ? fs::path() : fs::absolute(name); }

// "vda=FILE" where there is a disk vda; else all of it is the file.
Kept parse_keep(const Domain& domain, std::string_view text) {
  const size_t end = text.find('=');
  const std::string_view target = text.substr(0, end);
  const bool is_target = end != std::string_view::npos &&
                         std::ranges::find(domain.disks, target, &Disk::target) != domain.disks.end();
  return is_target ? Kept{.target = target, .file = absolute_file(text.substr(end + 1))}
                   : Kept{.target = {}, .file = absolute_file(text)};
}

Result<Disk*> find_kept(Domain& domain, const std::string& text, const Kept& kept) {
  const auto is_meant = [&kept](const Disk& disk) {
    return disk.transient && (kept.target.empty() || disk.target == kept.target);
  };
  const auto found = std::ranges::find_if(domain.disks, is_meant);
  if (found == domain.disks.end()) {
    return fail_configuration("--keep {}: the disk {} is not throwaway", text, kept.target);
  }
  if (std::any_of(found + 1, domain.disks.end(), is_meant)) {
    return fail_configuration("--keep {}: several disks of {} are throwaway; say which: --keep {}={}", text,
                              domain.file_name, found->target, text);
  }
  return &*found;
}

Status apply_keep(Domain& domain, const std::string& text) {
  const Kept kept = parse_keep(domain, text);
  if (!kept.file.has_filename()) {
    return fail_configuration("--keep {}: names no file", text);
  }
  VMM_ASSIGN_OR_RETURN(Disk* const disk, find_kept(domain, text, kept));
  if (!disk->kept_as.empty()) {
    return fail_configuration("--keep {}: {} is kept as {} already", text, disk->target,
                              disk->kept_as.native());
  }
  const bool is_taken =
      std::ranges::any_of(domain.disks, [&kept](const Disk& each) { return each.kept_as == kept.file; });
  std::error_code error;
  if (is_taken || fs::exists(fs::symlink_status(kept.file, error))) {
    return fail_configuration("--keep {}: there is such a file already, and vmm does not write over it",
                              text);
  }
  disk->kept_as = kept.file;
  return {};
}

// The name of an option that needs a throwaway disk; empty: there is none.
std::string_view first_option(const ThrowawayOptions& options) {
  return !options.folder.empty() ? "--ephemeral-dir" : !options.keep.empty() ? "--keep" : "";
}

}  // namespace

Status make_throwaway(Domain& domain, const ThrowawayOptions& options) {
  if (options.in_memory && !first_option(options).empty()) {
    return fail_configuration("--ephemeral=memory and {}: only one of them is possible",
                              first_option(options));
  }
  for (Disk& disk : domain.disks) {
    if (!options.every_disk || disk.read_only) {
      continue;
    }
    if (disk.shareable) {
      return fail_configuration(
          "--ephemeral: {}: <disk> {}: what others write to a <shareable/> disk cannot be thrown away",
          domain.where(disk.line), disk.target);
    }
    disk.transient = true;
  }
  const bool any = std::ranges::any_of(domain.disks, &Disk::transient);
  if (!any && !first_option(options).empty()) {
    return fail_configuration("{}: no disk of {} is throwaway; add --ephemeral", first_option(options),
                              domain.file_name);
  }
  domain.throwaway.in_memory = options.in_memory;
  if (!options.folder.empty()) {
    domain.throwaway.folder = fs::absolute(options.folder);
  }
  for (const std::string& text : options.keep) {
    VMM_TRY(apply_keep(domain, text));
  }
  return {};
}

}  // namespace vmm::domain
