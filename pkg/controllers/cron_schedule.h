// Cron schedules and the time zones they are written for. Source: crontab(5), the Kubernetes docs on CronJobs, and
// tzfile(5), RFC 8536 for the zone files. Internal to the room.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "pkg/base/clock.h"
#include "pkg/base/status.h"

namespace kcube::controllers {

// Offsets from UTC over time.
class TimeZone {
 public:
  virtual ~TimeZone() = default;
  virtual int64_t offset_at(int64_t unix_seconds) const = 0;
  // "" is the machine's own zone, else a name of the zone database ("Europe/Berlin"). 404 when it is not known.
  static Result<std::shared_ptr<const TimeZone>> load(const std::string& name);
};

class CronSchedule {
 public:
  // Five fields, names of months and days, steps, "@daily", "@every 1h30m".
  static Result<CronSchedule> parse(const std::string& text);
  // The first time after `after`; nullopt when there is none within five years.
  std::optional<SystemTime> next(SystemTime after, const TimeZone& zone) const;

 private:
  uint64_t minutes_ = 0, hours_ = 0, days_ = 0, months_ = 0, weekdays_ = 0;
  bool any_day_ = false, any_weekday_ = false;
  int64_t every_seconds_ = 0;
};

}  // namespace kcube::controllers
