#include "pkg/api/quantity.h"

#include <algorithm>
#include <array>
#include <limits>

namespace kcube::api {
namespace {

constexpr __int128 kNano = 1'000'000'000;
constexpr std::string_view kMalformed =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

struct Suffix {
  std::string_view text;
  Quantity::Format format;
  int base;      // 10 or 2
  int exponent;
};
constexpr std::array<Suffix, 17> kSuffixes = {{
    {"n", Quantity::Format::decimal_si, 10, -9}, {"u", Quantity::Format::decimal_si, 10, -6}, {"m", Quantity::Format::decimal_si, 10, -3},
    {"", Quantity::Format::decimal_si, 10, 0},   {"k", Quantity::Format::decimal_si, 10, 3},  {"M", Quantity::Format::decimal_si, 10, 6},
    {"G", Quantity::Format::decimal_si, 10, 9},  {"T", Quantity::Format::decimal_si, 10, 12}, {"P", Quantity::Format::decimal_si, 10, 15},
    {"E", Quantity::Format::decimal_si, 10, 18}, {"Ki", Quantity::Format::binary_si, 2, 10},  {"Mi", Quantity::Format::binary_si, 2, 20},
    {"Gi", Quantity::Format::binary_si, 2, 30},  {"Ti", Quantity::Format::binary_si, 2, 40},  {"Pi", Quantity::Format::binary_si, 2, 50},
    {"Ei", Quantity::Format::binary_si, 2, 60},  {"", Quantity::Format::decimal_exponent, 10, 0},
}};

// 2^63-1 is the largest amount the API keeps; larger ones are cut to it.
constexpr __int128 kMaxNano = static_cast<__int128>(std::numeric_limits<int64_t>::max()) * kNano;

__int128 power(int base, int exponent) {
  __int128 p = 1;
  for (int i = 0; i < exponent; ++i) p *= base;
  return p;
}

__int128 divide_up(__int128 value, __int128 by) {
  __int128 q = value / by;
  return value % by > 0 ? q + 1 : q;
}

int64_t saturate(__int128 value) {
  if (value > std::numeric_limits<int64_t>::max()) return std::numeric_limits<int64_t>::max();
  if (value < std::numeric_limits<int64_t>::min()) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(value);
}

std::string digits_of(__int128 value) {
  if (value == 0) return "0";
  bool negative = value < 0;
  std::string out;
  for (; value != 0; value /= 10) out += static_cast<char>('0' + static_cast<int>(negative ? -(value % 10) : value % 10));
  if (negative) out += '-';
  std::ranges::reverse(out);
  return out;
}

}  // namespace

Quantity Quantity::from_int(int64_t value, Format format) {
  Quantity q;
  q.nano_ = static_cast<__int128>(value) * kNano;
  q.format_ = format;
  return q;
}

Quantity Quantity::from_milli(int64_t milli) {
  Quantity q;
  q.nano_ = static_cast<__int128>(milli) * 1'000'000;
  return q;
}

Result<Quantity> Quantity::parse(std::string_view text) {
  auto malformed = [] { return fail(Status::bad_request(std::string(kMalformed))); };
  size_t p = 0;
  bool negative = false;
  if (p < text.size() && (text[p] == '+' || text[p] == '-')) negative = text[p++] == '-';
  // Digits before and after the point, as one number of nano-units scaled later.
  std::string whole, fraction;
  while (p < text.size() && text[p] >= '0' && text[p] <= '9') whole += text[p++];
  if (p < text.size() && text[p] == '.') {
    ++p;
    while (p < text.size() && text[p] >= '0' && text[p] <= '9') fraction += text[p++];
  }
  if (whole.empty() && fraction.empty()) return malformed();
  std::string_view suffix = text.substr(p);

  Quantity q;
  int base = 10, exponent = 0;
  if (!suffix.empty() && (suffix[0] == 'e' || suffix[0] == 'E') && suffix.size() > 1) {
    size_t i = 1;
    bool minus = false;
    if (suffix[i] == '-' || suffix[i] == '+') minus = suffix[i++] == '-';
    if (i >= suffix.size()) return malformed();
    for (; i < suffix.size(); ++i) {
      if (suffix[i] < '0' || suffix[i] > '9') return malformed();
      exponent = std::min(exponent * 10 + (suffix[i] - '0'), 1000);
    }
    if (minus) exponent = -exponent;
    q.format_ = Format::decimal_exponent;
  } else {
    auto it = std::ranges::find(kSuffixes, suffix, &Suffix::text);
    if (it == kSuffixes.end()) return malformed();
    base = it->base;
    exponent = it->exponent;
    q.format_ = it->format;
  }

  // number = digits * 10^-fraction.size() * base^exponent, in nano-units, rounded up at the finest digit.
  while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
  if (fraction.size() > 18) fraction.resize(18);
  std::string digits = whole + fraction;
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  if (digits.empty()) return q;
  if (digits.size() > 36) digits.resize(36);
  __int128 number = 0;
  for (char c : digits) {
    if (number > kMaxNano) break;
    number = number * 10 + (c - '0');
  }
  int scale = 9 - static_cast<int>(fraction.size());  // power of ten that makes nano-units
  if (base == 10) scale += exponent;
  for (; scale > 0 && number <= kMaxNano; --scale) number *= 10;
  if (base == 2) {
    // Multiply before dividing, so that 0.5Gi stays exact; 2^60 * 10^18 fits in 128 bits only for small numbers.
    for (int i = 0; i < exponent && number <= kMaxNano * 1024; ++i) number *= 2;
  }
  if (scale < 0) number = scale < -36 ? 1 : divide_up(number, power(10, -scale));
  q.nano_ = std::min(number, kMaxNano);
  if (negative) q.nano_ = -q.nano_;
  return q;
}

Quantity Quantity::from_json(const json::value* value) {
  if (value == nullptr) return {};
  if (value->is_string()) return parse(json::view(value->get_string())).value_or(Quantity());
  if (value->is_double()) return parse(json::serialize(*value)).value_or(Quantity());
  return from_int(json::get_int(value));
}

int64_t Quantity::value() const { return saturate(divide_up(nano_, kNano)); }
int64_t Quantity::milli_value() const { return saturate(divide_up(nano_, 1'000'000)); }

std::string Quantity::to_string() const {
  if (nano_ == 0) return "0";
  __int128 absolute = nano_ < 0 ? -nano_ : nano_;
  if (format_ == Format::binary_si && absolute % kNano == 0 && absolute >= 1024 * kNano) {
    __int128 whole = nano_ / kNano;
    static constexpr std::string_view kBinary[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    int i = 0;
    for (; i < 6 && whole % 1024 == 0; ++i) whole /= 1024;
    return digits_of(whole) + std::string(kBinary[i]);
  }
  // The largest power of 1000 that leaves a whole number.
  __int128 number = nano_;
  int exponent = -9;
  while (exponent < 18 && number % 1000 == 0) {
    number /= 1000;
    exponent += 3;
  }
  if (format_ == Format::decimal_exponent) return digits_of(number) + (exponent == 0 ? "" : "e" + std::to_string(exponent));
  static constexpr std::string_view kDecimal[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
  return digits_of(number) + std::string(kDecimal[(exponent + 9) / 3]);
}

Quantity& Quantity::operator+=(const Quantity& other) {
  if (nano_ == 0) format_ = other.format_;
  nano_ += other.nano_;
  return *this;
}

Quantity& Quantity::operator-=(const Quantity& other) {
  if (nano_ == 0) format_ = other.format_;
  nano_ -= other.nano_;
  return *this;
}

}  // namespace kcube::api
