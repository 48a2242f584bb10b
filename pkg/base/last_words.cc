#include "pkg/base/last_words.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <unwind.h>

#include <cstdint>

namespace kcube {
namespace {

// A handler may call little: no allocation, no stdio.
struct Line {
  char text[256];
  size_t size = 0;
  void add(const char* s) {
    while (*s != '\0' && size < sizeof text) text[size++] = *s++;
  }
  void add_hex(uintptr_t v) {
    add("0x");
    int shift = 60;
    while (shift > 0 && v >> shift == 0) shift -= 4;
    for (; shift >= 0; shift -= 4)
      if (size < sizeof text) text[size++] = "0123456789abcdef"[v >> shift & 15];
  }
  void write() {
    if (size == sizeof text) --size;
    text[size++] = '\n';
    (void)!::write(STDERR_FILENO, text, size);
  }
};

_Unwind_Reason_Code frame(_Unwind_Context* context, void* data) {
  constexpr int kMost = 64;
  Line line;
  line.add("  ");
  line.add_hex(_Unwind_GetIP(context));
  line.write();
  return ++*static_cast<int*>(data) < kMost ? _URC_NO_REASON : _URC_END_OF_STACK;
}

void speak(int signal, siginfo_t* info, void*) {
  char name[16] = "";
  ::prctl(PR_GET_NAME, name);
  Line line;
  line.add("kcube: died of SIG");
  line.add(::sigabbrev_np(signal));
  if (signal != SIGABRT) {
    line.add(" at ");
    line.add_hex(reinterpret_cast<uintptr_t>(info->si_addr));
  }
  line.add(" in thread ");
  line.add(name);
  line.add("; addr2line -Cfie kcube tells where these are:");
  line.write();
  int depth = 0;
  _Unwind_Backtrace(frame, &depth);
  ::raise(signal);   // SA_RESETHAND: of the default action this time
}

}  // namespace

void install_last_words() {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  static char stack[64 << 10];
  stack_t alternative{stack, 0, sizeof stack};
  ::sigaltstack(&alternative, nullptr);
  struct sigaction action = {};
  action.sa_sigaction = speak;
  action.sa_flags = static_cast<int>(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND);
  for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) ::sigaction(signal, &action, nullptr);
#endif
}

}  // namespace kcube
