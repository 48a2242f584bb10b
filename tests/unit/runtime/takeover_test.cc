// Containers outlive kcube: a killed process leaves pods behind that the next one takes over.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <functional>

#include "tests/unit/runtime/lab.h"

namespace kcube::runtime::test {
namespace {

// Runs `body` with a runtime in a process of its own, takes the line it returns, and kills the process with SIGKILL.
std::string in_killed_process(Lab& lab, const std::function<std::string(PodRuntime&)>& body) {
  int ends[2];
  EXPECT_EQ(0, ::pipe2(ends, O_CLOEXEC));
  Fd in(ends[0]), out(ends[1]);
  pid_t pid = ::fork();
  if (pid == 0) {
    auto runtime = open_runtime(lab.options);
    std::string text = runtime ? body(**runtime) + "\n" : "\n";
    if (::write(out.get(), text.data(), text.size()) < 0) ::_exit(1);
    for (;;) ::pause();
  }
  out.reset();
  std::string line;
  char c;
  while (::read(in.get(), &c, 1) == 1 && c != '\n') line += c;
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  return line;
}

std::vector<std::string> words(const std::string& line) {
  std::vector<std::string> out;
  for (auto word : split(line, ' ')) out.emplace_back(word);
  return out;
}

}  // namespace

TEST(Takeover, FindsTheSameProcessesAgain) {
  Lab lab(false);
  auto ids = words(in_killed_process(lab, [&](PodRuntime& runtime) -> std::string {
    auto sandbox = runtime.run_sandbox(lab.pod());
    if (!sandbox) return sandbox.error().message();
    ContainerConfig config = Lab::shell("trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.05; done");
    config.labels = {{"app", "web"}};
    auto running = runtime.create_container(sandbox->id, config);
    (void)runtime.start_container(*running);
    auto created = runtime.create_container(sandbox->id, Lab::shell("echo late"));
    return sandbox->id + " " + *running + " " + *created + " " +
           std::to_string(runtime.container_status(*running)->pid) + " " + std::to_string(sandbox->pause_pid);
  }));
  ASSERT_EQ(5u, ids.size()) << ids[0];
  lab.open();
  auto sandboxes = lab.runtime->list_sandboxes();
  ASSERT_EQ(1u, sandboxes->size());
  const SandboxStatus& sandbox = sandboxes->front();
  EXPECT_EQ(ids[0], sandbox.id);
  EXPECT_EQ(SandboxState::ready, sandbox.state);
  EXPECT_EQ("web", sandbox.name);
  EXPECT_EQ(ids[4], std::to_string(sandbox.pause_pid));
  auto status = lab.runtime->container_status(ids[1]);
  ASSERT_TRUE(status);
  EXPECT_EQ(ContainerState::running, status->state);
  EXPECT_EQ(ids[3], std::to_string(status->pid));
  EXPECT_EQ("web", status->labels["app"]);

  // It goes on as if nothing had happened: exec, a new container, a container made before, the end.
  auto out = lab.runtime->exec_sync(ids[1], {"echo", "still here"}, {});
  ASSERT_TRUE(out) << out.error().message();
  EXPECT_EQ("still here\n", out->out);
  auto late = lab.runtime->start_container(ids[2]);
  ASSERT_TRUE(late) << late.error().message();
  EXPECT_EQ("late\n", Lab::log_text(lab.wait_exit(ids[2]).log_path));
  EXPECT_TRUE(lab.runtime->stop_container(ids[1], seconds(20)));
  status = lab.runtime->container_status(ids[1]);
  EXPECT_EQ(9, status->exit_code);
  EXPECT_EQ("ready\nbye\n", Lab::log_text(status->log_path));
}

TEST(Takeover, LearnsHowContainersEndedMeanwhile) {
  Lab lab(false);
  auto ids = words(in_killed_process(lab, [&](PodRuntime& runtime) -> std::string {
    auto sandbox = runtime.run_sandbox(lab.pod());
    auto id = runtime.create_container(sandbox->id, Lab::shell("sleep 0.3; exit 6"));
    (void)runtime.start_container(*id);
    ContainerConfig missing = Lab::shell("");
    missing.command = {"/none"};
    auto failed = runtime.create_container(sandbox->id, missing);
    (void)runtime.start_container(*failed);
    return *id + " " + *failed;
  }));
  ASSERT_EQ(2u, ids.size());
  ::usleep(400000);  // the container ends while nobody looks
  lab.open();
  auto status = lab.runtime->container_status(ids[0]);
  ASSERT_TRUE(status);
  EXPECT_EQ(ContainerState::exited, status->state);
  EXPECT_EQ(6, status->exit_code);
  EXPECT_GT(status->finished_at, status->started_at);
  status = lab.runtime->container_status(ids[1]);
  EXPECT_EQ("StartError", status->reason);
  EXPECT_NE(std::string::npos, status->message.find("/none"));
}

TEST(Takeover, KnowsThatAPodIsGoneWhenItsMonitorIs) {
  Lab lab(false);
  auto ids = words(in_killed_process(lab, [&](PodRuntime& runtime) -> std::string {
    auto sandbox = runtime.run_sandbox(lab.pod());
    auto id = runtime.create_container(sandbox->id, Lab::shell("exec sleep 1000"));
    (void)runtime.start_container(*id);
    return sandbox->id + " " + *id + " " + std::to_string(runtime.container_status(*id)->pid);
  }));
  ASSERT_EQ(3u, ids.size());
  std::string stat = slurp("/proc/" + ids[2] + "/stat");
  pid_t monitor = static_cast<pid_t>(std::stoi(stat.substr(stat.rfind(')') + 4)));
  ASSERT_EQ("kcube-monitor\n", slurp("/proc/" + std::to_string(monitor) + "/comm"));
  ASSERT_EQ(0, ::kill(monitor, SIGKILL));
  for (int i = 0; i < 1000 && ::kill(monitor, 0) == 0 &&
                  slurp("/proc/" + std::to_string(monitor) + "/stat").find(") Z") == std::string::npos;
       ++i)
    ::usleep(5000);
  lab.open();
  EXPECT_EQ(SandboxState::not_ready, lab.runtime->sandbox_status(ids[0])->state);
  EXPECT_EQ(ContainerState::exited, lab.runtime->container_status(ids[1])->state);
  EXPECT_EQ(137, lab.runtime->container_status(ids[1])->exit_code);
  EXPECT_TRUE(lab.runtime->remove_sandbox(ids[0]));
}

TEST(Takeover, AMonitorsDeathEndsThePodAtOnce) {
  Lab lab;
  std::string pod = lab.sandbox();
  std::string id = lab.start(pod, Lab::shell("exec sleep 1000"));
  std::string stat = slurp("/proc/" + std::to_string(lab.runtime->container_status(id)->pid) + "/stat");
  ASSERT_EQ(0, ::kill(static_cast<pid_t>(std::stoi(stat.substr(stat.rfind(')') + 4))), SIGKILL));
  EXPECT_EQ(137, lab.wait_exit(id).exit_code);
  EXPECT_EQ(SandboxState::not_ready, lab.runtime->sandbox_status(pod)->state);
  EXPECT_TRUE(lab.runtime->remove_sandbox(pod));
  EXPECT_TRUE(lab.runtime->list_sandboxes()->empty());
}

TEST(Takeover, TheMonitorLeavesOurSessionAndCgroup) {
  Lab lab;
  std::string pod = lab.sandbox();
  pid_t pause = lab.runtime->sandbox_status(pod)->pause_pid;
  std::string stat = slurp("/proc/" + std::to_string(pause) + "/stat");
  std::string monitor = "/proc/" + std::to_string(std::stoi(stat.substr(stat.rfind(')') + 4)));
  auto unified = [](const std::string& text) {
    for (auto line : split(text, '\n'))
      if (line.starts_with("0::")) return std::string(line);
    return std::string();
  };
  std::string cgroup = unified(slurp(monitor + "/cgroup"));
  if (!cgroup.empty()) {
    EXPECT_NE(std::string::npos, cgroup.find(pod)) << cgroup;
  }
  stat = slurp(monitor + "/stat");
  auto fields = split(stat.substr(stat.rfind(')') + 2), ' ');
  EXPECT_NE(std::to_string(::getsid(0)), std::string(fields[3]));
  EXPECT_NE(std::to_string(::getpid()), std::string(fields[1]));
}

TEST(Takeover, RemovesWhatWasLeftHalfMade) {
  Lab lab(false);
  std::string id(64, 'a');
  ASSERT_TRUE(file::make_dirs(lab.options.state_dir + "/" + id + "/containers"));
  ASSERT_TRUE(file::write(lab.options.state_dir + "/" + id + "/record", "garbage"));
  ASSERT_TRUE(file::make_dirs(lab.options.data_dir + "/" + std::string(64, 'b') + "/upper"));
  lab.open();
  EXPECT_TRUE(lab.runtime->list_sandboxes()->empty());
  EXPECT_TRUE(file::list(lab.options.state_dir)->empty());
  EXPECT_TRUE(file::list(lab.options.data_dir)->empty());
}

TEST(Takeover, ResetRemovesWhatAKilledProcessLeft) {
  Lab lab(false);
  auto pids = words(in_killed_process(lab, [&](PodRuntime& runtime) -> std::string {
    auto sandbox = runtime.run_sandbox(lab.pod());
    auto id = runtime.create_container(sandbox->id, Lab::shell("exec sleep 1000"));
    (void)runtime.start_container(*id);
    return std::to_string(sandbox->pause_pid) + " " + std::to_string(runtime.container_status(*id)->pid);
  }));
  ASSERT_EQ(2u, pids.size());
  lab.images->leases.clear();  // taken by the other process
  auto gone = reset_runtime(lab.options);
  ASSERT_TRUE(gone) << gone.error().message();
  for (const auto& pid : pids) EXPECT_FALSE(file::exists("/proc/" + pid));
  EXPECT_FALSE(file::exists(lab.options.state_dir));
  EXPECT_FALSE(file::exists(lab.options.data_dir));
  for (const char* root : {"/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"})
    EXPECT_FALSE(file::exists(root + lab.options.cgroup_root));
}

}  // namespace kcube::runtime::test
