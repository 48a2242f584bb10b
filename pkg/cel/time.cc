#include "pkg/cel/time.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "pkg/base/file.h"
#include "pkg/base/strings.h"

namespace kcube::cel {
namespace {

std::optional<int> digits(std::string_view text, size_t at, size_t count) {
  if (at + count > text.size()) return std::nullopt;
  int value = 0;
  for (size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

int days_in_month(int64_t year, int month) {
  static constexpr std::array<int, 12> days{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && leap ? 29 : days[month - 1];
}

void append_two(std::string& out, int64_t value) {
  out += static_cast<char>('0' + value / 10), out += static_cast<char>('0' + value % 10);
}

void append_fraction(std::string& out, uint32_t nanoseconds) {
  if (nanoseconds == 0) return;
  std::string fraction = std::to_string(1'000'000'000 + nanoseconds).substr(1);
  while (fraction.back() == '0') fraction.pop_back();
  out += '.' + fraction;
}

}  // namespace

int64_t days_from_civil(int64_t year, int month, int day) {
  year -= month <= 2;
  int64_t era = (year >= 0 ? year : year - 399) / 400;
  int64_t of_era = year - era * 400;
  int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

Calendar calendar(int64_t seconds) {
  int64_t days = seconds / 86400, rest = seconds % 86400;
  if (rest < 0) rest += 86400, --days;
  int64_t z = days + 719468;
  int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  int64_t doe = z - era * 146097;
  int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  int64_t mp = (5 * doy + 2) / 153;
  Calendar c;
  c.day = static_cast<int>(doy - (153 * mp + 2) / 5 + 1);
  c.month = static_cast<int>(mp < 10 ? mp + 3 : mp - 9);
  c.year = yoe + era * 400 + (c.month <= 2);
  c.hour = static_cast<int>(rest / 3600), c.minute = static_cast<int>(rest / 60 % 60), c.second = static_cast<int>(rest % 60);
  c.weekday = static_cast<int>(((days % 7) + 11) % 7);
  c.year_day = static_cast<int>(days - days_from_civil(c.year, 1, 1));
  return c;
}

std::optional<Instant> parse_timestamp(std::string_view t) {
  auto year = digits(t, 0, 4), month = digits(t, 5, 2), day = digits(t, 8, 2), hour = digits(t, 11, 2), minute = digits(t, 14, 2), second = digits(t, 17, 2);
  if (!year || !month || !day || !hour || !minute || !second || t.size() < 20) return std::nullopt;
  if (t[4] != '-' || t[7] != '-' || t[10] != 'T' || t[13] != ':' || t[16] != ':') return std::nullopt;
  if (*month < 1 || *month > 12 || *day < 1 || *day > days_in_month(*year, *month) || *hour > 23 || *minute > 59 || *second > 59) return std::nullopt;
  Instant instant{days_from_civil(*year, *month, *day) * 86400 + *hour * 3600 + *minute * 60 + *second, 0};
  size_t at = 19;
  if (t[at] == '.' || t[at] == ',') {
    uint32_t scale = 100'000'000;
    size_t begin = ++at;
    for (; at < t.size() && t[at] >= '0' && t[at] <= '9'; ++at, scale /= 10) instant.nanoseconds += (t[at] - '0') * scale;
    if (at == begin) return std::nullopt;
  }
  if (t.substr(at) == "Z") return instant;
  auto zone_hour = digits(t, at + 1, 2), zone_minute = digits(t, at + 4, 2);
  if (at + 6 != t.size() || (t[at] != '+' && t[at] != '-') || t[at + 3] != ':' || !zone_hour || !zone_minute || *zone_hour > 24 || *zone_minute > 59) return std::nullopt;
  int64_t offset = *zone_hour * 3600 + *zone_minute * 60;
  instant.seconds -= t[at] == '+' ? offset : -offset;
  return instant;
}

std::optional<Instant> parse_date(std::string_view text) {
  if (text.size() != 10) return std::nullopt;
  return parse_timestamp(std::string(text) + "T00:00:00Z");
}

std::string format_timestamp(Instant instant) {
  Calendar c = calendar(instant.seconds);
  std::string out = std::to_string(10000 + c.year).substr(1);
  out += '-', append_two(out, c.month), out += '-', append_two(out, c.day), out += 'T';
  append_two(out, c.hour), out += ':', append_two(out, c.minute), out += ':', append_two(out, c.second);
  append_fraction(out, instant.nanoseconds);
  return out + 'Z';
}

std::optional<int64_t> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    int64_t nanoseconds;
  };
  static constexpr Unit units[]{{"ns", 1}, {"us", 1000}, {"µs", 1000}, {"μs", 1000}, {"ms", 1'000'000}, {"s", 1'000'000'000}, {"m", 60'000'000'000}, {"h", 3'600'000'000'000}};
  bool negative = text.starts_with('-');
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return 0;
  if (text.empty()) return std::nullopt;
  constexpr unsigned __int128 limit = static_cast<unsigned __int128>(1) << 63;
  unsigned __int128 total = 0;
  while (!text.empty()) {
    size_t i = 0;
    unsigned __int128 whole = 0;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
      whole = whole * 10 + (text[i] - '0');
      if (whole > limit) return std::nullopt;
    }
    bool any = i > 0;
    double fraction = 0, scale = 1;
    uint64_t fraction_digits = 0;
    if (i < text.size() && text[i] == '.') {
      for (++i; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i, any = true) {
        if (scale < 1e17) fraction_digits = fraction_digits * 10 + (text[i] - '0'), scale *= 10;
      }
    }
    if (!any) return std::nullopt;
    size_t end = i;
    while (end < text.size() && text[end] != '.' && (text[end] < '0' || text[end] > '9')) ++end;
    const Unit* unit = nullptr;
    for (const Unit& u : units) {
      if (u.name == text.substr(i, end - i)) unit = &u;
    }
    if (!unit) return std::nullopt;
    fraction = static_cast<double>(fraction_digits) * (static_cast<double>(unit->nanoseconds) / scale);
    total += whole * static_cast<unsigned __int128>(unit->nanoseconds) + static_cast<uint64_t>(fraction);
    if (total > limit) return std::nullopt;
    text.remove_prefix(end);
  }
  if (total == limit && !negative) return std::nullopt;
  auto value = static_cast<uint64_t>(total);
  return static_cast<int64_t>(negative ? ~value + 1 : value);
}

std::string format_duration(int64_t nanoseconds) {
  // The double nearest to the seconds, in its shortest form, as Go writes it.
  double seconds = static_cast<double>(nanoseconds / 1'000'000'000) + static_cast<double>(nanoseconds % 1'000'000'000) / 1e9;
  char buffer[400];
  auto result = std::to_chars(buffer, buffer + sizeof buffer, seconds, std::chars_format::fixed);
  return std::string(buffer, result.ptr) + 's';
}

namespace {

// One zone file (tzfile(5)): the moments at which the offset changes, and the rule after the last of them.
struct Zone {
  struct Change {
    int64_t from, offset;
  };
  std::vector<Change> changes;
  int64_t first_offset = 0;
  std::string rule;                // POSIX TZ: "CET-1CEST,M3.5.0,M10.5.0/3"
};

int64_t big_endian(std::string_view bytes, size_t at, size_t count) {
  uint64_t value = static_cast<unsigned char>(bytes[at]) & 0x80 ? ~uint64_t{0} : 0;
  for (size_t i = 0; i < count; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return static_cast<int64_t>(value);
}

std::optional<Zone> parse_zone(std::string_view file) {
  // The header of the 64-bit part follows the whole 32-bit part.
  constexpr size_t header = 44;
  if (file.size() < header || !file.starts_with("TZif") || file[4] < '2') return std::nullopt;
  auto count = [&](size_t base, int i) { return static_cast<size_t>(big_endian(file, base + 20 + 4 * i, 4)); };
  size_t second = header + count(0, 3) * 5 + count(0, 4) * 6 + count(0, 5) + count(0, 2) * 8 + count(0, 1) + count(0, 0);
  if (second + header > file.size()) return std::nullopt;
  size_t times = count(second, 3), types = count(second, 4), body = second + header;
  size_t end = body + times * 9 + types * 6 + count(second, 5) + count(second, 2) * 12 + count(second, 1) + count(second, 0);
  if (end > file.size() || types == 0) return std::nullopt;
  auto offset_of = [&](size_t type) { return big_endian(file, body + times * 9 + type * 6, 4); };
  Zone zone;
  zone.first_offset = offset_of(0);
  for (size_t i = 0; i < times; ++i) {
    size_t type = static_cast<unsigned char>(file[body + times * 8 + i]);
    if (type >= types) return std::nullopt;
    zone.changes.push_back({big_endian(file, body + i * 8, 8), offset_of(type)});
  }
  zone.rule = std::string(trim(file.substr(end)));
  return zone;
}

// Reads the POSIX rule: names, offsets, and the two days on which the offset changes (Mm.w.d form only, all zones use it).
class Rule {
 public:
  explicit Rule(std::string_view text) : text_(text) {}

  std::optional<int64_t> offset(int64_t seconds) {
    if (!name()) return std::nullopt;
    int64_t standard = -time();
    if (text_.empty()) return standard;
    if (!name()) return standard;
    int64_t summer = text_.empty() || text_[0] == ',' ? standard + 3600 : -time();
    int64_t year = calendar(seconds + standard).year;
    auto begin = day(year), end = day(year);
    if (!begin || !end) return standard;
    int64_t from = *begin - standard, to = *end - summer;
    bool is_summer = from < to ? seconds >= from && seconds < to : seconds >= from || seconds < to;
    return is_summer ? summer : standard;
  }

 private:
  bool name() {
    size_t end = 0;
    if (text_.starts_with('<')) end = text_.find('>') + 1;
    else while (end < text_.size() && ((text_[end] | 32) >= 'a' && (text_[end] | 32) <= 'z')) ++end;
    text_.remove_prefix(std::min(end, text_.size()));
    return end > 0;
  }
  int64_t number() {
    int64_t value = 0;
    while (!text_.empty() && text_[0] >= '0' && text_[0] <= '9') value = value * 10 + (text_[0] - '0'), text_.remove_prefix(1);
    return value;
  }
  bool take(char c) { return text_.starts_with(c) && (text_.remove_prefix(1), true); }
  int64_t time() {
    int64_t sign = take('-') ? -1 : (take('+'), 1);
    int64_t seconds = number() * 3600;
    if (take(':')) seconds += number() * 60;
    if (take(':')) seconds += number();
    return sign * seconds;
  }
  std::optional<int64_t> day(int64_t year) {
    if (!take(',') || !take('M')) return std::nullopt;
    int month = static_cast<int>(number());
    take('.');
    int64_t week = number();
    take('.');
    int64_t weekday = number();
    int64_t at = take('/') ? time() : 7200;
    if (month < 1 || month > 12) return std::nullopt;
    int64_t first = days_from_civil(year, month, 1);
    int64_t date = 1 + (weekday - (first + 4) % 7 + 7) % 7 + (week - 1) * 7;
    while (date > days_in_month(year, month)) date -= 7;
    return (first + date - 1) * 86400 + at;
  }

  std::string_view text_;
};

const Zone* find_zone(std::string_view name) {
  static std::shared_mutex mutex;
  static std::map<std::string, std::optional<Zone>, std::less<>> zones;
  {
    std::shared_lock lock(mutex);
    if (auto it = zones.find(name); it != zones.end()) return it->second ? &*it->second : nullptr;
  }
  for (char c : name) {
    bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '+' || c == '/';
    if (!ok) return nullptr;
  }
  if (name.starts_with('/') || name.size() > 64) return nullptr;
  std::optional<Zone> zone;
  if (auto file = file::read("/usr/share/zoneinfo/" + std::string(name))) zone = parse_zone(*file);
  if (!zone) return nullptr;           // names come from strangers: only what exists is kept
  std::unique_lock lock(mutex);
  return &*zones.try_emplace(std::string(name), std::move(zone)).first->second;
}

}  // namespace

std::optional<int64_t> zone_offset(std::string_view zone, int64_t seconds, std::string& error) {
  if (zone.empty() || zone == "UTC") return 0;
  if (size_t colon = zone.find(':'); colon != std::string_view::npos) {
    std::string_view hours = zone.substr(0, colon), minutes = zone.substr(colon + 1);
    bool negative = hours.starts_with('-');
    if (hours.starts_with('+') || negative) hours.remove_prefix(1);
    auto h = parse_int<int64_t>(hours), m = parse_int<int64_t>(minutes);
    if (!h || !m) {
      error = "strconv.Atoi: parsing \"" + std::string(!h ? zone.substr(0, colon) : minutes) + "\": invalid syntax";
      return std::nullopt;
    }
    constexpr int64_t limit = 1'000'000;       // far beyond any zone, and no overflow
    *h = std::clamp(*h, -limit, limit), *m = std::clamp(*m, -limit, limit);
    int64_t offset = *h * 3600 + *m * 60;
    return negative ? -offset : offset;
  }
  const Zone* found = find_zone(zone);
  if (!found) {
    error = "unknown time zone " + std::string(zone);
    return std::nullopt;
  }
  if (found->changes.empty() || seconds >= found->changes.back().from) {
    if (auto offset = Rule(found->rule).offset(seconds)) return offset;
  }
  auto after = std::ranges::upper_bound(found->changes, seconds, {}, &Zone::Change::from);
  return after == found->changes.begin() ? found->first_offset : std::prev(after)->offset;
}

}  // namespace kcube::cel
