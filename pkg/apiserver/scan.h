// Reading one member of a JSON text without parsing it: for field selectors and indexes over thousands of stored objects,
// whose parsed form would cost more memory than the objects themselves. The text has been parsed before: no syntax checks.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace kcube::apiserver {

// The raw text of the member of that name of the object `text`; empty when there is none.
std::string_view scan_member(std::string_view text, std::string_view name);
std::string_view scan_path(std::string_view text, std::initializer_list<std::string_view> path);
// A path in dots: "spec.nodeName".
std::string_view scan_dotted(std::string_view text, std::string_view path);
// A scalar as selectors compare it: strings unescaped, numbers and booleans as written, absent and null "".
std::string scalar_text(std::string_view raw);

}  // namespace kcube::apiserver
