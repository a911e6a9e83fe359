#include "vmm/domain/throwaway.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "vmm/base/size.h"

namespace vmm::domain {
namespace {

namespace fs = std::filesystem;

struct Kept {
  std::string_view target;  // empty: the one that is throwaway
  fs::path file;
};

// Of an empty name there is no absolute one. One file has one name, as far as its folders are there.
fs::path absolute_file(std::string_view name) {
  if (name.empty()) {
    return {};
  }
  const fs::path file = fs::absolute(name).lexically_normal();
  std::error_code error;
  const fs::path folder = fs::weakly_canonical(file.parent_path(), error);
  return error ? file : folder / file.filename();
}

// "vda": what a disk's target may be called.
bool is_target_name(std::string_view text) {
  constexpr size_t kShortest = 3;
  return text.size() >= kShortest &&
         (text.starts_with("vd") || text.starts_with("hd") || text.starts_with("sd")) &&
         std::ranges::all_of(text, [](char c) { return c >= 'a' && c <= 'z'; });
}

// "vda=FILE"; where that is no name of a disk, all of it is the file.
Result<Kept> parse_keep(const Domain& domain, std::string_view text) {
  const size_t end = text.find('=');
  const std::string_view target = text.substr(0, end);
  if (end == std::string_view::npos || !is_target_name(target)) {
    return Kept{.target = {}, .file = absolute_file(text)};
  }
  if (std::ranges::find(domain.disks, target, &Disk::target) == domain.disks.end()) {
    return fail_configuration("--keep {}: there is no disk {}; of a file with such a name, write ./{}", text,
                              target, text);
  }
  return Kept{.target = target, .file = absolute_file(text.substr(end + 1))};
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
  VMM_ASSIGN_OR_RETURN(const Kept kept, parse_keep(domain, text));
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

struct GivenOption {
  std::string_view name;
  bool is_given = false;
};

// The name of the first that is given; empty: none is.
std::string_view first_given(std::initializer_list<GivenOption> options) {
  const auto* const found = std::ranges::find(options, true, &GivenOption::is_given);
  return found == options.end() ? std::string_view() : found->name;
}

Status refuse_together(std::string_view one, std::string_view other, std::string_view reason) {
  return other.empty() ? Status()
                       : fail_configuration("{} and {}: only one of them is possible{}", one, other, reason);
}

Status check_options(const ThrowawayOptions& options) {
  const GivenOption keep{"--keep", !options.keep.empty()};
  const GivenOption commit{"--commit", options.is_committed};
  if (options.in_memory) {
    VMM_TRY(refuse_together("--ephemeral=memory",
                            first_given({{"--ephemeral-dir", !options.folder.empty()}, keep, commit}), ""));
  }
  if (options.is_encrypted) {
    VMM_TRY(refuse_together("--ephemeral-encrypt", first_given({keep, commit}),
                            "; what stays needs a key that stays"));
  }
  return {};
}

// An option that says something of throwaway disks; empty: there is none.
std::string_view first_option(const ThrowawayOptions& options) {
  return first_given({{"--ephemeral-dir", !options.folder.empty()},
                      {"--keep", !options.keep.empty()},
                      {"--ephemeral-limit", !options.limit.empty()},
                      {"--ephemeral-encrypt", options.is_encrypted},
                      {"--commit", options.is_committed}});
}

Status apply_limit(Domain& domain, const std::string& text) {
  const auto bytes = parse_size(text);
  if (!bytes) {
    return std::unexpected(bytes.error().within("--ephemeral-limit"));
  }
  if (*bytes < kMinThrowawayLimitBytes) {
    return fail_configuration("--ephemeral-limit {}: too little; at least 1M", text);
  }
  domain.throwaway.limit_bytes = *bytes;
  return {};
}

}  // namespace

Status make_throwaway(Domain& domain, const ThrowawayOptions& options) {
  VMM_TRY(check_options(options));
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
  domain.throwaway.is_encrypted = options.is_encrypted;
  if (!options.limit.empty()) {
    VMM_TRY(apply_limit(domain, options.limit));
  }
  if (!options.folder.empty()) {
    domain.throwaway.folder = fs::absolute(options.folder);
  }
  for (const std::string& text : options.keep) {
    VMM_TRY(apply_keep(domain, text));
  }
  for (Disk& disk : domain.disks) {
    disk.is_committed = options.is_committed && disk.transient && disk.kept_as.empty();
  }
  if (options.is_committed && std::ranges::none_of(domain.disks, &Disk::is_committed)) {
    return fail_configuration(
        "--commit and --keep: all that is throwaway is kept, so that nothing is committed");
  }
  return {};
}

}  // namespace vmm::domain
