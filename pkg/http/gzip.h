// gzip (RFC 1952) for answers worth compressing.
#pragma once

#include <string>
#include <vector>

#include "pkg/http/server.h"

namespace kcube::http {

// The pieces one after the other, compressed fast rather than well.
std::string gzip(const std::vector<Slice>& pieces);

}  // namespace kcube::http
