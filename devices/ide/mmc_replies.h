// What a CD/DVD reader tells about itself and its medium: the data of the commands that return a description.
// For mmc_commands.cpp only.
//
// Pure functions of the block and the state. A Reply is whole here: execute() cuts it to the allocation
// length.
#pragma once

#include "devices/ide/mmc_commands.h"

namespace vmm::ide {

// Minute 99, second 59, frame 74 is the last address of a CD; larger images are DVDs.
inline constexpr uint32_t kMaxCdBlocks = (99 * 60 + 59) * 75 + 74 - 150;
constexpr bool is_dvd(const MmcState& state) { return state.blocks > kMaxCdBlocks; }

Outcome inquiry(const Cdb& cdb);
Outcome request_sense(const Sense& sense);
Outcome read_capacity(const MmcState& state);
Outcome read_format_capacities(const MmcState& state);
Outcome read_toc(const Cdb& cdb, const MmcState& state);
Outcome read_sub_channel(const Cdb& cdb);
Outcome read_header(const Cdb& cdb, const MmcState& state);
Outcome get_configuration(const Cdb& cdb, const MmcState& state);
// Takes the event that it reports.
Outcome get_event_status(const Cdb& cdb, MmcState& state);
Outcome read_disc_information(const Cdb& cdb);
Outcome read_track_information(const Cdb& cdb, const MmcState& state);
Outcome read_dvd_structure(const Cdb& cdb, const MmcState& state);
Outcome read_buffer_capacity(const Cdb& cdb);
Outcome get_performance(const Cdb& cdb, const MmcState& state);
Outcome mechanism_status(const MmcState& state);
Outcome mode_sense(const Cdb& cdb, const MmcState& state);

}  // namespace vmm::ide
