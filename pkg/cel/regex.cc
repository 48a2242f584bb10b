#include "pkg/cel/regex.h"

#include <re2/re2.h>

namespace kcube::cel {
namespace {

class Re2Regex final : public Regex {
 public:
  explicit Re2Regex(std::string_view pattern) : re2_(re2::StringPiece(pattern.data(), pattern.size()), options()) {}

  static RE2::Options options() {
    RE2::Options options(RE2::Quiet);
    options.set_max_mem(4 << 20);
    return options;
  }
  const RE2& re2() const { return re2_; }

  bool matches(std::string_view text) const override { return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), re2_); }

  std::vector<std::string_view> find_all(std::string_view text, int64_t limit) const override {
    std::vector<std::string_view> out;
    re2::StringPiece input(text.data(), text.size()), match;
    size_t at = 0, last_end = std::string_view::npos;
    while (at <= text.size() && (limit < 0 || out.size() < static_cast<uint64_t>(limit))) {
      if (!re2_.Match(input, at, text.size(), RE2::UNANCHORED, &match, 1)) break;
      size_t begin = static_cast<size_t>(match.data() - text.data()), end = begin + match.size();
      // As Go does: an empty match right after a match does not count.
      if (!match.empty() || begin != last_end) out.push_back(text.substr(begin, match.size()));
      last_end = end;
      at = match.empty() ? next_code_point(text, end) : end;
    }
    return out;
  }

 private:
  static size_t next_code_point(std::string_view text, size_t at) {
    do ++at;
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
    return at;
  }

  RE2 re2_;
};

// Go's words for what is wrong.
std::string reason(const RE2& re2) {
  switch (re2.error_code()) {
    case RE2::ErrorBadEscape: return "invalid escape sequence";
    case RE2::ErrorBadCharClass: return "invalid character class";
    case RE2::ErrorBadCharRange: return "invalid character class range";
    case RE2::ErrorMissingBracket: return "missing closing ]";
    case RE2::ErrorMissingParen: return "missing closing )";
    case RE2::ErrorTrailingBackslash: return "trailing backslash at end of expression";
    case RE2::ErrorRepeatArgument: return "missing argument to repetition operator";
    case RE2::ErrorRepeatSize: return "invalid repeat count";
    case RE2::ErrorRepeatOp: return "invalid nested repetition operator";
    case RE2::ErrorBadPerlOp: return "invalid or unsupported Perl syntax";
    case RE2::ErrorBadUTF8: return "invalid UTF-8";
    case RE2::ErrorBadNamedCapture: return "invalid named capture";
    case RE2::ErrorPatternTooLarge: return "expression too large";
    default: return re2.error();
  }
}

}  // namespace

Result<std::shared_ptr<const Regex>> Regex::compile(std::string_view pattern) {
  auto regex = std::make_shared<Re2Regex>(pattern);
  if (regex->re2().ok()) return regex;
  std::string argument = regex->re2().error_arg().empty() ? std::string(pattern) : regex->re2().error_arg();
  bool bare = regex->re2().error_code() == RE2::ErrorTrailingBackslash;
  return fail(Status::bad_request("error parsing regexp: " + reason(regex->re2()) + (bare ? ": ``" : ": `" + argument + "`")));
}

}  // namespace kcube::cel
