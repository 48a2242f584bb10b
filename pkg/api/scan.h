// Reading one member of a JSON text without parsing it: for field selectors and indexes over thousands of stored objects,
// whose parsed form would cost more memory than the objects themselves. The text has been parsed before: no syntax checks.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace kcube::api {

// The members of the object that `text` begins with, in their order; what follows the object is not looked at.
class MemberScanner {
 public:
  explicit MemberScanner(std::string_view text);
  // False behind the last.
  bool next();
  std::string_view key() const { return key_; }       // as written: escapes stay
  std::string_view value() const { return value_; }   // its raw text

 private:
  std::string_view text_, key_, value_;
  size_t at_ = 0;
};

// The raw text of the member of that name of the object `text`; empty when there is none.
std::string_view scan_member(std::string_view text, std::string_view name);
std::string_view scan_path(std::string_view text, std::initializer_list<std::string_view> path);
// A path in dots: "spec.nodeName".
std::string_view scan_dotted(std::string_view text, std::string_view path);
// A scalar as selectors compare it: strings unescaped, numbers and booleans as written, absent and null "".
std::string scalar_text(std::string_view raw);

}  // namespace kcube::api
