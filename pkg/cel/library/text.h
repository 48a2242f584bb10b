// Text helpers that several libraries share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kcube::cel {

bool valid_utf8(std::string_view text);
// Where each code point begins, and one past the end.
std::vector<size_t> code_points(std::string_view text);
// Go's %g: shortest, with an exponent below 1e-4 and from 1e6.
std::string shortest_number(double d);
// Go's %q for ASCII text.
std::string quoted(std::string_view text);

}  // namespace kcube::cel
