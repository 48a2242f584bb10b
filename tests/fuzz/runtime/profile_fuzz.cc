// Seccomp profiles come from users: a bad one is refused, a good one compiles to whole instructions.
#include <linux/filter.h>

#include "runtime/seccomp.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  auto filter = kcube::runtime::seccomp_filter_from(std::string(reinterpret_cast<const char*>(bytes), size), 0);
  if (filter && filter->size() % sizeof(sock_filter) != 0) __builtin_trap();
  return 0;
}
