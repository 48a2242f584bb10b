// How deep JSON may nest. Everything that works on values recursively may count on kUsualDepth; a body of strangers may be
// as deep as kMostDepth, as it may be for kube-apiserver, when what is deep in it is dropped.
#pragma once

#include "pkg/api/json.h"

namespace kcube::json {

constexpr int kUsualDepth = 512, kMostDepth = 10'000;

// parse() up to kMostDepth. The value may be destroyed (80 bytes of stack a level, 190 in sanitized builds) but not copied (900 in
// those), nor walked recursively otherwise.
Result<value> parse_deep(std::string_view text);
// Whether it nests deeper than `most`; looks no deeper.
bool is_deeper(const value& v, int most);

}  // namespace kcube::json
