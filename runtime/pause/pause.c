// pause: holds a pod's namespaces open. As PID 1 of a shared PID namespace it reaps what is orphaned there.
//
// No C library: the program is a few kilobytes, and its resident memory is a page or two. All signals are blocked and
// taken one by one, because PID 1 of a namespace is deaf to signals with a default disposition unless it blocks them.
#include <asm/unistd.h>
#include <linux/prctl.h>

enum { kSigInt = 2, kSigTerm = 15, kSigChld = 17, kNoHang = 1, kSigBlock = 0 };

static long call(long number, long a, long b, long c, long d) {
#if defined(__x86_64__)
  long result;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
#else
#error "pause: teach call() this processor's system call convention"
#endif
}

void _start(void) {
  unsigned long all = ~0ul;
  static const char name[] = "pause";
  call(__NR_prctl, PR_SET_NAME, (long)name, 0, 0);
  call(__NR_rt_sigprocmask, kSigBlock, (long)&all, 0, sizeof all);
  for (;;) {
    long signal = call(__NR_rt_sigtimedwait, (long)&all, 0, 0, sizeof all);
    if (signal == kSigTerm || signal == kSigInt) call(__NR_exit_group, 0, 0, 0, 0);
    if (signal == kSigChld)
      while (call(__NR_wait4, -1, 0, kNoHang, 0) > 0) {
      }
  }
}
