#include "pkg/base/event_loop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "pkg/base/fd.h"

namespace kcube {
namespace {

TEST(EventLoop, RunsPostedActionsTimersAndReads) {
  auto loop = EventLoop::create();
  ASSERT_TRUE(loop);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  Fd in(ends[0]), out(ends[1]);
  bool read = false, timed = false;
  ASSERT_TRUE((*loop)->watch(in.get(), EPOLLIN, [&](uint32_t) {
    read = true;
    (*loop)->unwatch(in.get());
    (*loop)->schedule(std::chrono::milliseconds(1), [&] {
      timed = true;
      (*loop)->stop();
    });
  }));
  std::thread other([&] { (*loop)->post([&] { EXPECT_EQ(::write(out.get(), "x", 1), 1); }); });
  (*loop)->run();
  other.join();
  EXPECT_TRUE(read);
  EXPECT_TRUE(timed);
}

}  // namespace
}  // namespace kcube
