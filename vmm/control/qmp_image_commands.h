// The commands of QMP that change the images of disks while the guest runs, and those of their jobs.
//
// Threads: the main loop's.
#pragma once

#include "vmm/control/guest.h"
#include "vmm/control/qmp_arguments.h"
#include "vmm/control/qmp_json.h"

namespace vmm::control {

// As QEMU's schema has them.
const char* job_status_name(DiskJob::State state);

// Each has the name of its command.
Answer block_resize(Guest& guest, const Request& request);
Answer snapshot_sync(Guest& guest, const Request& request);
Answer block_commit(Guest& guest, const Request& request);
Answer block_stream(Guest& guest, const Request& request);
Answer block_backup(Guest& guest, const Request& request);
Answer query_block_jobs(Guest& guest, const Request& request);
Answer query_jobs(Guest& guest, const Request& request);
Answer pause_job(Guest& guest, const Request& request);
Answer resume_job(Guest& guest, const Request& request);
Answer cancel_job(Guest& guest, const Request& request);  // is_forced counts
Answer abort_job(Guest& guest, const Request& request);
Answer complete_job(Guest& guest, const Request& request);
Answer dismiss_job(Guest& guest, const Request& request);
Answer set_job_speed(Guest& guest, const Request& request);

}  // namespace vmm::control
