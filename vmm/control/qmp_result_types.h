// What commands return (qmp_types.h), by the names of QEMU's schema, as far as vmm has it.
#pragma once

#include "vmm/control/qmp_types.h"

namespace vmm::control {

extern const Type kVersionInfo;
extern const Type kNameInfo;
extern const Type kUuidInfo;
extern const Type kKvmInfo;
extern const Type kStatusInfo;
extern const Type kCpuInfoList;
extern const Type kNamedList;  // of commands, of events
extern const Type kBlockInfoList;
extern const Type kBlockDeviceInfoList;
extern const Type kBlockStatsList;
extern const Type kChardevInfoList;
extern const Type kPciInfoList;
extern const Type kRxFilterInfoList;
extern const Type kSchemaInfoList;
extern const Type kThrowawayInfo;
extern const Type kBlockJobInfoList;
extern const Type kJobInfoList;
extern const Type kJobType;
extern const Type kJobStatus;
extern const Type kStatisticsInfo;

}  // namespace vmm::control
