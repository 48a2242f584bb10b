// The monitor is built without exceptions. libstdc++'s own throwing helpers would pull its unwinder and half a megabyte
// of tables into the static program; here they end it instead.
#include <unistd.h>

#include <cstdlib>
#include <new>

namespace {
[[noreturn]] void stop(const char* what, size_t size) {
  [[maybe_unused]] auto n = ::write(2, what, size);
  ::abort();
}
}  // namespace

namespace std {
void __throw_length_error(const char*) { stop("monitor: length error\n", 22); }
void __throw_logic_error(const char*) { stop("monitor: logic error\n", 21); }
void __throw_out_of_range_fmt(const char*, ...) { stop("monitor: out of range\n", 22); }
void __throw_bad_alloc() { stop("monitor: out of memory\n", 23); }
void __throw_bad_array_new_length() { stop("monitor: out of memory\n", 23); }
}  // namespace std

void* operator new(size_t size) {
  if (void* p = ::malloc(size ? size : 1)) return p;
  stop("monitor: out of memory\n", 23);
}
void operator delete(void* p) noexcept { ::free(p); }
void operator delete(void* p, size_t) noexcept { ::free(p); }
extern "C" void __cxa_pure_virtual() { stop("monitor: pure virtual call\n", 27); }
