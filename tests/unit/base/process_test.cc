#include "pkg/base/process.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace kcube {
namespace {

TEST(Process, CollectsBothStreamsAndTheExitCode) {
  auto output = process::run({"/bin/sh", "-c", "echo out; echo err >&2; exit 3"});
  ASSERT_TRUE(output);
  EXPECT_EQ(output->exit_code, 3);
  EXPECT_EQ(output->out, "out\n");
  EXPECT_EQ(output->err, "err\n");
}

TEST(Process, KillsAtTheDeadline) {
  auto output = process::run({"/bin/sh", "-c", "exec sleep 100"}, std::chrono::milliseconds(50));
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().code(), 504);
}

TEST(Process, SaysWhenTheProgramIsMissing) {
  EXPECT_EQ(process::run({"/no/such/program"}).error().code(), 404);
}

TEST(Process, KnowsItsOwnStartTime) {
  EXPECT_GT(process::start_time(::getpid()), 0u);
  EXPECT_EQ(process::start_time(0x3fffff), 0u);
}

}  // namespace
}  // namespace kcube
