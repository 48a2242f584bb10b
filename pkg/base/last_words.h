// What a process says when it dies of a fault of its own: which signal, in which thread, and where, as addresses that
// `addr2line -e kcube` turns into lines. Source: sigaction(2), sigaltstack(2).
#pragma once

namespace kcube {

// Writes them to standard error from now on, for SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT, then dies of the signal as it
// would have. Call once, before other threads run; in sanitized builds it leaves signals to the sanitizer. An overflown
// stack is told of in the calling thread only.
void install_last_words();

}  // namespace kcube
