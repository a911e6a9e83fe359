#include "devices/ide/mmc_state.h"

namespace vmm::ide {

void reset_mmc(MmcState& state) {
  state.is_locked = false;
  state.has_reset_attention = true;
  state.has_medium_attention = false;
  state.event = state.is_loaded() ? MediaEvent::kNewMedia : MediaEvent::kNone;
  state.sense = sense::kNone;
  state.mode = ModeParameters{};
  state.read_speed_kbytes = 0xffff;
}

void open_tray(MmcState& state) {
  if (state.is_open) {
    return;
  }
  if (state.has_medium) {
    state.event = MediaEvent::kMediaRemoval;
  }
  state.is_open = true;
  state.has_medium_attention = false;
}

void close_tray(MmcState& state) {
  if (!state.is_open) {
    return;
  }
  state.is_open = false;
  if (state.has_medium) {
    state.has_medium_attention = true;
    state.event = MediaEvent::kNewMedia;
  }
}

void take_medium(MmcState& state) {
  if (state.is_loaded()) {
    state.event = MediaEvent::kMediaRemoval;
    state.has_medium_attention = false;
  }
  state.has_medium = false;
  state.blocks = 0;
}

void put_medium(MmcState& state, uint32_t blocks) {
  state.has_medium = true;
  state.blocks = blocks;
  if (!state.is_open) {
    state.has_medium_attention = true;
    state.event = MediaEvent::kNewMedia;
  }
}

void request_eject(MmcState& state) {
  if (state.event == MediaEvent::kNone) {
    state.event = MediaEvent::kEjectRequest;
  }
}

}  // namespace vmm::ide
