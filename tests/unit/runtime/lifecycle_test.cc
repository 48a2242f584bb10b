// A pod's life: sandbox, container, log, end, removal.
#include <signal.h>

#include <thread>

#include "tests/unit/runtime/lab.h"

namespace kcube::runtime::test {

TEST(Lifecycle, RunsACommandAndKeepsItsLog) {
  Lab lab;
  std::string pod = lab.sandbox();
  auto id = lab.runtime->create_container(pod, Lab::shell("echo hello; echo oops >&2; exit 3"));
  ASSERT_TRUE(id) << id.error().message();
  EXPECT_EQ(ContainerState::created, lab.runtime->container_status(*id)->state);
  auto started = lab.runtime->start_container(*id);
  ASSERT_TRUE(started) << started.error().message();
  ContainerStatus status = lab.wait_exit(*id);
  EXPECT_EQ(3, status.exit_code);
  EXPECT_EQ("Error", status.reason);
  EXPECT_GE(status.finished_at, status.started_at);
  std::string log = slurp(status.log_path);
  EXPECT_NE(std::string::npos, log.find(" stdout F hello\n")) << log;
  EXPECT_NE(std::string::npos, log.find(" stderr F oops\n")) << log;
}

TEST(Lifecycle, StopsWithTheStopSignalFirst) {
  Lab lab;
  std::string pod = lab.sandbox();
  std::string id = lab.start(pod, Lab::shell("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"));
  auto status = lab.runtime->container_status(id);
  EXPECT_EQ(ContainerState::running, status->state);
  EXPECT_GT(status->pid, 0);
  while (Lab::log_text(status->log_path).empty()) ::usleep(2000);
  EXPECT_TRUE(lab.runtime->stop_container(id, seconds(20)));
  status = lab.runtime->container_status(id);
  EXPECT_EQ(7, status->exit_code);
  EXPECT_EQ("ready\nbye\n", Lab::log_text(status->log_path));
  EXPECT_TRUE(lab.runtime->stop_container(id, seconds(20)));  // nothing left to do
}

TEST(Lifecycle, KillsWhatIgnoresItsStopSignal) {
  Lab lab;
  std::string id = lab.start(lab.sandbox(), Lab::shell("trap '' TERM; while :; do sleep 1; done"));
  EXPECT_TRUE(lab.runtime->stop_container(id, milliseconds(50)));
  EXPECT_EQ(137, lab.runtime->container_status(id)->exit_code);
}

TEST(Lifecycle, SecondStopWithAShorterGraceTakesEffect) {
  Lab lab;
  std::string id = lab.start(lab.sandbox(), Lab::shell("trap '' TERM; while :; do sleep 1; done"));
  std::thread patient([&] { EXPECT_TRUE(lab.runtime->stop_container(id, std::chrono::hours(1))); });
  EXPECT_TRUE(lab.runtime->stop_container(id, milliseconds(50)));
  patient.join();
  EXPECT_EQ(137, lab.runtime->container_status(id)->exit_code);
}

TEST(Lifecycle, SaysWhyAProgramCannotStart) {
  Lab lab;
  std::string pod = lab.sandbox();
  ContainerConfig config = Lab::shell("");
  config.command = {"/bin/no-such-program"};
  auto id = lab.runtime->create_container(pod, config);
  ASSERT_TRUE(id);
  auto started = lab.runtime->start_container(*id);
  ASSERT_FALSE(started);
  EXPECT_EQ("StartError", started.error().reason());
  EXPECT_NE(std::string::npos, started.error().message().find("no such file or directory"))
      << started.error().message();
  auto status = lab.runtime->container_status(*id);
  EXPECT_EQ(ContainerState::exited, status->state);
  EXPECT_EQ(128, status->exit_code);
  EXPECT_EQ("StartError", status->reason);
}

TEST(Lifecycle, LeavesNothingBehind) {
  Lab lab;
  std::string pod = lab.sandbox();
  std::string id = lab.start(pod, Lab::shell("touch /file; sleep 1000"));
  pid_t pid = lab.runtime->container_status(id)->pid;
  EXPECT_TRUE(lab.runtime->remove_sandbox(pod));
  EXPECT_EQ(-1, ::kill(pid, 0));
  EXPECT_TRUE(lab.runtime->list_sandboxes()->empty());
  EXPECT_TRUE(lab.runtime->list_containers("")->empty());
  EXPECT_TRUE(file::list(lab.options.state_dir)->empty());
  EXPECT_TRUE(file::list(lab.options.data_dir)->empty());
  EXPECT_TRUE(lab.runtime->remove_sandbox(pod));
  EXPECT_TRUE(lab.runtime->container_status(id).error().is_not_found());
}

TEST(Lifecycle, TellsOfEveryChange) {
  Lab lab;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Event::Type> seen;
  lab.runtime->set_event_sink([&](const Event& event) {
    std::lock_guard lock(mutex);
    seen.push_back(event.type);
    changed.notify_all();
  });
  std::string pod = lab.sandbox();
  std::string id = lab.start(pod, Lab::shell("exit 0"));
  {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, seconds(20),
                                 [&] { return std::ranges::count(seen, Event::Type::container_stopped) == 1; }));
  }
  EXPECT_EQ("Completed", lab.runtime->container_status(id)->reason);
  EXPECT_TRUE(lab.runtime->remove_sandbox(pod));
  lab.runtime->set_event_sink(nullptr);
  for (auto type : {Event::Type::container_created, Event::Type::container_started, Event::Type::container_stopped,
                    Event::Type::container_removed, Event::Type::sandbox_stopped})
    EXPECT_EQ(1, std::ranges::count(seen, type)) << static_cast<int>(type);
}

TEST(Lifecycle, ManyPodsAtOnce) {
  Lab lab;
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 4; ++i) {
        std::string pod = lab.sandbox();
        ContainerConfig config = Lab::shell("echo up; exec sleep 1000");
        config.log_path = "main/" + pod;
        std::string id = lab.start(pod, config);
        auto out = lab.runtime->exec_sync(id, {"echo", "in"}, {});
        EXPECT_TRUE(out && out->out == "in\n");
        // It may be killed before it has said anything.
        const std::string log = lab.runtime->container_status(id)->log_path;
        while (Lab::log_text(log).empty()) ::usleep(2000);
        EXPECT_TRUE(lab.runtime->stop_container(id, {}));
        EXPECT_EQ("up\n", Lab::log_text(log));
        EXPECT_TRUE(lab.runtime->remove_sandbox(pod));
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(lab.runtime->list_sandboxes()->empty());
}

TEST(Lifecycle, KeepsNoDescriptorsOfPodsThatAreGone) {
  Lab lab;
  auto count = [] { return file::list("/proc/self/fd")->size(); };
  size_t before = 0;
  for (int i = 0; i < 4; ++i) {
    std::string pod = lab.sandbox();
    std::string id = lab.start(pod, Lab::shell("exec sleep 1000"));
    (void)lab.runtime->exec_sync(id, {"true"}, {});
    EXPECT_TRUE(lab.runtime->remove_sandbox(pod));
    if (i == 0) before = count();
  }
  EXPECT_LE(count(), before + 1);
}

TEST(Lifecycle, RefusesWhatTheImageLacks) {
  Lab lab;
  std::string pod = lab.sandbox();
  ContainerConfig config = Lab::shell("true");
  config.security.run_as_username = "nobody-here";
  auto id = lab.runtime->create_container(pod, config);
  ASSERT_FALSE(id);
  EXPECT_EQ("CreateContainerError", id.error().reason());
  EXPECT_TRUE(file::list(lab.options.data_dir)->empty());
}

}  // namespace kcube::runtime::test
