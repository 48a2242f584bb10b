// Clock: time and timers behind one interface, so that a test can own both.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace kcube {

using SystemTime = std::chrono::system_clock::time_point;
using SteadyTime = std::chrono::steady_clock::time_point;
using Duration = std::chrono::nanoseconds;

using TimerId = uint64_t;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual SystemTime now() const = 0;
  virtual SteadyTime steady_now() const = 0;

  // Runs `action` once after `delay` on the clock's own thread (RealClock) or inside advance() (SimulatedClock).
  // Actions must be short and must not block: hand work to an Executor. Any thread may call.
  virtual TimerId schedule(Duration delay, std::function<void()> action) = 0;
  // Forgets the timer; true when it had not run. When false the action may be running right now.
  virtual bool cancel(TimerId id) = 0;
};

// The machine's clock, with one timer thread that sleeps until the next deadline (no polling).
class RealClock final : public Clock {
 public:
  RealClock();
  ~RealClock() override;
  SystemTime now() const override;
  SteadyTime steady_now() const override;
  TimerId schedule(Duration delay, std::function<void()> action) override;
  bool cancel(TimerId id) override;

  // The process-wide clock.
  static RealClock& instance();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A clock that moves only when told to. advance() runs due timers in order on the calling thread.
class SimulatedClock final : public Clock {
 public:
  explicit SimulatedClock(SystemTime start = SystemTime(std::chrono::hours(24 * 365 * 50)));
  ~SimulatedClock() override;
  SystemTime now() const override;
  SteadyTime steady_now() const override;
  TimerId schedule(Duration delay, std::function<void()> action) override;
  bool cancel(TimerId id) override;
  void advance(Duration by);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// RFC 3339 in UTC, as the API writes times: "2026-01-02T15:04:05Z".
std::string format_time(SystemTime time);
// With microseconds, as metav1.MicroTime: "2026-01-02T15:04:05.123456Z".
std::string format_micro_time(SystemTime time);
// With nanoseconds, as CRI log lines have it.
std::string format_nano_time(SystemTime time);
// Reads any RFC 3339 time (fraction and offset allowed); false when malformed. A year that SystemTime cannot hold (before
// 1678, after 2261) becomes the nearest time that it can.
bool parse_time(std::string_view text, SystemTime& time);

// A time of any of RFC 3339's years: SystemTime has nanoseconds in 64 bits, which is too short for what users may store.
struct CalendarTime {
  int64_t seconds = 0;  // since 1970, in UTC
  int32_t nanos = 0;    // 0 … 999,999,999, also before 1970
};
// `fraction` is the number of digits after the seconds: 0, 6 or 9.
std::string format_calendar_time(CalendarTime time, int fraction);
bool parse_calendar_time(std::string_view text, CalendarTime& time);

}  // namespace kcube
