#include "pkg/base/last_words.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

namespace kcube {
namespace {

// A sanitizer speaks itself when a process dies: there install_last_words() does nothing, and there is nothing to test.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

void* nowhere() { return ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

TEST(LastWords, NameTheSignalTheThreadAndThePlace) {
  auto die = [] {
    install_last_words();
    *static_cast<volatile char*>(nowhere()) = 1;
  };
  EXPECT_EXIT(die(), testing::KilledBySignal(SIGSEGV), "kcube: died of SIGSEGV at 0x[0-9a-f]+ in thread base_test.*\n  0x[0-9a-f]+\n  0x[0-9a-f]+\n");
}

TEST(LastWords, AreSaidOfAnAbort) {
  auto die = [] {
    install_last_words();
    ::abort();
  };
  EXPECT_EXIT(die(), testing::KilledBySignal(SIGABRT), "kcube: died of SIGABRT in thread base_test");
}

int overflow(int depth) {
  volatile char frame[4096];
  frame[depth % 4096] = static_cast<char>(depth);
  return depth > (1 << 30) ? 0 : overflow(depth + 1) + frame[0];
}

TEST(LastWords, AreSaidOfAStackThatIsFull) {
  auto die = [] {
    install_last_words();
    (void)overflow(0);
  };
  EXPECT_EXIT(die(), testing::KilledBySignal(SIGSEGV), "kcube: died of SIGSEGV");
}

#endif

}  // namespace
}  // namespace kcube
