#include "cmd/kcube/bundled.h"

extern "C" {
extern const unsigned char kcube_demo_image[];
extern const unsigned long kcube_demo_image_size;
}

namespace kcube::cli {

std::string_view bundled_images() { return {reinterpret_cast<const char*>(kcube_demo_image), kcube_demo_image_size}; }

}  // namespace kcube::cli
