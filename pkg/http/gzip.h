// gzip (RFC 1952) for answers worth compressing.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace kcube::http {

// The pieces one after the other, compressed fast rather than well.
std::string gzip(const std::vector<std::shared_ptr<const std::string>>& pieces);

}  // namespace kcube::http
