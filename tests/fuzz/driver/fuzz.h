// What a fuzz target defines. The driver's main() runs it in a child that may die.
//
//   TARGET [-t SECONDS] [-s SEED] [-o FINDINGS] [-c CORPUS]   looks for inputs that crash, hang or take too much memory
//   TARGET -r FILE...                                         runs the inputs once, without a child
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Crashes (a trap, a check, a sanitizer) when something is wrong with what became of the bytes.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size);

namespace kcube::fuzz {

// Inputs to begin with: small ones that reach much.
std::vector<std::string> seeds();

inline void require(bool condition) {
  if (!condition) __builtin_trap();
}
inline std::string_view text(const uint8_t* bytes, size_t size) { return {reinterpret_cast<const char*>(bytes), size}; }

}  // namespace kcube::fuzz
