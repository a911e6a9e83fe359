#include "vmm/control/qmp_result_types.h"

#include <array>

namespace vmm::control {
namespace {

constexpr std::array kVersionTripleMembers = {Member{"major", &kIntType}, Member{"minor", &kIntType},
                                              Member{"micro", &kIntType}};
constexpr Type kVersionTriple = object_of("VersionTriple", kVersionTripleMembers);
constexpr std::array kVersionInfoMembers = {Member{"qemu", &kVersionTriple}, Member{"package", &kStringType}};

constexpr std::array kNameInfoMembers = {Member{"name", &kStringType}};
constexpr std::array kUuidInfoMembers = {Member{"UUID", &kStringType}};
constexpr std::array kKvmInfoMembers = {Member{"enabled", &kBoolType}, Member{"present", &kBoolType}};

constexpr const char* kRunStates[] = {"running", "paused", "io-error", "watchdog", "shutdown"};
constexpr Type kRunState = enum_of("RunState", kRunStates);
constexpr std::array kStatusInfoMembers = {Member{"running", &kBoolType}, Member{"status", &kRunState}};

constexpr std::array kCpuPropertiesMembers = {Member{"core-id", &kIntType}, Member{"thread-id", &kIntType},
                                              Member{"die-id", &kIntType}, Member{"socket-id", &kIntType}};
constexpr Type kCpuProperties = object_of("CpuInstanceProperties", kCpuPropertiesMembers);
constexpr const char* kTargets[] = {"x86_64"};
constexpr Type kTarget = enum_of("SysEmuTarget", kTargets);
constexpr std::array kCpuInfoMembers = {Member{"cpu-index", &kIntType}, Member{"qom-path", &kStringType},
                                        Member{"thread-id", &kIntType}, Member{"props", &kCpuProperties},
                                        Member{"target", &kTarget}};
constexpr Type kCpuInfo = object_of("CpuInfoFast", kCpuInfoMembers);

constexpr std::array kNamedMembers = {Member{"name", &kStringType}};
constexpr Type kNamed = object_of("CommandInfo", kNamedMembers);

// --- Disks ----------------------------------------------------------------------------------------------

extern const Type kImageInfo;
constexpr std::array kImageInfoMembers = {Member{"filename", &kStringType},
                                          Member{"format", &kStringType},
                                          Member{"virtual-size", &kIntType},
                                          Member{"actual-size", &kIntType, kOptional},
                                          Member{"cluster-size", &kIntType, kOptional},
                                          Member{"encrypted", &kBoolType, kOptional},
                                          Member{"backing-filename", &kStringType, kOptional},
                                          Member{"full-backing-filename", &kStringType, kOptional},
                                          Member{"backing-filename-format", &kStringType, kOptional},
                                          Member{"backing-image", &kImageInfo, kOptional}};
constinit const Type kImageInfo = object_of("ImageInfo", kImageInfoMembers);

constexpr std::array kCacheInfoMembers = {Member{"writeback", &kBoolType}, Member{"direct", &kBoolType},
                                          Member{"no-flush", &kBoolType}};
constexpr Type kCacheInfo = object_of("BlockdevCacheInfo", kCacheInfoMembers);
constexpr const char* kDetectZeroes[] = {"off", "on", "unmap"};
constexpr Type kDetectZeroesOptions = enum_of("BlockdevDetectZeroesOptions", kDetectZeroes);

constexpr std::array kBlockDeviceInfoMembers = {Member{"file", &kStringType},
                                                Member{"node-name", &kStringType},
                                                Member{"ro", &kBoolType},
                                                Member{"drv", &kStringType},
                                                Member{"backing_file", &kStringType, kOptional},
                                                Member{"backing_file_depth", &kIntType},
                                                Member{"encrypted", &kBoolType},
                                                Member{"detect_zeroes", &kDetectZeroesOptions},
                                                Member{"bps", &kIntType},
                                                Member{"bps_rd", &kIntType},
                                                Member{"bps_wr", &kIntType},
                                                Member{"iops", &kIntType},
                                                Member{"iops_rd", &kIntType},
                                                Member{"iops_wr", &kIntType},
                                                Member{"image", &kImageInfo},
                                                Member{"bps_max", &kIntType, kOptional},
                                                Member{"bps_rd_max", &kIntType, kOptional},
                                                Member{"bps_wr_max", &kIntType, kOptional},
                                                Member{"iops_max", &kIntType, kOptional},
                                                Member{"iops_rd_max", &kIntType, kOptional},
                                                Member{"iops_wr_max", &kIntType, kOptional},
                                                Member{"bps_max_length", &kIntType, kOptional},
                                                Member{"bps_rd_max_length", &kIntType, kOptional},
                                                Member{"bps_wr_max_length", &kIntType, kOptional},
                                                Member{"iops_max_length", &kIntType, kOptional},
                                                Member{"iops_rd_max_length", &kIntType, kOptional},
                                                Member{"iops_wr_max_length", &kIntType, kOptional},
                                                Member{"iops_size", &kIntType, kOptional},
                                                Member{"group", &kStringType, kOptional},
                                                Member{"cache", &kCacheInfo},
                                                Member{"write_threshold", &kIntType}};
constexpr Type kBlockDeviceInfo = object_of("BlockDeviceInfo", kBlockDeviceInfoMembers);

constexpr std::array kBlockInfoMembers = {Member{"device", &kStringType},
                                          Member{"qdev", &kStringType},
                                          Member{"type", &kStringType},
                                          Member{"removable", &kBoolType},
                                          Member{"locked", &kBoolType},
                                          Member{"inserted", &kBlockDeviceInfo, kOptional},
                                          Member{"tray_open", &kBoolType, kOptional}};
constexpr Type kBlockInfo = object_of("BlockInfo", kBlockInfoMembers);

constexpr Type kIntList = array_of(kIntType);
constexpr std::array kHistogramMembers = {Member{"boundaries", &kIntList}, Member{"bins", &kIntList}};
constexpr Type kHistogram = object_of("BlockLatencyHistogramInfo", kHistogramMembers);
constexpr Type kTimedStats = object_of("BlockDeviceTimedStats", {});
constexpr Type kTimedStatsList = array_of(kTimedStats);
constexpr std::array kDeviceStatsMembers = {Member{"rd_bytes", &kIntType},
                                            Member{"wr_bytes", &kIntType},
                                            Member{"unmap_bytes", &kIntType},
                                            Member{"rd_operations", &kIntType},
                                            Member{"wr_operations", &kIntType},
                                            Member{"flush_operations", &kIntType},
                                            Member{"unmap_operations", &kIntType},
                                            Member{"rd_total_time_ns", &kIntType},
                                            Member{"wr_total_time_ns", &kIntType},
                                            Member{"flush_total_time_ns", &kIntType},
                                            Member{"unmap_total_time_ns", &kIntType},
                                            Member{"wr_highest_offset", &kIntType},
                                            Member{"rd_merged", &kIntType},
                                            Member{"wr_merged", &kIntType},
                                            Member{"unmap_merged", &kIntType},
                                            Member{"idle_time_ns", &kIntType, kOptional},
                                            Member{"failed_rd_operations", &kIntType},
                                            Member{"failed_wr_operations", &kIntType},
                                            Member{"failed_flush_operations", &kIntType},
                                            Member{"failed_unmap_operations", &kIntType},
                                            Member{"invalid_rd_operations", &kIntType},
                                            Member{"invalid_wr_operations", &kIntType},
                                            Member{"invalid_flush_operations", &kIntType},
                                            Member{"invalid_unmap_operations", &kIntType},
                                            Member{"account_invalid", &kBoolType},
                                            Member{"account_failed", &kBoolType},
                                            Member{"timed_stats", &kTimedStatsList},
                                            Member{"rd_latency_histogram", &kHistogram, kOptional},
                                            Member{"wr_latency_histogram", &kHistogram, kOptional},
                                            Member{"flush_latency_histogram", &kHistogram, kOptional}};
constexpr Type kDeviceStats = object_of("BlockDeviceStats", kDeviceStatsMembers);
constexpr std::array kBlockStatsMembers = {Member{"device", &kStringType}, Member{"qdev", &kStringType},
                                           Member{"node-name", &kStringType, kOptional},
                                           Member{"stats", &kDeviceStats}};
constexpr Type kBlockStats = object_of("BlockStats", kBlockStatsMembers);

constexpr std::array kThrowawayInfoMembers = {Member{"used", &kIntType},
                                              Member{"limit", &kIntType, kOptional}};

// --- The machine ----------------------------------------------------------------------------------------

constexpr std::array kChardevInfoMembers = {Member{"label", &kStringType}, Member{"filename", &kStringType},
                                            Member{"frontend-open", &kBoolType}};
constexpr Type kChardevInfo = object_of("ChardevInfo", kChardevInfoMembers);

// By ExitCounters::kNames.
constexpr std::array kExitsMembers = {Member{"io", &kIntType}, Member{"mmio", &kIntType},
                                      Member{"halt", &kIntType}, Member{"signal", &kIntType},
                                      Member{"other", &kIntType}};
constexpr Type kExits = object_of("VcpuExits", kExitsMembers);
constexpr std::array kVcpuStatsMembers = {Member{"cpu-index", &kIntType}, Member{"cpu-time-ns", &kIntType},
                                          Member{"exits", &kExits}};
constexpr Type kVcpuStats = object_of("VcpuStats", kVcpuStatsMembers);
constexpr Type kVcpuStatsList = array_of(kVcpuStats);
constexpr std::array kInterfaceStatsMembers = {
    Member{"name", &kStringType},          Member{"mac", &kStringType},
    Member{"link-up", &kBoolType},         Member{"target", &kStringType, kOptional},
    Member{"received-packets", &kIntType}, Member{"received-bytes", &kIntType},
    Member{"received-dropped", &kIntType}, Member{"received-filtered", &kIntType},
    Member{"sent-packets", &kIntType},     Member{"sent-bytes", &kIntType},
    Member{"sent-dropped", &kIntType},     Member{"sent-errors", &kIntType}};
constexpr Type kInterfaceStats = object_of("InterfaceStats", kInterfaceStatsMembers);
constexpr Type kInterfaceStatsList = array_of(kInterfaceStats);
constexpr std::array kStatisticsMembers = {Member{"time-ns", &kIntType},
                                           Member{"cpu-time-ns", &kIntType},
                                           Member{"resident-bytes", &kIntType},
                                           Member{"memory-bytes", &kIntType},
                                           Member{"balloon-bytes", &kIntType, kOptional},
                                           Member{"vcpus", &kVcpuStatsList},
                                           Member{"interfaces", &kInterfaceStatsList}};

constexpr std::array kPciClassMembers = {Member{"desc", &kStringType, kOptional}, Member{"class", &kIntType}};
constexpr Type kPciClass = object_of("PciDeviceClass", kPciClassMembers);
constexpr std::array kPciIdMembers = {Member{"device", &kIntType}, Member{"vendor", &kIntType},
                                      Member{"subsystem", &kIntType, kOptional},
                                      Member{"subsystem-vendor", &kIntType, kOptional}};
constexpr Type kPciId = object_of("PciDeviceId", kPciIdMembers);
constexpr std::array kPciRegionMembers = {Member{"bar", &kIntType},
                                          Member{"type", &kStringType},
                                          Member{"address", &kIntType},
                                          Member{"size", &kIntType},
                                          Member{"prefetch", &kBoolType, kOptional},
                                          Member{"mem_type_64", &kBoolType, kOptional}};
constexpr Type kPciRegion = object_of("PciMemoryRegion", kPciRegionMembers);
constexpr Type kPciRegionList = array_of(kPciRegion);
constexpr std::array kPciDeviceMembers = {
    Member{"bus", &kIntType},         Member{"slot", &kIntType},       Member{"function", &kIntType},
    Member{"class_info", &kPciClass}, Member{"id", &kPciId},           Member{"irq", &kIntType, kOptional},
    Member{"irq_pin", &kIntType},     Member{"qdev_id", &kStringType}, Member{"regions", &kPciRegionList}};
constexpr Type kPciDevice = object_of("PciDeviceInfo", kPciDeviceMembers);
constexpr Type kPciDeviceList = array_of(kPciDevice);
constexpr std::array kPciInfoMembers = {Member{"bus", &kIntType}, Member{"devices", &kPciDeviceList}};
constexpr Type kPciInfo = object_of("PciInfo", kPciInfoMembers);

constexpr const char* kJobTypes[] = {"commit", "stream", "backup"};
constexpr const char* kJobStatuses[] = {"created", "running", "paused",   "ready",     "standby",
                                        "waiting", "pending", "aborting", "concluded", "null"};
constexpr const char* kIoStatuses[] = {"ok", "failed", "nospace"};
constexpr Type kJobIoStatus = enum_of("BlockDeviceIoStatus", kIoStatuses);
constexpr std::array kBlockJobInfoMembers = {Member{"type", &kJobType},
                                             Member{"device", &kStringType},
                                             Member{"len", &kIntType},
                                             Member{"offset", &kIntType},
                                             Member{"busy", &kBoolType},
                                             Member{"paused", &kBoolType},
                                             Member{"speed", &kIntType},
                                             Member{"io-status", &kJobIoStatus},
                                             Member{"ready", &kBoolType},
                                             Member{"status", &kJobStatus},
                                             Member{"auto-finalize", &kBoolType},
                                             Member{"auto-dismiss", &kBoolType},
                                             Member{"error", &kStringType, kOptional}};
constexpr Type kBlockJobInfo = object_of("BlockJobInfo", kBlockJobInfoMembers);
constexpr std::array kJobInfoMembers = {
    Member{"id", &kStringType},          Member{"type", &kJobType},
    Member{"status", &kJobStatus},       Member{"current-progress", &kIntType},
    Member{"total-progress", &kIntType}, Member{"error", &kStringType, kOptional}};
constexpr Type kJobInfo = object_of("JobInfo", kJobInfoMembers);

// --- The schema itself ----------------------------------------------------------------------------------

constexpr const char* kJsonTypes[] = {"string", "number", "int", "boolean", "null"};
constexpr Type kJsonType = enum_of("JSONType", kJsonTypes);
constexpr const char* kMetaTypes[] = {"builtin", "enum", "array", "object", "command", "event"};
constexpr Type kMetaType = enum_of("SchemaMetaType", kMetaTypes);
constexpr std::array kSchemaBuiltinMembers = {Member{"json-type", &kJsonType}};
constexpr Type kSchemaBuiltin = object_of("SchemaInfoBuiltin", kSchemaBuiltinMembers);
constexpr std::array kSchemaEnumMemberMembers = {Member{"name", &kStringType}};
constexpr Type kSchemaEnumMember = object_of("SchemaInfoEnumMember", kSchemaEnumMemberMembers);
constexpr Type kSchemaEnumMemberList = array_of(kSchemaEnumMember);
constexpr Type kStringList = array_of(kStringType);
constexpr std::array kSchemaEnumMembers = {Member{"members", &kSchemaEnumMemberList},
                                           Member{"values", &kStringList}};
constexpr Type kSchemaEnum = object_of("SchemaInfoEnum", kSchemaEnumMembers);
constexpr std::array kSchemaArrayMembers = {Member{"element-type", &kStringType}};
constexpr Type kSchemaArray = object_of("SchemaInfoArray", kSchemaArrayMembers);
constexpr Type kNullType{.meta = Type::Meta::kBuiltin, .name = "null", .json_type = "null"};
constexpr std::array kSchemaMemberMembers = {Member{"name", &kStringType}, Member{"type", &kStringType},
                                             Member{"default", &kNullType, kOptional}};
constexpr Type kSchemaMember = object_of("SchemaInfoObjectMember", kSchemaMemberMembers);
constexpr Type kSchemaMemberList = array_of(kSchemaMember);
constexpr std::array kSchemaVariantMembers = {Member{"case", &kStringType}, Member{"type", &kStringType}};
constexpr Type kSchemaVariant = object_of("SchemaInfoObjectVariant", kSchemaVariantMembers);
constexpr Type kSchemaVariantList = array_of(kSchemaVariant);
constexpr std::array kSchemaObjectMembers = {Member{"members", &kSchemaMemberList},
                                             Member{"tag", &kStringType, kOptional},
                                             Member{"variants", &kSchemaVariantList, kOptional}};
constexpr Type kSchemaObject = object_of("SchemaInfoObject", kSchemaObjectMembers);
constexpr std::array kSchemaCommandMembers = {Member{"arg-type", &kStringType},
                                              Member{"ret-type", &kStringType}};
constexpr Type kSchemaCommand = object_of("SchemaInfoCommand", kSchemaCommandMembers);
constexpr std::array kSchemaEventMembers = {Member{"arg-type", &kStringType}};
constexpr Type kSchemaEvent = object_of("SchemaInfoEvent", kSchemaEventMembers);
constexpr std::array kSchemaInfoMembers = {Member{"name", &kStringType}, Member{"meta-type", &kMetaType}};
constexpr std::array kSchemaInfoVariants = {
    Variant{"builtin", &kSchemaBuiltin}, Variant{"enum", &kSchemaEnum},
    Variant{"array", &kSchemaArray},     Variant{"object", &kSchemaObject},
    Variant{"command", &kSchemaCommand}, Variant{"event", &kSchemaEvent}};
constexpr Type kSchemaInfo{
    .name = "SchemaInfo", .members = kSchemaInfoMembers, .tag = "meta-type", .variants = kSchemaInfoVariants};

// --- Networks -------------------------------------------------------------------------------------------

constexpr const char* kRxStates[] = {"normal", "none", "all"};
constexpr Type kRxState = enum_of("RxState", kRxStates);
constexpr std::array kRxFilterMembers = {Member{"name", &kStringType},
                                         Member{"promiscuous", &kBoolType},
                                         Member{"multicast", &kRxState},
                                         Member{"unicast", &kRxState},
                                         Member{"vlan", &kRxState},
                                         Member{"broadcast-allowed", &kBoolType},
                                         Member{"multicast-overflow", &kBoolType},
                                         Member{"unicast-overflow", &kBoolType},
                                         Member{"main-mac", &kStringType},
                                         Member{"vlan-table", &kIntList},
                                         Member{"unicast-table", &kStringList},
                                         Member{"multicast-table", &kStringList}};
constexpr Type kRxFilterInfo = object_of("RxFilterInfo", kRxFilterMembers);

}  // namespace

constinit const Type kVersionInfo = object_of("VersionInfo", kVersionInfoMembers);
constinit const Type kNameInfo = object_of("NameInfo", kNameInfoMembers);
constinit const Type kUuidInfo = object_of("UuidInfo", kUuidInfoMembers);
constinit const Type kKvmInfo = object_of("KvmInfo", kKvmInfoMembers);
constinit const Type kStatusInfo = object_of("StatusInfo", kStatusInfoMembers);
constinit const Type kCpuInfoList = array_of(kCpuInfo);
constinit const Type kNamedList = array_of(kNamed);
constinit const Type kBlockInfoList = array_of(kBlockInfo);
constinit const Type kBlockDeviceInfoList = array_of(kBlockDeviceInfo);
constinit const Type kBlockStatsList = array_of(kBlockStats);
constinit const Type kChardevInfoList = array_of(kChardevInfo);
constinit const Type kPciInfoList = array_of(kPciInfo);
constinit const Type kRxFilterInfoList = array_of(kRxFilterInfo);
constinit const Type kSchemaInfoList = array_of(kSchemaInfo);
constinit const Type kJobType = enum_of("JobType", kJobTypes);
constinit const Type kJobStatus = enum_of("JobStatus", kJobStatuses);
constinit const Type kBlockJobInfoList = array_of(kBlockJobInfo);
constinit const Type kJobInfoList = array_of(kJobInfo);
constinit const Type kStatisticsInfo = object_of("VmmStats", kStatisticsMembers);
constinit const Type kThrowawayInfo = object_of("ThrowawayInfo", kThrowawayInfoMembers);

}  // namespace vmm::control
