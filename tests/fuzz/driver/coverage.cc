#include "tests/fuzz/driver/coverage.h"

#include <cstring>

namespace {

struct Operand {
  uint8_t size;
  char bytes[31];
};

constexpr size_t kOperands = 256;
uint8_t edges[kcube::fuzz::coverage::kMapSize];
Operand ring[kOperands];
size_t ring_next = 0;
thread_local bool recording = false;
thread_local uintptr_t previous = 0;

// All of this file is compiled without instrumentation: it is called by instrumented code.

void keep(const void* bytes, size_t size) {
  Operand& slot = ring[ring_next++ % kOperands];
  slot.size = static_cast<uint8_t>(size < sizeof slot.bytes ? size : sizeof slot.bytes);
  __builtin_memcpy(slot.bytes, bytes, slot.size);
}

template <typename T>
void compared(T a, T b) {
  if (!recording || a == b) return;
  keep(&a, sizeof a);
  keep(&b, sizeof b);
}

void texts(const void* a, const void* b, size_t n, int result) {
  if (!recording || result == 0 || n < 2) return;
  keep(a, n);
  keep(b, n);
}

}  // namespace

extern "C" {

void __sanitizer_cov_trace_pc() {
  if (!recording) return;
  auto here = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  uintptr_t mixed = here * 0x9E3779B97F4A7C15U >> 40;
  uint8_t& edge = edges[(mixed ^ previous) % sizeof edges];
  if (edge != 255) ++edge;
  previous = mixed >> 1;
}
void __sanitizer_cov_trace_cmp1(uint8_t, uint8_t) {}
void __sanitizer_cov_trace_cmp2(uint16_t a, uint16_t b) { compared(a, b); }
void __sanitizer_cov_trace_cmp4(uint32_t a, uint32_t b) { compared(a, b); }
void __sanitizer_cov_trace_cmp8(uint64_t a, uint64_t b) { compared(a, b); }
void __sanitizer_cov_trace_const_cmp1(uint8_t, uint8_t) {}
void __sanitizer_cov_trace_const_cmp2(uint16_t a, uint16_t b) { compared(a, b); }
void __sanitizer_cov_trace_const_cmp4(uint32_t a, uint32_t b) { compared(a, b); }
void __sanitizer_cov_trace_const_cmp8(uint64_t a, uint64_t b) { compared(a, b); }
void __sanitizer_cov_trace_cmpf(float, float) {}
void __sanitizer_cov_trace_cmpd(double, double) {}
void __sanitizer_cov_trace_switch(uint64_t, void*) {}
// The address sanitizer's interceptors call these.
void __sanitizer_weak_hook_memcmp(void*, const void* a, const void* b, size_t n, int result) { texts(a, b, n, result); }

}  // extern "C"

namespace kcube::fuzz::coverage {

void start() {
  std::memset(edges, 0, sizeof edges);
  ring_next = 0;
  previous = 0;
  recording = true;
}

void stop() { recording = false; }

const uint8_t* map() { return edges; }

std::vector<std::string> operands() {
  std::vector<std::string> out;
  for (size_t i = 0; i < (ring_next < kOperands ? ring_next : kOperands); ++i) out.emplace_back(ring[i].bytes, ring[i].size);
  return out;
}

}  // namespace kcube::fuzz::coverage
