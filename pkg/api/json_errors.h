// What is wrong with a text that is no JSON, in the words of Go's encoding/json, which clients of Kubernetes know; and what
// of such a text Go takes nevertheless. Private to pkg/api; on no way that a good text takes.
#pragma once

#include <string>
#include <string_view>

namespace kcube::json {

// "invalid character 'x' looking for beginning of value", "unexpected end of JSON input", …; empty for a good text.
std::string syntax_error(std::string_view text, int max_depth);

// With U+FFFD in place of bytes that are no UTF-8 and of escaped surrogates that have no partner.
std::string repaired(std::string_view text);

}  // namespace kcube::json
