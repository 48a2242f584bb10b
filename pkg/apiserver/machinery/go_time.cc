#include "pkg/apiserver/machinery/go_time.h"

namespace kcube::machinery {
namespace {

// An element of the layout, what goes before it, and what it may be.
struct Element {
  std::string_view before, name;
  size_t digits;
  int low, high;
  std::string_view range;   // what is told out of range; "" when that is found out later
  bool short_form = false;  // one digit is enough
};
constexpr Element kElements[] = {{"", "2006", 4, 0, 9999, ""},        {"-", "01", 2, 1, 12, "month"},    {"-", "02", 2, 0, 99, ""},
                                 {"T", "15", 2, 0, 23, "hour", true}, {":", "04", 2, 0, 59, "minute"}, {":", "05", 2, 0, 59, "second"}};
constexpr std::string_view kMicro = ".000000", kZone = "Z07:00";

bool digit(std::string_view text, size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '9'; }
size_t digits_of(std::string_view text, size_t most) {
  size_t n = 0;
  while (n < most && digit(text, n)) ++n;
  return n;
}
int number_of(std::string_view digits) {
  int n = 0;
  for (char c : digits) n = n * 10 + (c - '0');
  return n;
}

class GoTime {
 public:
  GoTime(std::string_view text, bool micro) : text_(text), rest_(text), micro_(micro) {}

  // Empty, and the time, when it is one.
  std::string read(CalendarTime& time) {
    for (const Element& e : kElements)
      if (std::string p = element(e); !p.empty()) return p;
    if (std::string p = fraction(); !p.empty()) return p;
    if (std::string p = zone(); !p.empty()) return p;
    if (!rest_.empty()) return told(": extra text: \"" + std::string(rest_) + "\"");
    if (!parse_calendar_time(plain_ + "Z", time)) return told(": day out of range");
    time.seconds -= offset_;
    return {};
  }

 private:
  std::string told(const std::string& what) const { return "parsing time \"" + std::string(text_) + "\"" + what; }
  std::string cannot(std::string_view rest, std::string_view layout) const {
    return told(" as \"2006-01-02T15:04:05" + std::string(micro_ ? kMicro : "") + "Z07:00\": cannot parse \"" + std::string(rest) + "\" as \"" + std::string(layout) + "\"");
  }
  std::string out_of_range(std::string_view what) const { return told(": " + std::string(what) + " out of range"); }

  std::string element(const Element& e) {
    if (!rest_.starts_with(e.before)) return cannot(rest_, e.before);
    rest_.remove_prefix(e.before.size());
    const size_t have = digits_of(rest_, e.digits);
    if (have < e.digits && !(e.short_form && have > 0)) return cannot(rest_, e.name);
    const int number = number_of(rest_.substr(0, have));
    plain_.append(e.before).append(e.digits - have, '0').append(rest_.substr(0, have));
    rest_.remove_prefix(have);
    return number < e.low || number > e.high ? out_of_range(e.range) : std::string();
  }

  // Any number of digits where the layout has none.
  std::string fraction() {
    const bool point = !rest_.empty() && (rest_[0] == '.' || rest_[0] == ',');
    const size_t have = point ? digits_of(rest_.substr(1), micro_ ? kMicro.size() - 1 : rest_.size()) : 0;
    if (micro_ && have < kMicro.size() - 1) return cannot(rest_, kMicro);
    if (have == 0) return {};
    plain_.append(".").append(rest_.substr(1, have));
    rest_.remove_prefix(1 + have);
    return {};
  }

  std::string zone() {
    if (rest_.starts_with('Z')) return rest_.remove_prefix(1), std::string();
    const std::string_view z = rest_.substr(0, 6);
    if (z.size() < 6 || z[3] != ':' || !digit(z, 1) || !digit(z, 2) || !digit(z, 4) || !digit(z, 5)) return cannot(rest_, kZone);
    const int hours = number_of(z.substr(1, 2)), minutes = number_of(z.substr(4, 2));
    if (hours > 24) return out_of_range("time zone offset hour");
    if (minutes > 60) return out_of_range("time zone offset minute");
    if (z[0] != '+' && z[0] != '-') return cannot(rest_, kZone);
    offset_ = (z[0] == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    rest_.remove_prefix(6);
    return {};
  }

  const std::string_view text_;
  std::string_view rest_;
  const bool micro_;
  std::string plain_;   // what was read, as everyone writes it
  int offset_ = 0;
};

}  // namespace

std::string parse_go_time(std::string_view text, bool micro, CalendarTime& time) { return GoTime(text, micro).read(time); }

}  // namespace kcube::machinery
