// resource.Quantity: exact decimal numbers with suffixes ("100m", "1.5Gi", "2e3"), kept in the form they came in until
// arithmetic needs them. Source: the Kubernetes API reference, "Quantity".
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "pkg/api/json.h"
#include "pkg/base/status.h"

namespace kcube::api {

class Quantity {
 public:
  enum class Format { decimal_si, binary_si, decimal_exponent };

  Quantity() = default;                              // 0
  static Quantity from_int(int64_t value, Format format = Format::decimal_si);
  static Quantity from_milli(int64_t milli);
  // 400 with the words of the real server when malformed.
  static Result<Quantity> parse(std::string_view text);
  // A JSON string or number; a malformed one reads as 0 (validation has refused it before).
  static Quantity from_json(const json::value* value);

  // Rounded up, as the scheduler and cgroups want it; saturates.
  int64_t value() const;
  int64_t milli_value() const;
  double approximate() const { return static_cast<double>(nano_) / 1e9; }
  // Canonical form: "1500m", "1536Mi", "12e6".
  std::string to_string() const;

  Quantity& operator+=(const Quantity& other);
  Quantity& operator-=(const Quantity& other);
  std::strong_ordering operator<=>(const Quantity& other) const { return nano_ <=> other.nano_; }
  bool operator==(const Quantity& other) const { return nano_ == other.nano_; }
  bool zero() const { return nano_ == 0; }

 private:
  __int128 nano_ = 0;                                // value times 10^9, the finest the API keeps
  Format format_ = Format::decimal_si;
};

}  // namespace kcube::api
