#include <pthread.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "vmm/machine/machine.h"

namespace vmm {
namespace {

constexpr uint64_t kNanosecondsInSecond = 1'000'000'000;

// 0: there is no such clock.
uint64_t cpu_time_ns(clockid_t clock) {
  timespec time{};
  return ::clock_gettime(clock, &time) == 0
             ? static_cast<uint64_t>(time.tv_sec) * kNanosecondsInSecond + static_cast<uint64_t>(time.tv_nsec)
             : 0;
}

uint64_t cpu_time_of_thread_ns(pthread_t thread) {
  clockid_t clock{};
  return ::pthread_getcpuclockid(thread, &clock) == 0 ? cpu_time_ns(clock) : 0;
}

// proc(5), /proc/[pid]/statm: the second number, in pages.
uint64_t resident_bytes() {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/self/statm", "re"),
                                                             std::fclose);
  unsigned long long size = 0;
  unsigned long long resident = 0;
  // NOLINTNEXTLINE(cert-err34-c): what does not fit is no size of memory
  if (file == nullptr || std::fscanf(file.get(), "%llu %llu", &size, &resident) != 2) {
    return 0;
  }
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

MachineStatistics Machine::statistics() const {
  MachineStatistics statistics;
  statistics.now_ns = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                                std::chrono::steady_clock::now().time_since_epoch())
                                                .count());
  statistics.process_cpu_ns = cpu_time_ns(CLOCK_PROCESS_CPUTIME_ID);
  statistics.resident_bytes = resident_bytes();
  statistics.memory_bytes = memory_.size_bytes();
  if (balloon_ != nullptr) {
    statistics.balloon_bytes = balloon_->given_back_bytes();
  }
  for (const auto& vcpu : vcpus_) {
    statistics.vcpus.push_back(
        {.cpu_ns = cpu_time_of_thread_ns(vcpu->handle()), .exits = vcpu->exits().values()});
  }
  return statistics;
}

}  // namespace vmm
