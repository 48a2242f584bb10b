// Parts of timestamps and durations.
#include "pkg/cel/functions.h"
#include "pkg/cel/time.h"

namespace kcube::cel {
namespace {

using Part = int64_t (*)(const Calendar&, uint32_t nanoseconds);

template <Part part>
Value of_timestamp(Arguments a, const Node&) {
  int64_t seconds = a[0].timestamp_seconds();
  if (a.size() == 2) {
    std::string error;
    std::optional<int64_t> offset = zone_offset(a[1].as_text(), seconds, error);
    if (!offset) return Value::failure(std::move(error));
    seconds += *offset;
  }
  return Value::integer(part(calendar(seconds), a[0].timestamp_nanoseconds()));
}

template <int64_t unit>
Value of_duration(Arguments a, const Node&) { return Value::integer(a[0].duration_nanoseconds() / unit); }

int64_t year(const Calendar& c, uint32_t) { return c.year; }
int64_t month(const Calendar& c, uint32_t) { return c.month - 1; }
int64_t day_of_year(const Calendar& c, uint32_t) { return c.year_day; }
int64_t date(const Calendar& c, uint32_t) { return c.day; }
int64_t day_of_month(const Calendar& c, uint32_t) { return c.day - 1; }
int64_t day_of_week(const Calendar& c, uint32_t) { return c.weekday; }
int64_t hours(const Calendar& c, uint32_t) { return c.hour; }
int64_t minutes(const Calendar& c, uint32_t) { return c.minute; }
int64_t seconds(const Calendar& c, uint32_t) { return c.second; }
int64_t milliseconds(const Calendar&, uint32_t nanoseconds) { return nanoseconds / 1'000'000; }

constexpr std::string_view kPlain = ".(timestamp) int", kInZone = ".(timestamp, string) int", kDuration = ".(duration) int";

constexpr FunctionRow kRows[]{
    {"getFullYear", kPlain, of_timestamp<year>}, {"getFullYear", kInZone, of_timestamp<year>},
    {"getMonth", kPlain, of_timestamp<month>}, {"getMonth", kInZone, of_timestamp<month>},
    {"getDayOfYear", kPlain, of_timestamp<day_of_year>}, {"getDayOfYear", kInZone, of_timestamp<day_of_year>},
    {"getDate", kPlain, of_timestamp<date>}, {"getDate", kInZone, of_timestamp<date>},
    {"getDayOfMonth", kPlain, of_timestamp<day_of_month>}, {"getDayOfMonth", kInZone, of_timestamp<day_of_month>},
    {"getDayOfWeek", kPlain, of_timestamp<day_of_week>}, {"getDayOfWeek", kInZone, of_timestamp<day_of_week>},
    {"getHours", kPlain, of_timestamp<hours>}, {"getHours", kInZone, of_timestamp<hours>}, {"getHours", kDuration, of_duration<3'600'000'000'000>},
    {"getMinutes", kPlain, of_timestamp<minutes>}, {"getMinutes", kInZone, of_timestamp<minutes>}, {"getMinutes", kDuration, of_duration<60'000'000'000>},
    {"getSeconds", kPlain, of_timestamp<seconds>}, {"getSeconds", kInZone, of_timestamp<seconds>}, {"getSeconds", kDuration, of_duration<1'000'000'000>},
    {"getMilliseconds", kPlain, of_timestamp<milliseconds>}, {"getMilliseconds", kInZone, of_timestamp<milliseconds>},
    {"getMilliseconds", kDuration, of_duration<1'000'000>},
};

}  // namespace

std::span<const FunctionRow> time_functions() { return kRows; }

}  // namespace kcube::cel
