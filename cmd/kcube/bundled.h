// What travels inside the binary: an archive with the demo application's image.
#pragma once

#include <string_view>

namespace kcube::cli {

std::string_view bundled_images();
inline constexpr const char* kDemoImage = "kcube.io/demo:1";

}  // namespace kcube::cli
