#include "pkg/base/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
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

TEST(Process, TellsTheKilledFromTheLiving) {
  process::SpawnOptions options;
  options.argv = {"/bin/sleep", "100"};
  auto child = process::spawn(options);
  ASSERT_TRUE(child);
  EXPECT_FALSE(process::is_dying(child->pid));
  ASSERT_TRUE(process::send_signal(child->pidfd, SIGKILL));
  EXPECT_TRUE(process::wait_exit(child->pidfd, std::chrono::seconds(10)));
  EXPECT_TRUE(process::is_dying(child->pid));  // a zombie still, until it is waited for
  ::waitpid(child->pid, nullptr, 0);
}

}  // namespace
}  // namespace kcube
