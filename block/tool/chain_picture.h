// A picture of an image and what it stands on, for people.
//
// Threads: functions without state.
#pragma once

#include <string>
#include <vector>

#include "block/tool/image_info.h"

namespace vmm::block::tool {

// `infos`: the image first, then what it stands on, as far as that was looked at. Lines, each with its end.
std::string chain_picture(const std::vector<ImageInfo>& infos);

}  // namespace vmm::block::tool
