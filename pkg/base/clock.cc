#include "pkg/base/clock.h"

#include <condition_variable>
#include <cstdio>
#include <ctime>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>

namespace kcube {
namespace {

// Timers in order of deadline, then of scheduling. Not thread-safe.
class TimerQueue {
 public:
  TimerId add(SteadyTime when, std::function<void()> action) {
    TimerId id = ++last_id_;
    by_time_.emplace(std::pair{when, id}, std::move(action));
    when_.emplace(id, when);
    return id;
  }
  bool remove(TimerId id) {
    auto it = when_.find(id);
    if (it == when_.end()) return false;
    by_time_.erase({it->second, id});
    when_.erase(it);
    return true;
  }
  bool empty() const { return by_time_.empty(); }
  SteadyTime next() const { return by_time_.begin()->first.first; }
  std::function<void()> pop() {
    auto it = by_time_.begin();
    when_.erase(it->first.second);
    auto action = std::move(it->second);
    by_time_.erase(it);
    return action;
  }

 private:
  TimerId last_id_ = 0;
  std::map<std::pair<SteadyTime, TimerId>, std::function<void()>> by_time_;
  std::unordered_map<TimerId, SteadyTime> when_;
};

}  // namespace

struct RealClock::Impl {
  std::mutex mutex;
  std::condition_variable changed;
  TimerQueue queue;
  bool stopping = false;
  std::thread thread;

  void run() {
    std::unique_lock lock(mutex);
    while (!stopping) {
      if (queue.empty()) {
        changed.wait(lock);
      } else if (auto next = queue.next(); next > std::chrono::steady_clock::now()) {
        changed.wait_until(lock, next);
      } else {
        auto action = queue.pop();
        lock.unlock();
        action();
        action = nullptr;
        lock.lock();
      }
    }
  }
};

RealClock::RealClock() : impl_(std::make_unique<Impl>()) {
  impl_->thread = std::thread([this] { impl_->run(); });
}

RealClock::~RealClock() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->changed.notify_all();
  impl_->thread.join();
}

SystemTime RealClock::now() const { return std::chrono::system_clock::now(); }
SteadyTime RealClock::steady_now() const { return std::chrono::steady_clock::now(); }

TimerId RealClock::schedule(Duration delay, std::function<void()> action) {
  auto when = steady_now() + delay;
  TimerId id;
  bool first;
  {
    std::lock_guard lock(impl_->mutex);
    first = impl_->queue.empty() || when < impl_->queue.next();
    id = impl_->queue.add(when, std::move(action));
  }
  if (first) impl_->changed.notify_one();
  return id;
}

bool RealClock::cancel(TimerId id) {
  std::lock_guard lock(impl_->mutex);
  return impl_->queue.remove(id);
}

RealClock& RealClock::instance() {
  // Never destroyed: detached threads may still read the time while the process exits.
  static RealClock* clock = new RealClock();
  return *clock;
}

struct SimulatedClock::Impl {
  mutable std::mutex mutex;
  SystemTime system;
  SteadyTime steady{std::chrono::hours(1)};
  TimerQueue queue;
};

SimulatedClock::SimulatedClock(SystemTime start) : impl_(std::make_unique<Impl>()) { impl_->system = start; }
SimulatedClock::~SimulatedClock() = default;

SystemTime SimulatedClock::now() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->system;
}

SteadyTime SimulatedClock::steady_now() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->steady;
}

TimerId SimulatedClock::schedule(Duration delay, std::function<void()> action) {
  std::lock_guard lock(impl_->mutex);
  return impl_->queue.add(impl_->steady + delay, std::move(action));
}

bool SimulatedClock::cancel(TimerId id) {
  std::lock_guard lock(impl_->mutex);
  return impl_->queue.remove(id);
}

void SimulatedClock::advance(Duration by) {
  std::unique_lock lock(impl_->mutex);
  SteadyTime end = impl_->steady + by;
  while (!impl_->queue.empty() && impl_->queue.next() <= end) {
    SteadyTime next = impl_->queue.next();
    if (next > impl_->steady) {
      impl_->system += std::chrono::duration_cast<SystemTime::duration>(next - impl_->steady);
      impl_->steady = next;
    }
    auto action = impl_->queue.pop();
    lock.unlock();
    action();
    lock.lock();
  }
  impl_->system += std::chrono::duration_cast<SystemTime::duration>(end - impl_->steady);
  impl_->steady = end;
}

namespace {

CalendarTime calendar(SystemTime time) {
  auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch());
  auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  return {seconds.count(), static_cast<int32_t>((since - seconds).count())};
}

// Reads exactly `count` digits at `pos`.
bool digits(std::string_view text, size_t& pos, int count, int& value) {
  value = 0;
  for (int i = 0; i < count; ++i, ++pos) {
    if (pos >= text.size() || text[pos] < '0' || text[pos] > '9') return false;
    value = value * 10 + (text[pos] - '0');
  }
  return true;
}

bool literal(std::string_view text, size_t& pos, char c) {
  if (pos >= text.size() || text[pos] != c) return false;
  ++pos;
  return true;
}

}  // namespace

std::string format_calendar_time(CalendarTime time, int fraction) {
  std::time_t t = time.seconds;
  std::tm tm{};
  gmtime_r(&t, &tm);
  char text[96];
  int n = std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                        tm.tm_hour, tm.tm_min, tm.tm_sec);
  std::string out(text, n);
  if (fraction > 0) {
    std::snprintf(text, sizeof text, ".%09d", time.nanos);
    out.append(text, 1 + fraction);
  }
  out += 'Z';
  return out;
}

std::string format_time(SystemTime time) { return format_calendar_time(calendar(time), 0); }
std::string format_micro_time(SystemTime time) { return format_calendar_time(calendar(time), 6); }
std::string format_nano_time(SystemTime time) { return format_calendar_time(calendar(time), 9); }

bool parse_calendar_time(std::string_view text, CalendarTime& time) {
  size_t p = 0;
  int year, month, day, hour, minute, second;
  if (!digits(text, p, 4, year) || !literal(text, p, '-') || !digits(text, p, 2, month) || !literal(text, p, '-') ||
      !digits(text, p, 2, day) || p >= text.size() || (text[p] != 'T' && text[p] != 't'))
    return false;
  ++p;
  if (!digits(text, p, 2, hour) || !literal(text, p, ':') || !digits(text, p, 2, minute) || !literal(text, p, ':') ||
      !digits(text, p, 2, second))
    return false;
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 60) return false;
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  if (day > kDays[month - 1] + (month == 2 && leap ? 1 : 0)) return false;
  int64_t nanos = 0;
  if (p < text.size() && text[p] == '.') {
    ++p;
    int64_t scale = 100'000'000;
    size_t start = p;
    for (; p < text.size() && text[p] >= '0' && text[p] <= '9'; ++p, scale /= 10) nanos += (text[p] - '0') * scale;
    if (p == start) return false;
  }
  int offset_seconds = 0;
  if (p < text.size() && (text[p] == 'Z' || text[p] == 'z')) {
    ++p;
  } else if (p < text.size() && (text[p] == '+' || text[p] == '-')) {
    int sign = text[p++] == '-' ? -1 : 1, h, m;
    if (!digits(text, p, 2, h) || !literal(text, p, ':') || !digits(text, p, 2, m) || h > 23 || m > 59) return false;
    offset_seconds = sign * (h * 3600 + m * 60);
  } else {
    return false;
  }
  if (p != text.size()) return false;
  std::tm tm{};
  tm.tm_year = year - 1900;
  tm.tm_mon = month - 1;
  tm.tm_mday = day;
  tm.tm_hour = hour;
  tm.tm_min = minute;
  tm.tm_sec = second;
  time = {timegm(&tm) - offset_seconds, static_cast<int32_t>(nanos)};
  return true;
}

bool parse_time(std::string_view text, SystemTime& time) {
  CalendarTime t;
  if (!parse_calendar_time(text, t)) return false;
  constexpr int64_t kFirst = std::chrono::ceil<std::chrono::seconds>(SystemTime::min().time_since_epoch()).count();
  constexpr int64_t kLast = std::chrono::floor<std::chrono::seconds>(SystemTime::max().time_since_epoch()).count() - 1;
  if (t.seconds < kFirst) time = SystemTime::min();
  else if (t.seconds > kLast) time = SystemTime::max();
  else time = SystemTime(std::chrono::seconds(t.seconds) + std::chrono::duration_cast<SystemTime::duration>(std::chrono::nanoseconds(t.nanos)));
  return true;
}

}  // namespace kcube
