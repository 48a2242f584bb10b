// The header of a JWS (RFC 7515). Private to pkg/auth.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace kcube::auth {

// Reads a flat JSON object of strings and scalars. False when it is anything else, or has a member twice: which one
// would count?
bool read_jws_header(std::string_view text, std::map<std::string, std::string>& members);

}  // namespace kcube::auth
