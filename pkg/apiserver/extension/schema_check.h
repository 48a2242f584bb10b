// One value against one schema, in the words of the real server's OpenAPI validator. Internal to the folder.
#pragma once

#include <string>
#include <vector>

#include "pkg/apiserver/extension/structural.h"

namespace kcube::apiserver::extension {

// Every violation of `schema` by `value` and what is beneath it. With `old`, parts that equal what they correspond to there
// are passed over: invalid before, they may stay so.
std::vector<Cause> check_schema(const Structural& schema, const json::value& value, const json::value* old);
// Whether text is of that format; formats that are not known fit everything.
bool fits_format(std::string_view format, std::string_view text);

// The element of the list `old` that stands for `item` of `list`: by keys for maps, else null.
const json::value* counterpart(const Structural& list_schema, const json::value& item, const json::value* old);

}  // namespace kcube::apiserver::extension
