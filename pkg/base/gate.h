// A gate: shut until it is opened, once. Those who wait are let through by one call to the kernel, and sleep at once:
// std::binary_semaphore yields the processor a few times first, which costs more than it saves when there are more threads
// than processors. Thread-safe. Source: futex(2).
#pragma once

#include <atomic>
#include <cstdint>

namespace kcube {

class Gate {
 public:
  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // What happened before open() is seen after wait().
  void open();
  void wait() const;

 private:
  std::atomic<uint32_t> open_{0};
};

}  // namespace kcube
