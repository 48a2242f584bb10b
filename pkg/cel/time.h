// Timestamps and durations: text forms, the calendar, time zones.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kcube::cel {

struct Instant {
  int64_t seconds = 0;             // since 1970, UTC
  uint32_t nanoseconds = 0;
};

inline constexpr int64_t kMinTimestamp = -62135596800;   // 0001-01-01T00:00:00Z
inline constexpr int64_t kMaxTimestamp = 253402300799;   // 9999-12-31T23:59:59Z

// RFC 3339, "2024-01-02T03:04:05.678+01:00".
std::optional<Instant> parse_timestamp(std::string_view text);
// "2024-01-02".
std::optional<Instant> parse_date(std::string_view text);
std::string format_timestamp(Instant instant);

// Go's form: "1h2m3.5s", "-10ms".
std::optional<int64_t> parse_duration(std::string_view text);
// In seconds: "3723.5s".
std::string format_duration(int64_t nanoseconds);

struct Calendar {
  int64_t year = 0;
  int month = 0, day = 0, hour = 0, minute = 0, second = 0;   // month and day from 1
  int weekday = 0, year_day = 0;                              // Sunday is 0; January 1 is 0
};
Calendar calendar(int64_t local_seconds);
int64_t days_from_civil(int64_t year, int month, int day);

// Seconds east of UTC that hold in `zone` at that instant: an IANA name from the system's zone files, "UTC", "" or
// "+05:30". nullopt (and `error` filled) when there is no such zone.
std::optional<int64_t> zone_offset(std::string_view zone, int64_t seconds, std::string& error);

}  // namespace kcube::cel
