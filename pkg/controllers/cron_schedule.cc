#include "pkg/controllers/cron_schedule.h"

#include <time.h>

#include <string_view>
#include <vector>

#include "pkg/base/strings.h"

namespace kcube::controllers {
namespace {

constexpr std::string_view kMonths[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::string_view kDays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct Field {
  int low, high;
  const std::string_view* names;   // for values from `low` on, or null
  int count;
};
constexpr Field kMinute{0, 59, nullptr, 0}, kHour{0, 23, nullptr, 0}, kDay{1, 31, nullptr, 0}, kMonth{1, 12, kMonths, 12}, kWeekday{0, 7, kDays, 7};

std::optional<int> number(std::string_view text, const Field& field) {
  std::string lower = to_lower(text);
  for (int i = 0; i < field.count; ++i)
    if (field.names[i] == lower) return field.low + i;
  auto n = parse_int<int>(text);
  return n && *n >= field.low && *n <= field.high ? n : std::nullopt;
}

// "1-5/2", "*", "mon,wed" as a set of bits.
std::optional<uint64_t> bits(std::string_view text, const Field& field, bool* any) {
  uint64_t out = 0;
  for (std::string_view part : split(text, ',')) {
    size_t slash = part.find('/');
    std::string_view range = part.substr(0, slash);
    int step = 1;
    if (slash != std::string_view::npos) {
      auto n = parse_int<int>(part.substr(slash + 1));
      if (!n || *n <= 0) return std::nullopt;
      step = *n;
    }
    std::optional<int> first, last;
    if (range == "*" || range == "?") {
      first = field.low;
      last = field.high == 7 ? 6 : field.high;
      if (any != nullptr && step == 1) *any = true;
    } else if (size_t dash = range.find('-'); dash != std::string_view::npos) {
      first = number(range.substr(0, dash), field);
      last = number(range.substr(dash + 1), field);
    } else {
      first = number(range, field);
      last = slash == std::string_view::npos ? first : std::optional(field.high == 7 ? 6 : field.high);
    }
    if (!first || !last || *first > *last) return std::nullopt;
    for (int i = *first; i <= *last; i += step) out |= uint64_t{1} << (field.high == 7 && i == 7 ? 0 : i);
  }
  return out;
}

// Go's durations, as "@every" has them: "1h30m".
int64_t duration_seconds(std::string_view text) {
  int64_t total = 0;
  while (!text.empty()) {
    size_t digits = 0;
    while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
    auto n = parse_int<int64_t>(text.substr(0, digits));
    if (!n || digits == text.size()) return 0;
    int64_t unit = text[digits] == 'h' ? 3600 : text[digits] == 'm' ? 60 : text[digits] == 's' ? 1 : 0;
    if (unit == 0) return 0;
    total += *n * unit;
    text.remove_prefix(digits + 1);
  }
  return total;
}

tm broken_down(int64_t local_seconds) {
  time_t t = local_seconds;
  tm out{};
  gmtime_r(&t, &out);
  return out;
}

}  // namespace

Result<CronSchedule> CronSchedule::parse(const std::string& text) {
  auto bad = [&](std::string_view why) { return fail(Status::bad_request("unparseable schedule: \"" + text + "\" : " + std::string(why))); };
  std::string_view line = trim(text);
  CronSchedule s;
  if (line.starts_with("@every ")) {
    s.every_seconds_ = duration_seconds(trim(line.substr(7)));
    if (s.every_seconds_ <= 0) return bad("failed to parse duration");
    return s;
  }
  if (line == "@yearly" || line == "@annually") line = "0 0 1 1 *";
  else if (line == "@monthly") line = "0 0 1 * *";
  else if (line == "@weekly") line = "0 0 * * 0";
  else if (line == "@daily" || line == "@midnight") line = "0 0 * * *";
  else if (line == "@hourly") line = "0 * * * *";
  std::vector<std::string_view> fields;
  for (std::string_view part : split(line, ' '))
    if (!trim(part).empty()) fields.push_back(trim(part));
  if (fields.size() != 5) return bad("expected exactly 5 fields, found " + std::to_string(fields.size()));
  auto minutes = bits(fields[0], kMinute, nullptr), hours = bits(fields[1], kHour, nullptr), days = bits(fields[2], kDay, &s.any_day_),
       months = bits(fields[3], kMonth, nullptr), weekdays = bits(fields[4], kWeekday, &s.any_weekday_);
  if (!minutes || !hours || !days || !months || !weekdays) return bad("a field is out of range or malformed");
  s.minutes_ = *minutes;
  s.hours_ = *hours;
  s.days_ = *days;
  s.months_ = *months;
  s.weekdays_ = *weekdays;
  return s;
}

std::optional<SystemTime> CronSchedule::next(SystemTime after, const TimeZone& zone) const {
  int64_t t = std::chrono::duration_cast<std::chrono::seconds>(after.time_since_epoch()).count();
  auto at = [](int64_t seconds) { return SystemTime(std::chrono::seconds(seconds)); };
  if (every_seconds_ > 0) return at(t + every_seconds_);
  t = t - t % 60 + 60;
  const int64_t end = t + int64_t{5} * 366 * 86400;
  // Walks in steps that never pass a match: to the next local day, hour or minute. The offset is asked anew after each,
  // so that days with 23 or 25 hours come out right.
  while (t < end) {
    int64_t local = t + zone.offset_at(t);
    tm b = broken_down(local);
    bool day = (days_ >> b.tm_mday & 1) != 0, weekday = (weekdays_ >> b.tm_wday & 1) != 0;
    // With both given, either will do: crontab(5).
    bool date = (months_ >> (b.tm_mon + 1) & 1) != 0 && (any_day_ || any_weekday_ ? day && weekday : day || weekday);
    int64_t step = 0;
    if (!date) step = 3600 - local % 3600;
    else if ((hours_ >> b.tm_hour & 1) == 0) step = 3600 - local % 3600;
    else if ((minutes_ >> b.tm_min & 1) == 0) step = 60 - local % 60;
    if (step == 0) return at(t);
    // A change of offset inside the step (half-hour zones, 2 a.m. changes) is on a minute: go there minute by minute.
    if (zone.offset_at(t + step) != zone.offset_at(t)) step = 60 - local % 60;
    t += step;
  }
  return std::nullopt;
}

}  // namespace kcube::controllers
