// Image references: what parses must parse again, to the same.
#include "pkg/base/status.h"
#include "runtime/image_store.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using kcube::runtime::ImageReference;
  auto reference = ImageReference::parse(std::string(reinterpret_cast<const char*>(data), size));
  if (!reference) {
    KCUBE_CHECK(reference.error().code() == 400);
    return 0;
  }
  std::string text = reference->to_string();
  auto again = ImageReference::parse(text);
  KCUBE_CHECK(again && again->to_string() == text && again->name() == reference->name());
  return 0;
}
