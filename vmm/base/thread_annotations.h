// Clang's thread-safety analysis (-Wthread-safety), and a mutex that it understands. Every mutex here is a
// leaf: nothing of another object is called while it is held.
#pragma once

#include <mutex>

#if defined(__clang__)
#define VMM_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define VMM_THREAD_ATTRIBUTE(x)
#endif

#define VMM_CAPABILITY(x) VMM_THREAD_ATTRIBUTE(capability(x))
#define VMM_SCOPED_CAPABILITY VMM_THREAD_ATTRIBUTE(scoped_lockable)
#define VMM_GUARDED_BY(x) VMM_THREAD_ATTRIBUTE(guarded_by(x))
#define VMM_REQUIRES(...) VMM_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define VMM_EXCLUDES(...) VMM_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define VMM_ACQUIRE(...) VMM_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define VMM_RELEASE(...) VMM_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))

namespace vmm {

class VMM_CAPABILITY("mutex") Mutex {
 public:
  void lock() VMM_ACQUIRE() { mutex_.lock(); }
  void unlock() VMM_RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class VMM_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) VMM_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() VMM_RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace vmm
