// Times as Go's time.Parse reads them, and what it says of a text that is none. Source: the documentation of Go's package
// time; messages checked against the real server.
#pragma once

#include <string>
#include <string_view>

#include "pkg/base/clock.h"

namespace kcube::machinery {

// Reads a time of RFC 3339; `micro`: with the six digits of a fraction that MicroTime has. Returns what is wrong, or nothing.
std::string parse_go_time(std::string_view text, bool micro, CalendarTime& time);

}  // namespace kcube::machinery
