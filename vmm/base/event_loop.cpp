#include "vmm/base/event_loop.h"

#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "vmm/base/check.h"

namespace vmm {
namespace {

constexpr int kEventsPerTurn = 32;

itimerspec to_itimerspec(EventLoop::Duration delay) {
  // A zero it_value would disarm the timer.
  const auto ns = std::max<int64_t>(delay.count(), 1);
  itimerspec spec{};
  spec.it_value.tv_sec = ns / 1'000'000'000;
  spec.it_value.tv_nsec = ns % 1'000'000'000;
  return spec;
}

timespec to_timespec(EventLoop::Duration duration) {
  return {.tv_sec = duration.count() / 1'000'000'000, .tv_nsec = duration.count() % 1'000'000'000};
}

}  // namespace

EventLoop::Watch::Watch(Watch&& other) noexcept
    : loop_(std::exchange(other.loop_, nullptr)), entry_(std::move(other.entry_)) {}

EventLoop::Watch& EventLoop::Watch::operator=(Watch&& other) noexcept {
  if (this != &other) {
    reset();
    loop_ = std::exchange(other.loop_, nullptr);
    entry_ = std::move(other.entry_);
  }
  return *this;
}

void EventLoop::Watch::set_events(uint32_t events) {
  VMM_CHECK(entry_ != nullptr, "set_events on an empty Watch");
  entry_->events = events;
  if (entry_->is_with_sleeper) {
    loop_->sleeper_->remove_edge(*entry_);
    entry_->is_with_sleeper = false;
    VMM_CHECK(loop_->add_to_epoll(*entry_), "epoll does not take a descriptor back");
    return;
  }
  epoll_event event{};
  event.events = events;
  event.data.ptr = entry_.get();
  VMM_CHECK(::epoll_ctl(loop_->epoll_.get(), EPOLL_CTL_MOD, entry_->fd, &event) == 0,
            "epoll lost a descriptor");
}

void EventLoop::Watch::reset() {
  if (entry_ == nullptr) {
    return;
  }
  // The kernel may have handed out events for it in the present turn: the entry stays until that turn ends.
  entry_->is_live = false;
  if (entry_->is_with_sleeper) {
    loop_->sleeper_->remove_edge(*entry_);
  } else {
    loop_->remove_from_epoll(*entry_);
  }
  entry_.reset();
  std::exchange(loop_, nullptr)->has_dead_entries_ = true;
}

void EventLoop::Timer::arm(Duration delay) {
  const itimerspec spec = to_itimerspec(delay);
  VMM_CHECK(::timerfd_settime(fd_.get(), 0, &spec, nullptr) == 0, "timerfd_settime refused a valid time");
}

void EventLoop::Timer::disarm() {
  const itimerspec spec{};
  VMM_CHECK(::timerfd_settime(fd_.get(), 0, &spec, nullptr) == 0, "timerfd_settime refused to disarm");
}

EventLoop::EventLoop(UniqueFd epoll, EventFd wakeup) : epoll_(std::move(epoll)), wakeup_(std::move(wakeup)) {}

EventLoop::~EventLoop() = default;

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) {
    return fail("cannot create an epoll descriptor: {}", errno_text(errno));
  }
  VMM_ASSIGN_OR_RETURN(EventFd wakeup, EventFd::create());
  std::unique_ptr<EventLoop> loop(new EventLoop(std::move(epoll), std::move(wakeup)));
  EventLoop* raw = loop.get();
  VMM_ASSIGN_OR_RETURN(loop->wakeup_watch_,
                       loop->watch(loop->wakeup_.fd(), EPOLLIN, [raw](uint32_t) { raw->run_posted(); }));
  return loop;
}

Result<EventLoop::Watch> EventLoop::watch(int fd, uint32_t events, Handler handler) {
  auto entry = std::make_shared<Entry>();
  entry->fd = fd;
  entry->events = events;
  entry->handler = std::move(handler);
  if (!add_to_epoll(*entry)) {
    return fail("cannot watch a descriptor: {}", errno_text(errno));
  }
  if (sleeper_ != nullptr) {
    move_to_sleeper(*entry);
  }
  entries_.push_back(entry);
  return Watch(this, std::move(entry));
}

bool EventLoop::add_to_epoll(Entry& entry) {
  epoll_event event{};
  event.events = entry.events;
  event.data.ptr = &entry;
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, entry.fd, &event) == 0;
}

void EventLoop::remove_from_epoll(const Entry& entry) {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, entry.fd, nullptr);
}

void EventLoop::move_to_sleeper(Entry& entry) {
  if (entry.is_live && entry.events == (EPOLLIN | EPOLLET)) {
    remove_from_epoll(entry);
    entry.is_with_sleeper = true;
    sleeper_->add_edge(entry.fd, entry);
  }
}

Result<EventLoop::Timer> EventLoop::make_timer(Task on_due) {
  Timer timer;
  timer.fd_ = UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer.fd_) {
    return fail("cannot create a timer: {}", errno_text(errno));
  }
  const int fd = timer.fd_.get();
  VMM_ASSIGN_OR_RETURN(timer.watch_, watch(fd, EPOLLIN, [fd, task = std::move(on_due)](uint32_t) {
                         uint64_t expirations = 0;
                         if (::read(fd, &expirations, sizeof expirations) == sizeof expirations) {
                           task();
                         }
                       }));
  return timer;
}

void EventLoop::add_poller(Poller& poller) { pollers_.push_back(&poller); }

void EventLoop::remove_poller(Poller& poller) { std::erase(pollers_, &poller); }

void EventLoop::set_sleeper(Sleeper* sleeper) {
  VMM_CHECK(sleeper == nullptr || sleeper_ == nullptr, "a loop can sleep in one place only");
  for (const auto& entry : entries_) {
    if (sleeper_ != nullptr && entry->is_live && entry->is_with_sleeper) {
      sleeper_->remove_edge(*entry);
      entry->is_with_sleeper = false;
      VMM_CHECK(add_to_epoll(*entry), "epoll does not take a descriptor back");
    }
  }
  sleeper_ = sleeper;
  if (sleeper_ != nullptr) {
    for (const auto& entry : entries_) {
      move_to_sleeper(*entry);
    }
  }
}

void EventLoop::post(Task task) {
  {
    const MutexLock lock(posted_mutex_);
    posted_.push_back(std::move(task));
  }
  wakeup_.signal();
}

void EventLoop::run() {
  while (!stop_requested_.exchange(false)) {
    run_once(Duration(-1));
  }
}

void EventLoop::run_once(Duration timeout) {
  if (run_pollers()) {
    timeout = Duration(0);
  }
  if (sleeper_ == nullptr) {
    run_handlers(timeout);
  } else if (sleeper_->sleep(epoll_.get(), timeout)) {
    run_handlers(Duration(0));
  }
  if (has_dead_entries_) {
    has_dead_entries_ = false;
    std::erase_if(entries_, [](const auto& entry) { return !entry->is_live; });
  }
}

void EventLoop::run_handlers(Duration timeout) {
  std::array<epoll_event, kEventsPerTurn> events{};
  const timespec limit = to_timespec(timeout);
  const int count = ::epoll_pwait2(epoll_.get(), events.data(), kEventsPerTurn,
                                   timeout.count() < 0 ? nullptr : &limit, nullptr);
  VMM_CHECK(count >= 0 || errno == EINTR, "epoll_pwait2 failed");
  for (int i = 0; i < count; ++i) {
    auto* entry = static_cast<Entry*>(events[static_cast<size_t>(i)].data.ptr);
    if (entry->is_live) {
      entry->handler(events[static_cast<size_t>(i)].events);
    }
  }
}

void EventLoop::stop() {
  stop_requested_ = true;
  wakeup_.signal();
}

void EventLoop::run_posted() {
  wakeup_.drain();
  std::deque<Task> tasks;
  {
    const MutexLock lock(posted_mutex_);
    tasks.swap(posted_);
  }
  for (auto& task : tasks) {
    task();
  }
}

bool EventLoop::run_pollers() {
  bool did_something = false;
  // By index: a poller may add or remove pollers.
  for (size_t i = 0; i < pollers_.size(); ++i) {
    did_something |= pollers_[i]->poll();
  }
  return did_something;
}

}  // namespace vmm
