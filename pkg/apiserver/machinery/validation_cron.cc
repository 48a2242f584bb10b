// The syntax of schedules and the names of time zones. Source: crontab(5); the Kubernetes docs on CronJob.
#include <unistd.h>

#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

struct Range {
  int low, high;
  std::string_view names;  // by threes, of the first value on
};
constexpr Range kFields[] = {{0, 59, ""},
                             {0, 23, ""},
                             {1, 31, ""},
                             {1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
                             {0, 6, "sunmontuewedthufrisat"}};

// The number, or -1 with `problem` set.
int number_of(std::string_view text, const Range& range, std::string& problem) {
  std::string lower = to_lower(text);
  if (lower.size() == 3 && !range.names.empty()) {
    size_t at = range.names.find(lower);
    if (at != std::string_view::npos && at % 3 == 0) return static_cast<int>(at / 3) + range.low;
  }
  auto number = parse_int<int>(text);
  if (!number)
    problem = "failed to parse int from " + std::string(text) + ": strconv.Atoi: parsing \"" + std::string(text) +
              "\": invalid syntax";
  else if (*number < 0)
    problem = "negative number (" + std::to_string(*number) + ") not allowed: " + std::string(text);
  return problem.empty() ? *number : -1;
}

std::string check_range(std::string_view text, const Range& range) {
  std::vector<std::string_view> step = split(text, '/');
  std::vector<std::string_view> ends = split(step[0], '-');
  std::string problem, shown(text);
  int low = range.low, high = range.high;
  if (ends[0] != "*" && ends[0] != "?") {
    low = number_of(ends[0], range, problem);
    if (!problem.empty()) return problem;
    if (ends.size() > 2) return "too many hyphens: " + shown;
    high = ends.size() == 2 ? number_of(ends[1], range, problem) : low;
    if (!problem.empty()) return problem;
  }
  if (step.size() > 2) return "too many slashes: " + shown;
  int every = 1;
  if (step.size() == 2) {
    every = number_of(step[1], Range{0, 0, ""}, problem);
    if (!problem.empty()) return problem;
    if (ends.size() == 1) high = range.high;
  }
  if (low < range.low)
    return "beginning of range (" + std::to_string(low) + ") below minimum (" + std::to_string(range.low) +
           "): " + shown;
  if (high > range.high)
    return "end of range (" + std::to_string(high) + ") above maximum (" + std::to_string(range.high) + "): " + shown;
  if (low > high)
    return "beginning of range (" + std::to_string(low) + ") beyond end of range (" + std::to_string(high) +
           "): " + shown;
  if (every == 0) return "step of range should be a positive number: " + shown;
  return {};
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> out;
  for (size_t i = 0; i < text.size();) {
    size_t end = text.find_first_of(" \t", i);
    if (end == std::string_view::npos) end = text.size();
    if (end > i) out.push_back(text.substr(i, end - i));
    i = end + 1;
  }
  return out;
}

// "1h30m", "90s": numbers, each with its unit.
bool is_duration(std::string_view text) {
  if (text.empty()) return false;
  while (!text.empty()) {
    size_t digits = text.find_first_not_of("0123456789.");
    if (digits == 0 || digits == std::string_view::npos) return false;
    text.remove_prefix(digits);
    size_t unit = text.find_first_of("0123456789.");
    std::string_view name = text.substr(0, unit);
    bool known = false;
    for (std::string_view u : {"ns", "us", "µs", "ms", "s", "m", "h"}) known = known || name == u;
    if (!known) return false;
    text.remove_prefix(unit == std::string_view::npos ? text.size() : unit);
  }
  return true;
}

std::string check_descriptor(std::string_view text) {
  for (std::string_view known : {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
    if (text == known) return {};
  if (text.starts_with("@every ") && is_duration(text.substr(7))) return {};
  if (text.starts_with("@every "))
    return "failed to parse duration " + std::string(text) + ": time: invalid duration \"" +
           std::string(text.substr(7)) + "\"";
  return "unrecognized descriptor: " + std::string(text);
}

}  // namespace

std::string check_cron_schedule(std::string_view text) {
  for (std::string_view prefix : {"TZ=", "CRON_TZ="}) {
    if (!text.starts_with(prefix)) continue;
    size_t space = text.find(' ');
    if (space == std::string_view::npos) return "provided bad location " + std::string(text.substr(prefix.size()));
    text = trim(text.substr(space));
    break;
  }
  if (text.starts_with('@')) return check_descriptor(text);
  std::vector<std::string_view> fields = words(text);
  if (fields.size() != 5) {
    std::string shown;
    for (std::string_view f : fields) shown += (shown.empty() ? "" : " ") + std::string(f);
    return "expected exactly 5 fields, found " + std::to_string(fields.size()) + ": [" + shown + "]";
  }
  for (size_t i = 0; i < fields.size(); ++i)
    for (std::string_view part : split(fields[i], ',')) {
      if (part.empty()) continue;
      if (std::string problem = check_range(part, kFields[i]); !problem.empty()) return problem;
    }
  return {};
}

bool known_time_zone(std::string_view name) {
  if (name == "UTC" || name.empty()) return true;
  for (std::string_view part : split(name, '/'))
    if (part.empty() || part == "." || part == ".." || part.starts_with('-')) return false;
  // Without the zone database there is nothing to compare with.
  if (access("/usr/share/zoneinfo", F_OK) != 0) return true;
  return access(("/usr/share/zoneinfo/" + std::string(name)).c_str(), R_OK) == 0;
}

}  // namespace kcube::machinery
