// Regular expressions with RE2's syntax and its linear time.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/base/status.h"

namespace kcube::cel {

class Regex {
 public:
  virtual ~Regex() = default;
  // The error's message is Go's: "error parsing regexp: missing closing ]: `[a`".
  static Result<std::shared_ptr<const Regex>> compile(std::string_view pattern);
  // Anywhere in the text.
  virtual bool matches(std::string_view text) const = 0;
  // Matches from the left that do not overlap, at most `limit` when not negative; they point into `text`.
  virtual std::vector<std::string_view> find_all(std::string_view text, int64_t limit) const = 0;
};

}  // namespace kcube::cel
