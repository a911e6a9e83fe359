#include "block/engine/engine.h"

#include <atomic>
#include <map>
#include <utility>

#include "block/engine/thread_engine.h"
#include "block/engine/uring_engine.h"
#include "vmm/base/log.h"
#include "vmm/base/thread_annotations.h"

namespace vmm::block {
namespace {

// Which loop has which engine. Loops are made and ended by several threads; looked at when a disk is opened.
class LoopEngines {
 public:
  std::shared_ptr<Engine> find(const EventLoop& loop, EngineKind kind) VMM_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    std::erase_if(engines_, [](const auto& item) { return item.second.expired(); });
    const auto found = engines_.find({&loop, kind});
    return found == engines_.end() ? nullptr : found->second.lock();
  }

  void add(const EventLoop& loop, const std::shared_ptr<Engine>& engine) VMM_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    engines_[{&loop, engine->kind()}] = engine;
  }

 private:
  Mutex mutex_;
  std::map<std::pair<const EventLoop*, EngineKind>, std::weak_ptr<Engine>> engines_ VMM_GUARDED_BY(mutex_);
};

LoopEngines& loop_engines() {
  static LoopEngines engines;
  return engines;
}

void warn_once(const Error& error) {
  static std::atomic_flag has_warned;
  if (!has_warned.test_and_set()) {
    log::warning("{}; disks use threads instead, which is slower", error.message());
  }
}

Result<std::shared_ptr<Engine>> make(EventLoop& loop, EngineKind kind) {
  if (kind == EngineKind::kIoUring) {
    return UringEngine::create(loop);
  }
  return ThreadEngine::create(loop);
}

}  // namespace

Result<std::shared_ptr<Engine>> Engine::for_loop(EventLoop& loop, EngineKind kind) {
  if (auto found = loop_engines().find(loop, kind)) {
    return found;
  }
  auto engine = make(loop, kind);
  if (!engine && kind == EngineKind::kIoUring) {
    warn_once(engine.error());
    return for_loop(loop, EngineKind::kThreads);
  }
  if (engine) {
    loop_engines().add(loop, *engine);
  }
  return engine;
}

}  // namespace vmm::block
