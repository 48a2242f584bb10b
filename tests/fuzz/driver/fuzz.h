// What a fuzz target defines. The driver's main() runs it in a child that may die.
//
//   TARGET [-t SECONDS] [-s SEED] [-o FINDINGS] [-c CORPUS]   looks for inputs that crash, hang or take too much memory
//   TARGET -r FILE...                                         runs the inputs once, without a child
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

// Crashes (a trap, a check, a sanitizer) when something is wrong with what became of the bytes.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size);

namespace kcube::fuzz {

// Inputs to begin with: small ones that reach much.
std::vector<std::string> seeds();

// Says which line asked, since a trap alone does not.
inline void require(bool condition, std::source_location where = std::source_location::current()) {
  if (condition) return;
  std::fprintf(stderr, "%s:%u: check failed in %s\n", where.file_name(), static_cast<unsigned>(where.line()), where.function_name());
  __builtin_trap();
}
inline std::string_view text(const uint8_t* bytes, size_t size) { return {reinterpret_cast<const char*>(bytes), size}; }

}  // namespace kcube::fuzz
