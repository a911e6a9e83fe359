// The table of an image's internal snapshots, as qemu-img prints it.
#pragma once

#include <nlohmann/json.hpp>

namespace vmm::block::tool {

// `snapshots`: as in image_info.h.
void print_snapshots(const nlohmann::ordered_json& snapshots);

}  // namespace vmm::block::tool
