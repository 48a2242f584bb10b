// Pods with a user namespace of their own (hostUsers: false).
#include <sys/stat.h>

#include "tests/unit/runtime/lab.h"

namespace kcube::runtime::test {
namespace {

constexpr uint32_t kStart = 131072;

SandboxConfig pod_of_its_own(const Lab& lab) {
  SandboxConfig config = lab.pod();
  config.user_namespace_start = kStart;
  return config;
}

uid_t owner_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(0, ::lstat(path.c_str(), &info)) << path;
  return info.st_uid;
}

// Kernels before 6.3 map no tmpfs, and machines may have user namespaces switched off: nothing to test there.
std::string missing_here() {
  if (auto there = check_user_namespaces(); !there) return there.error().message();
  Lab lab;
  auto sandbox = lab.runtime->run_sandbox(pod_of_its_own(lab));
  if (!sandbox) return {};
  auto container = lab.runtime->create_container(sandbox->id, Lab::shell("true"));
  bool unmapped = !container && container.error().message().find("map the ids") != std::string::npos;
  return unmapped ? container.error().message() : "";
}

class UserNamespace : public testing::Test {
 protected:
  void SetUp() override {
    static const std::string missing = missing_here();
    if (!missing.empty()) GTEST_SKIP() << missing;
  }
};

}  // namespace

TEST_F(UserNamespace, RootInsideIsNobodyOutside) {
  Lab lab;
  std::string sandbox = lab.sandbox(pod_of_its_own(lab));
  std::string id = lab.start(sandbox, Lab::shell("exec sleep 1000"));
  auto out = lab.runtime->exec_sync(id, {"sh", "-c", "id -u; echo $(cat /proc/self/uid_map)"}, seconds(30));
  ASSERT_TRUE(out) << out.error().message();
  EXPECT_EQ("0\n0 131072 65536\n", out->out);
  auto status = lab.runtime->container_status(id);
  ASSERT_TRUE(status);
  EXPECT_EQ(kStart, owner_of("/proc/" + std::to_string(status->pid) + "/root/proc/1/status"));
  EXPECT_EQ(0, status->uid) << "as the pod's status says it";
}

TEST_F(UserNamespace, SeesTheImageAsItIsAndOwnsWhatItWrites) {
  Lab lab;
  std::string text = lab.run(Lab::shell("stat -c '%u:%g %n' / /bin/busybox /etc/passwd; echo new > /etc/new; stat -c '%u' /etc/new;"
                                        "chown 1000:1001 /etc/passwd && stat -c %u:%g /etc/passwd; rm /bin/tar; ls /bin/tar 2>&1"),
                             pod_of_its_own(lab));
  EXPECT_EQ("0:0 /\n0:0 /bin/busybox\n0:0 /etc/passwd\n0\n1000:1001\nls: /bin/tar: No such file or directory\n", text);
  EXPECT_EQ(0u, owner_of(lab.directory + "/image/etc/passwd"));
}

TEST_F(UserNamespace, MapsTheOwnersOfMounts) {
  Lab lab;
  std::string volume = lab.directory + "/volume";
  ASSERT_TRUE(file::make_dirs(volume));
  ASSERT_TRUE(file::write(volume + "/given", "text"));
  ContainerConfig config = Lab::shell("stat -c %u /v/given /etc/hosts; cat /v/given; touch /v/made; chown 7 /v/made; stat -c %u /v/made");
  config.mounts = {{.container_path = "/v", .host_path = volume}};
  EXPECT_EQ("0\n0\ntext7\n", lab.run(config, pod_of_its_own(lab)));
  EXPECT_EQ(7u, owner_of(volume + "/made")) << "the volume holds the ids of the inside";
}

TEST_F(UserNamespace, HasCapabilitiesOverItsOwnThingsOnly) {
  Lab lab;
  ContainerConfig config = Lab::shell(
      "grep CapEff /proc/self/status; mount -t tmpfs none /tmp && echo mounted; ip link set lo down && echo link;"
      "hostname other && hostname; mknod /tmp/null c 1 3 2>/dev/null || echo no node;"
      "(echo 1 > /proc/sys/kernel/panic) 2>/dev/null || echo no panic; echo text > /dev/null && echo null");
  config.security.privileged = true;
  std::string text = lab.run(config, pod_of_its_own(lab));
  EXPECT_NE(std::string::npos, text.find("mounted\nlink\nother\nno node\nno panic\nnull\n")) << text;
  EXPECT_EQ(std::string::npos, text.find("CapEff:\t0000000000000000")) << text;
}

TEST_F(UserNamespace, KeepsOrdinaryContainersFromMounting) {
  Lab lab;
  EXPECT_EQ("refused\nnull\nhead\nout\n",
            lab.run(Lab::shell("mount -t tmpfs none /tmp 2>/dev/null || echo refused; echo x > /dev/null && echo null;"
                               "head -c 1 /dev/urandom > /dev/null && echo head; echo out > /dev/stdout"),
                    pod_of_its_own(lab)));
}

TEST_F(UserNamespace, RunsAsOtherUsersWithATerminalAndSharesAPidNamespace) {
  Lab lab;
  SandboxConfig pod = pod_of_its_own(lab);
  pod.pid = NamespaceMode::pod;
  std::string sandbox = lab.sandbox(pod);
  lab.start(sandbox, Lab::shell("exec sleep 4321"));
  ContainerConfig config = Lab::shell("id -u; tty; stat -c %u $(tty); ps | grep -c '[s]leep 4321'");
  config.security.run_as_user = 1000;
  config.tty = true;
  std::string second = lab.start(sandbox, config);
  std::string text = Lab::log_text(lab.wait_exit(second).log_path);
  EXPECT_EQ("1000\r\n/dev/pts/0\r\n1000\r\n1\r\n", text);
}

TEST_F(UserNamespace, ReportsTheExitAndOutlivesItsRuntime) {
  Lab lab;
  std::string sandbox = lab.sandbox(pod_of_its_own(lab));
  std::string id = lab.start(sandbox, Lab::shell("trap 'exit 9' TERM; while :; do sleep 0.05; done"));
  lab.runtime.reset();
  lab.open();
  auto out = lab.runtime->exec_sync(id, {"id", "-u"}, seconds(30));
  ASSERT_TRUE(out) << out.error().message();
  EXPECT_EQ("0\n", out->out);
  ASSERT_TRUE(lab.runtime->stop_container(id, seconds(20)));
  EXPECT_EQ(9, lab.runtime->container_status(id)->exit_code);
  // And one that is created by the first and started by the next.
  auto next = lab.runtime->create_container(sandbox, Lab::shell("stat -c %u /bin/busybox"));
  ASSERT_TRUE(next);
  lab.runtime.reset();
  lab.open();
  ASSERT_TRUE(lab.runtime->start_container(*next));
  EXPECT_EQ("0\n", Lab::log_text(lab.wait_exit(*next).log_path));
}

TEST_F(UserNamespace, SaysWhatCannotBe) {
  Lab lab;
  ContainerConfig config = Lab::shell("true");
  config.security.run_as_user = 70000;
  std::string sandbox = lab.sandbox(pod_of_its_own(lab));
  auto refused = lab.runtime->create_container(sandbox, config);
  ASSERT_FALSE(refused);
  EXPECT_NE(std::string::npos, refused.error().message().find("user 70000 is not in the pod's user namespace")) << refused.error().message();

  config = Lab::shell("true");
  config.mounts = {{.container_path = "/v", .host_path = "/proc/sys"}};
  auto id = lab.runtime->create_container(sandbox, config);
  ASSERT_TRUE(id);
  auto started = lab.runtime->start_container(*id);
  ASSERT_FALSE(started);
  EXPECT_NE(std::string::npos, started.error().message().find("its file system cannot map ids")) << started.error().message();

  SandboxConfig pod = pod_of_its_own(lab);
  pod.pid = NamespaceMode::node;
  EXPECT_FALSE(lab.runtime->run_sandbox(pod));
}

}  // namespace kcube::runtime::test
