#include "vmm/kvm/cpu_features.h"

#include <algorithm>
#include <array>

namespace vmm {
namespace {

using enum CpuidRegister;

constexpr CpuFeatureBit kFeatures[] = {
    {"arat", 0x6, 0, kEax, 2},
    {"null-sel-clr-base", 0x80000021, 0, kEax, 6},
    {"auto-ibrs", 0x80000021, 0, kEax, 8},
    {"vnmi", 0x8000000a, 0, kEdx, 25},
    {"svme-addr-chk", 0x8000000a, 0, kEdx, 28},
    {"fpu", 0x1, 0, kEdx, 0},
    {"vme", 0x1, 0, kEdx, 1},
    {"de", 0x1, 0, kEdx, 2},
    {"pse", 0x1, 0, kEdx, 3},
    {"tsc", 0x1, 0, kEdx, 4},
    {"msr", 0x1, 0, kEdx, 5},
    {"pae", 0x1, 0, kEdx, 6},
    {"mce", 0x1, 0, kEdx, 7},
    {"cx8", 0x1, 0, kEdx, 8},
    {"apic", 0x1, 0, kEdx, 9},
    {"sep", 0x1, 0, kEdx, 11},
    {"mtrr", 0x1, 0, kEdx, 12},
    {"pge", 0x1, 0, kEdx, 13},
    {"mca", 0x1, 0, kEdx, 14},
    {"cmov", 0x1, 0, kEdx, 15},
    {"pat", 0x1, 0, kEdx, 16},
    {"pse36", 0x1, 0, kEdx, 17},
    {"clflush", 0x1, 0, kEdx, 19},
    {"ds", 0x1, 0, kEdx, 21},
    {"acpi", 0x1, 0, kEdx, 22},
    {"mmx", 0x1, 0, kEdx, 23},
    {"fxsr", 0x1, 0, kEdx, 24},
    {"sse", 0x1, 0, kEdx, 25},
    {"sse2", 0x1, 0, kEdx, 26},
    {"ss", 0x1, 0, kEdx, 27},
    {"ht", 0x1, 0, kEdx, 28},
    {"tm", 0x1, 0, kEdx, 29},
    {"pbe", 0x1, 0, kEdx, 31},
    {"pni", 0x1, 0, kEcx, 0},
    {"pclmuldq", 0x1, 0, kEcx, 1},
    {"dtes64", 0x1, 0, kEcx, 2},
    {"monitor", 0x1, 0, kEcx, 3},
    {"ds_cpl", 0x1, 0, kEcx, 4},
    {"vmx", 0x1, 0, kEcx, 5},
    {"smx", 0x1, 0, kEcx, 6},
    {"est", 0x1, 0, kEcx, 7},
    {"tm2", 0x1, 0, kEcx, 8},
    {"ssse3", 0x1, 0, kEcx, 9},
    {"fma", 0x1, 0, kEcx, 12},
    {"cx16", 0x1, 0, kEcx, 13},
    {"xtpr", 0x1, 0, kEcx, 14},
    {"pdcm", 0x1, 0, kEcx, 15},
    {"pcid", 0x1, 0, kEcx, 17},
    {"dca", 0x1, 0, kEcx, 18},
    {"sse4.1", 0x1, 0, kEcx, 19},
    {"sse4.2", 0x1, 0, kEcx, 20},
    {"x2apic", 0x1, 0, kEcx, 21},
    {"movbe", 0x1, 0, kEcx, 22},
    {"popcnt", 0x1, 0, kEcx, 23},
    {"tsc-deadline", 0x1, 0, kEcx, 24},
    {"aes", 0x1, 0, kEcx, 25},
    {"xsave", 0x1, 0, kEcx, 26},
    {"osxsave", 0x1, 0, kEcx, 27},
    {"avx", 0x1, 0, kEcx, 28},
    {"f16c", 0x1, 0, kEcx, 29},
    {"rdrand", 0x1, 0, kEcx, 30},
    {"hypervisor", 0x1, 0, kEcx, 31},
    {"fsgsbase", 0x7, 0, kEbx, 0},
    {"tsc_adjust", 0x7, 0, kEbx, 1},
    {"sgx", 0x7, 0, kEbx, 2},
    {"bmi1", 0x7, 0, kEbx, 3},
    {"hle", 0x7, 0, kEbx, 4},
    {"avx2", 0x7, 0, kEbx, 5},
    {"smep", 0x7, 0, kEbx, 7},
    {"bmi2", 0x7, 0, kEbx, 8},
    {"erms", 0x7, 0, kEbx, 9},
    {"invpcid", 0x7, 0, kEbx, 10},
    {"rtm", 0x7, 0, kEbx, 11},
    {"cmt", 0x7, 0, kEbx, 12},
    {"mpx", 0x7, 0, kEbx, 14},
    {"rdt_a", 0x7, 0, kEbx, 15},
    {"avx512f", 0x7, 0, kEbx, 16},
    {"avx512dq", 0x7, 0, kEbx, 17},
    {"rdseed", 0x7, 0, kEbx, 18},
    {"adx", 0x7, 0, kEbx, 19},
    {"smap", 0x7, 0, kEbx, 20},
    {"avx512ifma", 0x7, 0, kEbx, 21},
    {"clflushopt", 0x7, 0, kEbx, 23},
    {"clwb", 0x7, 0, kEbx, 24},
    {"intel-pt", 0x7, 0, kEbx, 25},
    {"avx512pf", 0x7, 0, kEbx, 26},
    {"avx512er", 0x7, 0, kEbx, 27},
    {"avx512cd", 0x7, 0, kEbx, 28},
    {"sha-ni", 0x7, 0, kEbx, 29},
    {"avx512bw", 0x7, 0, kEbx, 30},
    {"avx512vl", 0x7, 0, kEbx, 31},
    {"prefetchwt1", 0x7, 0, kEcx, 0},
    {"avx512vbmi", 0x7, 0, kEcx, 1},
    {"umip", 0x7, 0, kEcx, 2},
    {"pku", 0x7, 0, kEcx, 3},
    {"ospke", 0x7, 0, kEcx, 4},
    {"waitpkg", 0x7, 0, kEcx, 5},
    {"avx512vbmi2", 0x7, 0, kEcx, 6},
    {"gfni", 0x7, 0, kEcx, 8},
    {"vaes", 0x7, 0, kEcx, 9},
    {"vpclmulqdq", 0x7, 0, kEcx, 10},
    {"avx512vnni", 0x7, 0, kEcx, 11},
    {"avx512bitalg", 0x7, 0, kEcx, 12},
    {"avx512-vpopcntdq", 0x7, 0, kEcx, 14},
    {"la57", 0x7, 0, kEcx, 16},
    {"rdpid", 0x7, 0, kEcx, 22},
    {"bus-lock-detect", 0x7, 0, kEcx, 24},
    {"cldemote", 0x7, 0, kEcx, 25},
    {"movdiri", 0x7, 0, kEcx, 27},
    {"movdir64b", 0x7, 0, kEcx, 28},
    {"pks", 0x7, 0, kEcx, 31},
    {"avx512-4vnniw", 0x7, 0, kEdx, 2},
    {"avx512-4fmaps", 0x7, 0, kEdx, 3},
    {"fsrm", 0x7, 0, kEdx, 4},
    {"avx512-vp2intersect", 0x7, 0, kEdx, 8},
    {"md-clear", 0x7, 0, kEdx, 10},
    {"serialize", 0x7, 0, kEdx, 14},
    {"tsx-ldtrk", 0x7, 0, kEdx, 16},
    {"amx-bf16", 0x7, 0, kEdx, 22},
    {"avx512-fp16", 0x7, 0, kEdx, 23},
    {"amx-tile", 0x7, 0, kEdx, 24},
    {"amx-int8", 0x7, 0, kEdx, 25},
    {"spec-ctrl", 0x7, 0, kEdx, 26},
    {"stibp", 0x7, 0, kEdx, 27},
    {"flush-l1d", 0x7, 0, kEdx, 28},
    {"arch-capabilities", 0x7, 0, kEdx, 29},
    {"core-capability", 0x7, 0, kEdx, 30},
    {"ssbd", 0x7, 0, kEdx, 31},
    {"avx-vnni", 0x7, 1, kEax, 4},
    {"avx512-bf16", 0x7, 1, kEax, 5},
    {"fzrm", 0x7, 1, kEax, 10},
    {"fsrs", 0x7, 1, kEax, 11},
    {"fsrc", 0x7, 1, kEax, 12},
    {"amx-fp16", 0x7, 1, kEax, 21},
    {"avx-ifma", 0x7, 1, kEax, 23},
    {"xsaveopt", 0xd, 1, kEax, 0},
    {"xsavec", 0xd, 1, kEax, 1},
    {"xgetbv1", 0xd, 1, kEax, 2},
    {"xsaves", 0xd, 1, kEax, 3},
    {"kvmclock", 0x40000001, 0, kEax, 3},
    {"kvm_nopiodelay", 0x40000001, 0, kEax, 1},
    {"kvm_asyncpf", 0x40000001, 0, kEax, 4},
    {"kvm_steal_time", 0x40000001, 0, kEax, 5},
    {"kvm_pv_eoi", 0x40000001, 0, kEax, 6},
    {"kvm_pv_unhalt", 0x40000001, 0, kEax, 7},
    {"syscall", 0x80000001, 0, kEdx, 11},
    {"nx", 0x80000001, 0, kEdx, 20},
    {"mmxext", 0x80000001, 0, kEdx, 22},
    {"fxsr_opt", 0x80000001, 0, kEdx, 25},
    {"pdpe1gb", 0x80000001, 0, kEdx, 26},
    {"rdtscp", 0x80000001, 0, kEdx, 27},
    {"lm", 0x80000001, 0, kEdx, 29},
    {"3dnowext", 0x80000001, 0, kEdx, 30},
    {"3dnow", 0x80000001, 0, kEdx, 31},
    {"lahf_lm", 0x80000001, 0, kEcx, 0},
    {"cmp_legacy", 0x80000001, 0, kEcx, 1},
    {"svm", 0x80000001, 0, kEcx, 2},
    {"extapic", 0x80000001, 0, kEcx, 3},
    {"cr8legacy", 0x80000001, 0, kEcx, 4},
    {"abm", 0x80000001, 0, kEcx, 5},
    {"sse4a", 0x80000001, 0, kEcx, 6},
    {"misalignsse", 0x80000001, 0, kEcx, 7},
    {"3dnowprefetch", 0x80000001, 0, kEcx, 8},
    {"osvw", 0x80000001, 0, kEcx, 9},
    {"ibs", 0x80000001, 0, kEcx, 10},
    {"xop", 0x80000001, 0, kEcx, 11},
    {"skinit", 0x80000001, 0, kEcx, 12},
    {"wdt", 0x80000001, 0, kEcx, 13},
    {"lwp", 0x80000001, 0, kEcx, 15},
    {"fma4", 0x80000001, 0, kEcx, 16},
    {"tce", 0x80000001, 0, kEcx, 17},
    {"nodeid_msr", 0x80000001, 0, kEcx, 19},
    {"tbm", 0x80000001, 0, kEcx, 21},
    {"topoext", 0x80000001, 0, kEcx, 22},
    {"perfctr_core", 0x80000001, 0, kEcx, 23},
    {"perfctr_nb", 0x80000001, 0, kEcx, 24},
    {"invtsc", 0x80000007, 0, kEdx, 8},
    {"clzero", 0x80000008, 0, kEbx, 0},
    {"xsaveerptr", 0x80000008, 0, kEbx, 2},
    {"wbnoinvd", 0x80000008, 0, kEbx, 9},
    {"ibpb", 0x80000008, 0, kEbx, 12},
    {"ibrs", 0x80000008, 0, kEbx, 14},
    {"amd-stibp", 0x80000008, 0, kEbx, 15},
    {"stibp-always-on", 0x80000008, 0, kEbx, 17},
    {"amd-ssbd", 0x80000008, 0, kEbx, 24},
    {"virt-ssbd", 0x80000008, 0, kEbx, 25},
    {"amd-no-ssb", 0x80000008, 0, kEbx, 26},
    {"amd-psfd", 0x80000008, 0, kEbx, 28},
    {"npt", 0x8000000a, 0, kEdx, 0},
    {"lbrv", 0x8000000a, 0, kEdx, 1},
    {"svm-lock", 0x8000000a, 0, kEdx, 2},
    {"nrip-save", 0x8000000a, 0, kEdx, 3},
    {"tsc-scale", 0x8000000a, 0, kEdx, 4},
    {"vmcb-clean", 0x8000000a, 0, kEdx, 5},
    {"flushbyasid", 0x8000000a, 0, kEdx, 6},
    {"decodeassists", 0x8000000a, 0, kEdx, 7},
    {"pause-filter", 0x8000000a, 0, kEdx, 10},
    {"pfthreshold", 0x8000000a, 0, kEdx, 12},
};

constexpr std::string_view kNeedXsave[] = {"avx",
                                           "xsaveopt",
                                           "xsavec",
                                           "xgetbv1",
                                           "xsaves",
                                           "pku",
                                           "mpx",
                                           "amx-tile",
                                           "amx-int8",
                                           "amx-bf16",
                                           "amx-fp16",
                                           "xsaveerptr",
                                           "lwp",
                                           "avx2",
                                           "fma",
                                           "f16c",
                                           "fma4",
                                           "xop",
                                           "vaes",
                                           "vpclmulqdq",
                                           "avx-vnni",
                                           "avx-ifma",
                                           "avx512f",
                                           "avx512dq",
                                           "avx512ifma",
                                           "avx512pf",
                                           "avx512er",
                                           "avx512cd",
                                           "avx512bw",
                                           "avx512vl",
                                           "avx512vbmi",
                                           "avx512vbmi2",
                                           "avx512vnni",
                                           "avx512bitalg",
                                           "avx512-vpopcntdq",
                                           "avx512-4vnniw",
                                           "avx512-4fmaps",
                                           "avx512-vp2intersect",
                                           "avx512-fp16",
                                           "avx512-bf16"};
constexpr std::string_view kNeedAvx[] = {"avx2",
                                         "fma",
                                         "f16c",
                                         "fma4",
                                         "xop",
                                         "vaes",
                                         "vpclmulqdq",
                                         "avx-vnni",
                                         "avx-ifma",
                                         "avx512f",
                                         "avx512dq",
                                         "avx512ifma",
                                         "avx512pf",
                                         "avx512er",
                                         "avx512cd",
                                         "avx512bw",
                                         "avx512vl",
                                         "avx512vbmi",
                                         "avx512vbmi2",
                                         "avx512vnni",
                                         "avx512bitalg",
                                         "avx512-vpopcntdq",
                                         "avx512-4vnniw",
                                         "avx512-4fmaps",
                                         "avx512-vp2intersect",
                                         "avx512-fp16",
                                         "avx512-bf16"};
constexpr std::string_view kNeedAvx2[] = {
    "avx512f",          "avx512dq",      "avx512ifma",    "avx512pf",
    "avx512er",         "avx512cd",      "avx512bw",      "avx512vl",
    "avx512vbmi",       "avx512vbmi2",   "avx512vnni",    "avx512bitalg",
    "avx512-vpopcntdq", "avx512-4vnniw", "avx512-4fmaps", "avx512-vp2intersect",
    "avx512-fp16",      "avx512-bf16"};
constexpr std::string_view kNeedAvx512f[] = {
    "avx512dq",     "avx512ifma",       "avx512pf",      "avx512er",      "avx512cd",
    "avx512bw",     "avx512vl",         "avx512vbmi",    "avx512vbmi2",   "avx512vnni",
    "avx512bitalg", "avx512-vpopcntdq", "avx512-4vnniw", "avx512-4fmaps", "avx512-vp2intersect",
    "avx512-fp16",  "avx512-bf16"};
constexpr std::string_view kNeedSvm[] = {"npt",          "lbrv",        "svm-lock",    "nrip-save",
                                         "tsc-scale",    "vmcb-clean",  "flushbyasid", "decodeassists",
                                         "pause-filter", "pfthreshold", "skinit"};

struct Model {
  std::string_view name;
  std::string_view features;  // separated by spaces
};

constexpr Model kModels[] = {
    {"kvm64",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm cx16"},
    {"qemu64",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm cx16 lahf_lm svm abm sse4a"},
    {"x86-64-v1",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm"},
    {"x86-64-v2",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm cx16 lahf_lm popcnt ssse3 sse4.1 sse4.2"},
    {"x86-64-v3",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm cx16 lahf_lm popcnt ssse3 sse4.1 sse4.2 xsave avx avx2 bmi1 bmi2 f16c fma abm "
     "movbe"},
    {"x86-64-v4",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm cx16 lahf_lm popcnt ssse3 sse4.1 sse4.2 xsave avx avx2 bmi1 bmi2 f16c fma abm "
     "movbe avx512f avx512bw avx512cd avx512dq avx512vl"},
    {"Conroe",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3"},
    {"Penryn",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3 cx16 sse4.1"},
    {"Nehalem",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3 cx16 sse4.1 popcnt sse4.2"},
    {"Westmere",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3 cx16 sse4.1 popcnt sse4.2 aes pclmuldq"},
    {"SandyBridge",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3 cx16 sse4.1 popcnt sse4.2 aes pclmuldq xsave avx "
     "tsc-deadline x2apic rdtscp xsaveopt"},
    {"IvyBridge",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3 cx16 sse4.1 popcnt sse4.2 aes pclmuldq xsave avx "
     "tsc-deadline x2apic rdtscp xsaveopt erms f16c fsgsbase rdrand smep"},
    {"Haswell-noTSX",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3 cx16 sse4.1 popcnt sse4.2 aes pclmuldq xsave avx "
     "tsc-deadline x2apic rdtscp xsaveopt erms f16c fsgsbase rdrand smep avx2 bmi1 bmi2 fma invpcid "
     "movbe pcid abm"},
    {"Haswell",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3 cx16 sse4.1 popcnt sse4.2 aes pclmuldq xsave avx "
     "tsc-deadline x2apic rdtscp xsaveopt erms f16c fsgsbase rdrand smep avx2 bmi1 bmi2 fma invpcid "
     "movbe pcid abm hle rtm"},
    {"Broadwell-noTSX",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3 cx16 sse4.1 popcnt sse4.2 aes pclmuldq xsave avx "
     "tsc-deadline x2apic rdtscp xsaveopt erms f16c fsgsbase rdrand smep avx2 bmi1 bmi2 fma invpcid "
     "movbe pcid abm 3dnowprefetch adx rdseed smap"},
    {"Broadwell",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3 cx16 sse4.1 popcnt sse4.2 aes pclmuldq xsave avx "
     "tsc-deadline x2apic rdtscp xsaveopt erms f16c fsgsbase rdrand smep avx2 bmi1 bmi2 fma invpcid "
     "movbe pcid abm 3dnowprefetch adx rdseed smap hle rtm"},
    {"Skylake-Client-noTSX-IBRS",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3 cx16 sse4.1 popcnt sse4.2 aes pclmuldq xsave avx "
     "tsc-deadline x2apic rdtscp xsaveopt erms f16c fsgsbase rdrand smep avx2 bmi1 bmi2 fma invpcid "
     "movbe pcid abm 3dnowprefetch adx rdseed smap xgetbv1 xsavec spec-ctrl"},
    {"Skylake-Client",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3 cx16 sse4.1 popcnt sse4.2 aes pclmuldq xsave avx "
     "tsc-deadline x2apic rdtscp xsaveopt erms f16c fsgsbase rdrand smep avx2 bmi1 bmi2 fma invpcid "
     "movbe pcid abm 3dnowprefetch adx rdseed smap hle rtm xgetbv1 xsavec"},
    {"Skylake-Server-noTSX-IBRS",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3 cx16 sse4.1 popcnt sse4.2 aes pclmuldq xsave avx "
     "tsc-deadline x2apic rdtscp xsaveopt erms f16c fsgsbase rdrand smep avx2 bmi1 bmi2 fma invpcid "
     "movbe pcid abm 3dnowprefetch adx rdseed smap xgetbv1 xsavec spec-ctrl avx512bw avx512cd "
     "avx512dq avx512f avx512vl clwb pdpe1gb"},
    {"Skylake-Server",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3 cx16 sse4.1 popcnt sse4.2 aes pclmuldq xsave avx "
     "tsc-deadline x2apic rdtscp xsaveopt erms f16c fsgsbase rdrand smep avx2 bmi1 bmi2 fma invpcid "
     "movbe pcid abm 3dnowprefetch adx rdseed smap hle rtm xgetbv1 xsavec avx512bw avx512cd avx512dq "
     "avx512f avx512vl clwb pdpe1gb"},
    {"Cascadelake-Server-noTSX",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3 cx16 sse4.1 popcnt sse4.2 aes pclmuldq xsave avx "
     "tsc-deadline x2apic rdtscp xsaveopt erms f16c fsgsbase rdrand smep avx2 bmi1 bmi2 fma invpcid "
     "movbe pcid abm 3dnowprefetch adx rdseed smap xgetbv1 xsavec spec-ctrl avx512bw avx512cd "
     "avx512dq avx512f avx512vl clwb pdpe1gb avx512vnni clflushopt pku ssbd"},
    {"Icelake-Server-noTSX",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme lahf_lm ssse3 cx16 sse4.1 popcnt sse4.2 aes pclmuldq xsave avx "
     "tsc-deadline x2apic rdtscp xsaveopt erms f16c fsgsbase rdrand smep avx2 bmi1 bmi2 fma invpcid "
     "movbe pcid abm 3dnowprefetch adx rdseed smap xgetbv1 xsavec spec-ctrl avx512bw avx512cd "
     "avx512dq avx512f avx512vl clwb pdpe1gb avx512vnni clflushopt pku ssbd avx512bitalg avx512ifma "
     "avx512vbmi avx512vbmi2 avx512-vpopcntdq gfni la57 sha-ni umip vaes vpclmulqdq wbnoinvd"},
    {"Opteron_G3",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme abm cx16 lahf_lm misalignsse popcnt rdtscp sse4a"},
    {"EPYC",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme abm adx aes avx avx2 bmi1 bmi2 clflushopt cr8legacy cx16 f16c fma "
     "fsgsbase fxsr_opt lahf_lm misalignsse mmxext movbe 3dnowprefetch osvw pclmuldq pdpe1gb popcnt "
     "rdrand rdseed rdtscp sha-ni smap smep sse4.1 sse4.2 sse4a ssse3 xgetbv1 xsave xsavec xsaveopt"},
    {"EPYC-Rome",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme abm adx aes avx avx2 bmi1 bmi2 clflushopt cr8legacy cx16 f16c fma "
     "fsgsbase fxsr_opt lahf_lm misalignsse mmxext movbe 3dnowprefetch osvw pclmuldq pdpe1gb popcnt "
     "rdrand rdseed rdtscp sha-ni smap smep sse4.1 sse4.2 sse4a ssse3 xgetbv1 xsave xsavec xsaveopt "
     "clwb clzero rdpid umip wbnoinvd xsaveerptr ibpb amd-stibp"},
    {"EPYC-Milan",
     "apic clflush cmov cx8 de fpu fxsr mca mce mmx msr mtrr pae pat pge pni pse pse36 sep sse sse2 "
     "tsc nx syscall lm vme abm adx aes avx avx2 bmi1 bmi2 clflushopt cr8legacy cx16 f16c fma "
     "fsgsbase fxsr_opt lahf_lm misalignsse mmxext movbe 3dnowprefetch osvw pclmuldq pdpe1gb popcnt "
     "rdrand rdseed rdtscp sha-ni smap smep sse4.1 sse4.2 sse4a ssse3 xgetbv1 xsave xsavec xsaveopt "
     "clwb clzero rdpid umip wbnoinvd xsaveerptr ibpb amd-stibp fsrm invpcid pcid pku vaes vpclmulqdq "
     "ibrs amd-ssbd erms"},
};

// Models that are others and a little more.
struct Variant {
  std::string_view name;
  std::string_view base;
  std::string_view added;
};

constexpr Variant kVariants[] = {
    {"Nehalem-IBRS", "Nehalem", "spec-ctrl"},
    {"Westmere-IBRS", "Westmere", "spec-ctrl"},
    {"SandyBridge-IBRS", "SandyBridge", "spec-ctrl"},
    {"IvyBridge-IBRS", "IvyBridge", "spec-ctrl"},
    {"Haswell-noTSX-IBRS", "Haswell-noTSX", "spec-ctrl"},
    {"Haswell-IBRS", "Haswell", "spec-ctrl"},
    {"Broadwell-noTSX-IBRS", "Broadwell-noTSX", "spec-ctrl"},
    {"Broadwell-IBRS", "Broadwell", "spec-ctrl"},
    {"Skylake-Client-IBRS", "Skylake-Client", "spec-ctrl"},
    {"Skylake-Server-IBRS", "Skylake-Server", "spec-ctrl"},
    {"Cascadelake-Server", "Cascadelake-Server-noTSX", "hle rtm"},
    {"Icelake-Server", "Icelake-Server-noTSX", "hle rtm"},
    {"EPYC-IBPB", "EPYC", "ibpb"},
};

void add_words(std::string_view words, std::vector<std::string_view>& names) {
  while (!words.empty()) {
    const size_t end = std::min(words.find(' '), words.size());
    names.push_back(words.substr(0, end));
    words.remove_prefix(std::min(end + 1, words.size()));
  }
}

}  // namespace

std::span<const CpuFeatureBit> cpu_features() { return kFeatures; }

const CpuFeatureBit* find_cpu_feature(std::string_view name) {
  // libvirt's names, and those of /proc/cpuinfo and others where they differ.
  constexpr std::pair<std::string_view, std::string_view> kAliases[] = {
      {"sse3", "pni"},
      {"pclmulqdq", "pclmuldq"},
      {"sse4_1", "sse4.1"},
      {"sse4_2", "sse4.2"},
      {"sha_ni", "sha-ni"},
      {"lzcnt", "abm"},
      {"tsc_deadline_timer", "tsc-deadline"},
      {"tsc-adjust", "tsc_adjust"},
  };
  for (const auto& [alias, canonical] : kAliases) {
    if (name == alias) {
      name = canonical;
    }
  }
  const auto* place = std::ranges::find(kFeatures, name, &CpuFeatureBit::name);
  return place == std::end(kFeatures) ? nullptr : place;
}

bool is_left_to_kvm(std::string_view name) {
  constexpr std::string_view kNames[] = {"rdctl-no",
                                         "ibrs-all",
                                         "rsba",
                                         "rrsba",
                                         "skip-l1dfl-vmentry",
                                         "ssb-no",
                                         "mds-no",
                                         "taa-no",
                                         "tsx-ctrl",
                                         "fb-clear",
                                         "pschange-mc-no",
                                         "sbdr-ssdp-no",
                                         "fbsdp-no",
                                         "psdp-no",
                                         "bhi-no",
                                         "pbrsb-no",
                                         "gds-no",
                                         "rfds-no",
                                         "rfds-clear",
                                         "xapic-disable",
                                         "mcdt-no",
                                         "split-lock-detect",
                                         "core-capability"};
  return name.starts_with("vmx-") || std::ranges::find(kNames, name) != std::end(kNames);
}

std::span<const std::string_view> features_needing(std::string_view name) {
  if (name == "xsave") {
    return kNeedXsave;
  }
  if (name == "avx") {
    return kNeedAvx;
  }
  if (name == "avx2") {
    return kNeedAvx2;
  }
  if (name == "avx512f") {
    return kNeedAvx512f;
  }
  if (name == "svm") {
    return kNeedSvm;
  }
  return {};
}

std::optional<std::vector<std::string_view>> cpu_model_features(std::string_view model) {
  const auto* variant = std::ranges::find(kVariants, model, &Variant::name);
  const bool is_variant = variant != std::end(kVariants);
  const auto* place = std::ranges::find(kModels, is_variant ? variant->base : model, &Model::name);
  if (place == std::end(kModels)) {
    return std::nullopt;
  }
  std::vector<std::string_view> names;
  add_words(place->features, names);
  if (is_variant) {
    add_words(variant->added, names);
  }
  return names;
}

std::vector<std::string_view> cpu_model_names() {
  std::vector<std::string_view> names;
  for (const Model& model : kModels) {
    names.push_back(model.name);
  }
  for (const Variant& variant : kVariants) {
    names.push_back(variant.name);
  }
  return names;
}

}  // namespace vmm
