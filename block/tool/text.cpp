#include "block/tool/text.h"

#include <array>
#include <utility>

namespace vmm::block::tool {

Result<Format> disk_format(const std::string& name) {
  if (name == "raw") {
    return Format::kRaw;
  }
  if (name == "qcow2") {
    return Format::kQcow2;
  }
  if (name == "qcow") {
    return Format::kQcow;
  }
  if (name == "iso") {
    return Format::kIso;
  }
  return fail_configuration("the format '{}' is not known here; raw, qcow2, and for reading qcow and iso are",
                            name);
}

Result<CacheMode> cache_mode(const std::string& name) {
  constexpr std::array<std::pair<std::string_view, CacheMode>, 5> kModes = {
      {{"none", CacheMode::kNone},
       {"writeback", CacheMode::kWriteback},
       {"writethrough", CacheMode::kWritethrough},
       {"directsync", CacheMode::kDirectsync},
       {"unsafe", CacheMode::kUnsafe}}};
  for (const auto& [word, mode] : kModes) {
    if (name == word) {
      return mode;
    }
  }
  return fail_configuration(
      "the cache mode '{}' is not known; none, writeback, writethrough, directsync and unsafe are", name);
}

Result<CacheMode> safe_cache_mode(const std::string& name) {
  VMM_ASSIGN_OR_RETURN(const CacheMode mode, cache_mode(name));
  return mode == CacheMode::kUnsafe ? CacheMode::kWriteback : mode;
}

}  // namespace vmm::block::tool
