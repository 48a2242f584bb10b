// Processes beside a container's first one, attachments, connections into the pod.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/unit/runtime/lab.h"

namespace kcube::runtime::test {
namespace {

std::string read_all(const Fd& fd) {
  std::string out;
  char buffer[4096];
  ssize_t n;
  while ((n = ::read(fd.get(), buffer, sizeof buffer)) > 0) out.append(buffer, static_cast<size_t>(n));
  return out;
}

// Until `wanted` has come.
std::string read_until(const Fd& fd, std::string_view wanted) {
  std::string out;
  char c;
  while (out.find(wanted) == std::string::npos && ::read(fd.get(), &c, 1) == 1) out += c;
  return out;
}

void put(const Fd& fd, std::string_view text) {
  ASSERT_EQ(static_cast<ssize_t>(text.size()), ::write(fd.get(), text.data(), text.size()));
}

}  // namespace

TEST(Exec, CollectsBothStreamsAndTheCode) {
  Lab lab;
  std::string id = lab.start(lab.sandbox(), Lab::shell("exec sleep 1000"));
  auto out = lab.runtime->exec_sync(id, {"sh", "-c", "echo out; echo err >&2; exit 5"}, seconds(30));
  ASSERT_TRUE(out) << out.error().message();
  EXPECT_EQ("out\n", out->out);
  EXPECT_EQ("err\n", out->err);
  EXPECT_EQ(5, out->exit_code);
}

TEST(Exec, SeesTheContainer) {
  Lab lab;
  ContainerConfig config = Lab::shell("exec sleep 4321");
  config.env = {"MINE=yes"};
  config.security.run_as_user = 1000;
  std::string id = lab.start(lab.sandbox(), config);
  auto out = lab.runtime->exec_sync(id,
                                    {"sh", "-c",
                                     "echo $MINE $(id -u); cat /proc/1/cmdline | tr '\\0' ' '; hostname; grep -c . "
                                     "/proc/self/cgroup >/dev/null && echo in"},
                                    {});
  ASSERT_TRUE(out) << out.error().message();
  EXPECT_EQ("yes 1000\nsleep 4321 web\nin\n", out->out);
}

TEST(Exec, KillsAtTheDeadline) {
  Lab lab;
  std::string id = lab.start(lab.sandbox(), Lab::shell("exec sleep 1000"));
  auto out = lab.runtime->exec_sync(id, {"sleep", "500"}, milliseconds(100));
  ASSERT_FALSE(out);
  EXPECT_EQ(504, out.error().code());
  auto left = lab.runtime->exec_sync(id, {"sh", "-c", "ps | grep -c '[s]leep 500'"}, {});
  EXPECT_EQ("0\n", left->out);
}

TEST(Exec, DoesNotWaitForWhatItLeavesBehind) {
  Lab lab;
  std::string id = lab.start(lab.sandbox(), Lab::shell("exec sleep 1000"));
  auto out = lab.runtime->exec_sync(id, {"sh", "-c", "sleep 1000 & echo done"}, seconds(60));
  ASSERT_TRUE(out) << out.error().message();
  EXPECT_EQ("done\n", out->out);
}

TEST(Exec, SaysWhichProgramIsMissing) {
  Lab lab;
  std::string id = lab.start(lab.sandbox(), Lab::shell("exec sleep 1000"));
  auto out = lab.runtime->exec_sync(id, {"nothing"}, {});
  ASSERT_FALSE(out);
  EXPECT_EQ("exec: \"nothing\": executable file not found in $PATH", out.error().message());
}

TEST(Exec, IsRefusedWhenTheContainerHasEnded) {
  Lab lab;
  std::string id = lab.start(lab.sandbox(), Lab::shell("exit 0"));
  lab.wait_exit(id);
  EXPECT_FALSE(lab.runtime->exec_sync(id, {"true"}, {}));
  EXPECT_TRUE(lab.runtime->exec_sync("no-such", {"true"}, {}).error().is_not_found());
}

TEST(Exec, StreamsBothWays) {
  Lab lab;
  std::string id = lab.start(lab.sandbox(), Lab::shell("exec sleep 1000"));
  auto session = lab.runtime->exec(id, {"sh", "-c", "cat; echo end >&2; exit 4"}, {.stdin = true});
  ASSERT_TRUE(session) << session.error().message();
  put(session->in, "through\n");
  session->in.reset();
  EXPECT_EQ("through\n", read_all(session->out));
  EXPECT_EQ("end\n", read_all(session->err));
  EXPECT_EQ(4, session->wait().value_or(-1));
}

TEST(Exec, HasATerminalThatCanBeResized) {
  Lab lab;
  std::string id = lab.start(lab.sandbox(), Lab::shell("exec sleep 1000"));
  auto session =
      lab.runtime->exec(id, {"sh", "-c", "tty; read line; stty size; echo got $line"}, {.stdin = true, .tty = true});
  ASSERT_TRUE(session) << session.error().message();
  EXPECT_NE(std::string::npos, read_until(session->out, "\n").find("/dev/pts/"));
  session->resize({123, 45});
  put(session->in, "word\n");
  std::string rest = read_all(session->out);
  EXPECT_NE(std::string::npos, rest.find("45 123")) << rest;
  EXPECT_NE(std::string::npos, rest.find("got word")) << rest;
  EXPECT_EQ(0, session->wait().value_or(-1));
}

TEST(Attach, ReadsAndWritesTheFirstProcess) {
  Lab lab;
  ContainerConfig config = Lab::shell("while read line; do echo heard $line; done; echo over");
  config.stdin = config.stdin_once = true;
  std::string id = lab.start(lab.sandbox(), config);
  auto session = lab.runtime->attach(id, {.stdin = true});
  ASSERT_TRUE(session) << session.error().message();
  put(session->in, "one\n");
  EXPECT_EQ("heard one\n", read_until(session->out, "\n"));
  session->in.reset();  // stdinOnce: the end of the first attachment's input is the end of the container's
  EXPECT_EQ("over\n", read_all(session->out));
  EXPECT_EQ(0, session->wait().value_or(-1));
  EXPECT_EQ("heard one\nover\n", Lab::log_text(lab.wait_exit(id).log_path));
}

TEST(Attach, ToATerminal) {
  Lab lab;
  ContainerConfig config = Lab::shell("tty; read line; echo heard $line");
  config.stdin = config.tty = true;
  std::string id = lab.start(lab.sandbox(), config);
  auto session = lab.runtime->attach(id, {.stdin = true, .tty = true});
  ASSERT_TRUE(session) << session.error().message();
  put(session->in, "hello\n");
  EXPECT_NE(std::string::npos, read_all(session->out).find("heard hello"));
  EXPECT_NE(std::string::npos, Lab::log_text(lab.wait_exit(id).log_path).find("/dev/"));
}

TEST(Dial, ReachesAServerInThePod) {
  Lab lab;
  std::string pod = lab.sandbox();
  std::string id = lab.start(pod, Lab::shell("echo up; exec nc -l -p 8080 -e /bin/echo from-the-pod"));
  Result<Fd> connection = fail(Status::internal("not tried"));
  for (int i = 0; i < 400 && !connection; ++i, ::usleep(5000)) connection = lab.runtime->dial(pod, 8080);
  ASSERT_TRUE(connection) << connection.error().message();
  EXPECT_EQ("from-the-pod\n", read_all(*connection));
  auto refused = lab.runtime->dial(pod, 9);
  ASSERT_FALSE(refused);
  EXPECT_NE(std::string::npos, refused.error().message().find("refused")) << refused.error().message();
}

}  // namespace kcube::runtime::test
