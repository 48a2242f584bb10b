// Zone files (TZif), because the process's own zone must not be switched around while other threads write logs.
#include <time.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "pkg/base/file.h"
#include "pkg/base/strings.h"
#include "pkg/controllers/cron_schedule.h"

namespace kcube::controllers {
namespace {

class LocalZone final : public TimeZone {
 public:
  int64_t offset_at(int64_t unix_seconds) const override {
    time_t t = unix_seconds;
    tm b{};
    localtime_r(&t, &b);
    return b.tm_gmtoff;
  }
};

int64_t days_from_civil(int64_t y, int m, int d) {
  y -= m <= 2;
  int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400, doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}
bool leap(int64_t y) { return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0; }

// The rule at the end of a zone file: "CET-1CEST,M3.5.0,M10.5.0/3" (POSIX.1, "TZ").
class PosixRule {
 public:
  explicit PosixRule(std::string_view text) : rest_(text) {
    if (!skip_name()) return;
    standard_ = -offset();
    valid_ = true;
    if (rest_.empty() || !skip_name()) return;
    daylight_ = rest_.empty() || rest_[0] == ',' ? standard_ + 3600 : -offset();
    has_daylight_ = read_change(start_) && read_change(end_);
  }
  bool valid() const { return valid_; }

  int64_t offset_at(int64_t t) const {
    if (!has_daylight_) return standard_;
    time_t local = t + standard_;
    tm b{};
    gmtime_r(&local, &b);
    int64_t year = b.tm_year + 1900, start = moment(start_, year) - standard_, end = moment(end_, year) - daylight_;
    bool summer = start < end ? t >= start && t < end : t >= start || t < end;
    return summer ? daylight_ : standard_;
  }

 private:
  struct Change {
    char kind = 'M';   // M month.week.day, J day without 29 February, N day of the year
    int month = 0, week = 0, day = 0;
    int64_t time = 7200;
  };

  bool skip_name() {
    if (rest_.starts_with('<')) {
      size_t end = rest_.find('>');
      if (end == std::string_view::npos) return false;
      rest_.remove_prefix(end + 1);
      return true;
    }
    size_t n = 0;
    while (n < rest_.size() && isalpha(static_cast<unsigned char>(rest_[n]))) ++n;
    rest_.remove_prefix(n);
    return n >= 3;
  }
  int64_t integer() {
    size_t n = 0;
    while (n < rest_.size() && isdigit(static_cast<unsigned char>(rest_[n]))) ++n;
    int64_t value = parse_int<int64_t>(rest_.substr(0, n)).value_or(0);
    rest_.remove_prefix(n);
    return value;
  }
  bool take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  int64_t offset() {
    int64_t sign = take('-') ? -1 : 1;
    if (sign > 0) take('+');
    int64_t seconds = integer() * 3600;
    if (take(':')) seconds += integer() * 60;
    if (take(':')) seconds += integer();
    return sign * seconds;
  }
  bool read_change(Change& c) {
    if (!take(',')) return false;
    if (take('M')) {
      c.month = static_cast<int>(integer());
      take('.');
      c.week = static_cast<int>(integer());
      take('.');
      c.day = static_cast<int>(integer());
    } else {
      c.kind = take('J') ? 'J' : 'N';
      c.day = static_cast<int>(integer());
    }
    if (take('/')) c.time = offset();
    return true;
  }
  static int64_t moment(const Change& c, int64_t year) {
    if (c.kind != 'M') {
      int64_t day = c.kind == 'J' ? c.day - 1 + (leap(year) && c.day >= 60) : c.day;
      return (days_from_civil(year, 1, 1) + day) * 86400 + c.time;
    }
    int64_t first = days_from_civil(year, c.month, 1);
    int64_t weekday = ((first + 4) % 7 + 7) % 7, day = first + (c.day - weekday + 7) % 7 + (c.week - 1) * 7;
    int64_t next_month = c.month == 12 ? days_from_civil(year + 1, 1, 1) : days_from_civil(year, c.month + 1, 1);
    while (day >= next_month) day -= 7;
    return day * 86400 + c.time;
  }

  std::string_view rest_;
  bool valid_ = false, has_daylight_ = false;
  int64_t standard_ = 0, daylight_ = 0;
  Change start_, end_;
};

class FileZone final : public TimeZone {
 public:
  static std::shared_ptr<const TimeZone> parse(std::string data) {
    auto zone = std::make_shared<FileZone>();
    zone->data_ = std::move(data);
    return zone->read() ? zone : nullptr;
  }
  int64_t offset_at(int64_t t) const override {
    auto it = std::ranges::upper_bound(times_, t);
    if (it == times_.end() && rule_ && rule_->valid()) return rule_->offset_at(t);
    if (it == times_.begin()) return first_;
    return offsets_[static_cast<size_t>(it - times_.begin()) - 1];
  }

 private:
  int64_t big_endian(size_t at, int bytes) const {
    uint64_t v = 0;
    for (int i = 0; i < bytes; ++i) v = v << 8 | static_cast<unsigned char>(data_[at + static_cast<size_t>(i)]);
    return bytes == 4 ? static_cast<int32_t>(v) : static_cast<int64_t>(v);
  }
  struct Counts {
    size_t isut, isstd, leap, time, type, chars;
    size_t size(size_t width) const { return time * (width + 1) + type * 6 + chars + leap * (width + 4) + isstd + isut; }
  };
  bool header(size_t at, Counts& c) const {
    if (data_.size() < at + 44 || data_.compare(at, 4, "TZif") != 0) return false;
    size_t* all[] = {&c.isut, &c.isstd, &c.leap, &c.time, &c.type, &c.chars};
    for (size_t i = 0; i < 6; ++i) *all[i] = static_cast<size_t>(big_endian(at + 20 + i * 4, 4));
    return true;
  }
  // The second, 64-bit block and the rule behind it; files of version 1 are long gone.
  bool read() {
    Counts c{};
    if (!header(0, c) || data_[4] < '2') return false;
    size_t at = 44 + c.size(4);
    if (!header(at, c) || data_.size() < at + 44 + c.size(8) || c.type == 0) return false;
    at += 44;
    size_t types = at + c.time * 9;
    auto offset_of = [&](size_t type) { return type < c.type ? big_endian(types + type * 6, 4) : 0; };
    first_ = offset_of(0);
    for (size_t i = 0; i < c.time; ++i) {
      times_.push_back(big_endian(at + i * 8, 8));
      offsets_.push_back(offset_of(static_cast<unsigned char>(data_[at + c.time * 8 + i])));
    }
    at += c.size(8);
    if (at < data_.size() && data_[at] == '\n') {
      size_t end = data_.find('\n', at + 1);
      if (end != std::string::npos && end > at + 1) rule_.emplace(std::string_view(data_).substr(at + 1, end - at - 1));
    }
    return true;
  }

  std::string data_;
  std::vector<int64_t> times_, offsets_;
  int64_t first_ = 0;
  std::optional<PosixRule> rule_;
};

class FixedZone final : public TimeZone {
 public:
  int64_t offset_at(int64_t) const override { return 0; }
};

}  // namespace

Result<std::shared_ptr<const TimeZone>> TimeZone::load(const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<const TimeZone>> loaded;
  std::lock_guard lock(mutex);
  auto& slot = loaded[name];
  if (slot) return slot;
  bool safe = !name.starts_with('/') && name.find("..") == std::string::npos;
  if (name.empty()) {
    slot = std::make_shared<LocalZone>();
  } else if (name == "UTC" || name == "Etc/UTC") {
    slot = std::make_shared<FixedZone>();
  } else if (safe) {
    auto data = kcube::file::read("/usr/share/zoneinfo/" + name);
    if (data) slot = FileZone::parse(std::move(*data));
  }
  if (slot) return slot;
  loaded.erase(name);
  return fail(Status::not_found("unknown time zone " + name));
}

}  // namespace kcube::controllers
