// `vmm ctl GUEST resize|snapshot|commit|stream|backup|jobs|cancel`: the images of a running guest's disks.
#pragma once

#include <vector>

#include "vmm/control/ctl_command.h"

namespace vmm::control {

// The options of the commands, without dashes; each has a value.
std::vector<CtlOption> commit_options();
std::vector<CtlOption> stream_options();
std::vector<CtlOption> backup_options();
std::vector<CtlOption> snapshot_options();

Result<CtlTold> resize(const CtlRequest& request);
Result<CtlTold> snapshot(const CtlRequest& request);
// These wait for their jobs, and show how far they are where standard error is a terminal. A job that is left
// alone goes on.
Result<CtlTold> commit(const CtlRequest& request);
Result<CtlTold> stream(const CtlRequest& request);
Result<CtlTold> backup(const CtlRequest& request);
Result<CtlTold> follow_job(const CtlRequest& request);
Result<CtlTold> list_jobs(const CtlRequest& request);
Result<CtlTold> cancel_jobs(const CtlRequest& request);

}  // namespace vmm::control
