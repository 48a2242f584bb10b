// What a container sees and may do.
#include <fcntl.h>
#include <sys/socket.h>

#include "tests/unit/runtime/lab.h"

namespace kcube::runtime::test {

TEST(Container, EnvironmentComesFromImageThenPod) {
  Lab lab;
  ContainerConfig config = Lab::shell("echo $FROM_IMAGE $MINE $HOSTNAME $HOME; hostname; pwd");
  config.env = {"MINE=1", "FROM_IMAGE=overridden"};
  config.working_dir = "/srv/dir";  // made when missing
  EXPECT_EQ("overridden 1 web /root\nweb\n/srv/dir\n", lab.run(config));
}

TEST(Container, RunsTheImagesCommandWithThePodsArguments) {
  Lab lab;
  lab.images->config.entrypoint = {"/bin/echo", "entry"};
  lab.images->config.cmd = {"image-argument"};
  ContainerConfig config = Lab::shell("");
  config.command = {};
  EXPECT_EQ("entry image-argument\n", lab.run(config));
  config.args = {"pod-argument"};
  config.log_path = "second";
  EXPECT_EQ("entry pod-argument\n", lab.run(config));
  config.command = {"/bin/echo"};
  config.args = {};
  config.log_path = "third";
  EXPECT_EQ("\n", lab.run(config));
}

TEST(Container, HasItsOwnProcessesAndMounts) {
  Lab lab;
  EXPECT_EQ("1\n", lab.run("echo $$"));
  EXPECT_EQ("1\n", lab.run("ls -d /proc/[0-9]* | grep -c '/1$'"));
  std::string mounts = lab.run("cut -d' ' -f2,3 /proc/mounts");
  for (const char* line : {"/ overlay\n", "/proc proc\n", "/dev tmpfs\n", "/dev/pts devpts\n", "/dev/shm tmpfs\n",
                           "/dev/mqueue mqueue\n", "/sys sysfs\n"})
    EXPECT_NE(std::string::npos, mounts.find(line)) << line << mounts;
}

TEST(Container, GetsThePodsFiles) {
  Lab lab;
  EXPECT_EQ("search default.svc.cluster.local svc.cluster.local\nnameserver 10.43.0.10\nweb\n",
            lab.run("cat /etc/resolv.conf /etc/hostname"));
  EXPECT_NE(std::string::npos, lab.run("cat /etc/hosts").find("localhost"));
}

TEST(Container, SharesItsPodsSharedMemoryAndNetwork) {
  Lab lab;
  std::string pod = lab.sandbox();
  lab.wait_exit(lab.start(pod, Lab::shell("echo shared > /dev/shm/note")));
  std::string reader =
      lab.start(pod, Lab::shell("cat /dev/shm/note; cat /sys/class/net/lo/operstate; ls /sys/class/net"));
  EXPECT_EQ("shared\nunknown\nlo\n", Lab::log_text(lab.wait_exit(reader).log_path));
}

TEST(Container, RunsAsTheUserOfTheImage) {
  Lab lab;
  lab.images->config.user = "bob";
  EXPECT_EQ(
      "1000 1001\n10 44 1001\n/home/bob\n",
      lab.run(
          "echo $(id -u) $(id -g); id -G | tr ' ' '\\n' | sort -n | tr '\\n' ' ' | sed 's/ $//'; echo; echo $HOME"));
}

TEST(Container, RunsAsTheUserOfThePod) {
  Lab lab;
  lab.images->config.user = "bob";
  ContainerConfig config = Lab::shell(
      "echo $(id -u) $(id -g); id -G | tr ' ' '\\n' | sort -n | tr '\\n' ' '; echo; grep -E 'Cap(Prm|Eff|Amb)' "
      "/proc/self/status");
  config.security.run_as_user = 4711;
  config.security.run_as_group = 4712;
  config.security.supplemental_groups = {2000};
  EXPECT_EQ("4711 4712\n2000 4712 \nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n",
            lab.run(config));
}

TEST(Container, HasTheDefaultCapabilities) {
  Lab lab;
  std::string script = "grep -E 'Cap(Inh|Prm|Eff|Bnd)' /proc/self/status | cut -f2";
  EXPECT_EQ("0000000000000000\n00000000a80425fb\n00000000a80425fb\n00000000a80425fb\n", lab.run(script));
  ContainerConfig config = Lab::shell(script);
  config.security.drop_capabilities = {"ALL"};
  config.security.add_capabilities = {"NET_BIND_SERVICE"};
  EXPECT_EQ("0000000000000000\n0000000000000400\n0000000000000400\n0000000000000400\n", lab.run(config));
}

TEST(Container, SeccompStopsWhatReachesTheMachine) {
  Lab lab;
  std::string script = "grep Seccomp: /proc/self/status; unshare -U true 2>&1 || echo refused";
  std::string out = lab.run(script);
  EXPECT_NE(std::string::npos, out.find("Seccomp:\t2\n")) << out;
  EXPECT_NE(std::string::npos, out.find("refused")) << out;
  ContainerConfig config = Lab::shell(script);
  config.security.seccomp = SeccompProfile::unconfined;
  EXPECT_EQ("Seccomp:\t0\n", lab.run(config));
}

TEST(Container, TakesAProfileOfItsOwn) {
  Lab lab;
  ASSERT_TRUE(file::write(
      lab.options.seccomp_dir + "/no-mkdir.json",
      R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]})"));
  ContainerConfig config = Lab::shell("mkdir /x 2>&1; ls -d /x 2>/dev/null; true");
  config.security.seccomp = SeccompProfile::localhost;
  config.security.seccomp_path = "no-mkdir.json";
  EXPECT_NE(std::string::npos, lab.run(config).find("No space left on device"));
  std::string pod = lab.sandbox();
  config.security.seccomp_path = "../../etc/passwd";
  EXPECT_FALSE(lab.runtime->create_container(pod, config));
}

TEST(Container, NoNewPrivilegesIsSet) {
  Lab lab;
  ContainerConfig config = Lab::shell("grep NoNewPrivs /proc/self/status");
  EXPECT_EQ("NoNewPrivs:\t0\n", lab.run(config));
  config.security.no_new_privileges = true;
  config.log_path = "second";
  EXPECT_EQ("NoNewPrivs:\t1\n", lab.run(config));
}

TEST(Container, ReadonlyRootKeepsVolumesWritable) {
  Lab lab;
  ASSERT_TRUE(file::make_dirs(lab.directory + "/volume"));
  ContainerConfig config =
      Lab::shell("touch /file 2>&1; touch /data/file && echo volume; touch /dev/shm/x && echo shm");
  config.security.readonly_rootfs = true;
  config.mounts.push_back({.container_path = "/data", .host_path = lab.directory + "/volume"});
  EXPECT_EQ("touch: /file: Read-only file system\nvolume\nshm\n", lab.run(config));
  EXPECT_TRUE(file::exists(lab.directory + "/volume/file"));
}

TEST(Container, MountsFilesDirectoriesAndReadonly) {
  Lab lab;
  ASSERT_TRUE(file::make_dirs(lab.directory + "/a/inner"));
  ASSERT_TRUE(file::write(lab.directory + "/a/text", "text\n"));
  ContainerConfig config =
      Lab::shell("cat /mnt/deep/text /etc/own; touch /mnt/deep/x 2>&1; touch /mnt/deep/inner/y && echo inner");
  config.mounts.push_back({.container_path = "/mnt/deep/inner/", .host_path = lab.directory + "/made"});
  config.mounts.push_back({.container_path = "/mnt/deep", .host_path = lab.directory + "/a", .readonly = true});
  config.mounts.push_back({.container_path = "/etc/own", .host_path = lab.directory + "/a/text"});
  EXPECT_EQ("text\ntext\ntouch: /mnt/deep/x: Read-only file system\ninner\n", lab.run(config));
}

TEST(Container, HidesWhatTellsAboutTheMachine) {
  Lab lab;
  EXPECT_EQ("0\n0\n", lab.run("cat /proc/interrupts | wc -c; ls /sys/firmware | wc -l"));
  int code = 0;
  lab.run("echo 0 > /proc/sys/kernel/panic_on_oops", &code);
  EXPECT_NE(0, code);
}

TEST(Container, HasDevicesOfItsOwnAndNoOthers) {
  Lab lab;
  EXPECT_EQ("ok\n", lab.run("echo x > /dev/null && head -c 4 /dev/urandom > /tmp/r && echo ok > /dev/stdout"));
  EXPECT_EQ("made\nno\n", lab.run("mknod /tmp/vda b 254 0 && echo made; dd if=/tmp/vda of=/dev/null count=1 "
                                  "2>/dev/null && echo read || echo no"));
}

TEST(Container, PrivilegedMayDoWhatTheNodeMay) {
  Lab lab;
  ContainerConfig config = Lab::shell(
      "mkdir /m && mount -t tmpfs none /m && echo mounted; grep Seccomp: /proc/self/status; [ -w "
      "/proc/sys/kernel/panic ] && echo writable");
  config.security.privileged = true;
  EXPECT_EQ("mounted\nSeccomp:\t0\nwritable\n", lab.run(config));
}

TEST(Container, IsKilledBeyondItsMemoryLimit) {
  Lab lab;
  ContainerConfig config = Lab::shell("head -c 200000000 /dev/zero | tail");
  config.command = {"/bin/sh", "-c", "exec tail /dev/zero"};
  config.resources.memory_limit_bytes = 16 << 20;
  std::string pod = lab.sandbox();
  ContainerStatus status = lab.wait_exit(lab.start(pod, config));
  EXPECT_EQ(137, status.exit_code);
  EXPECT_EQ("OOMKilled", status.reason);
}

TEST(Container, LimitsAreSetAndChangedInPlace) {
  Lab lab;
  ContainerConfig config = Lab::shell("sleep 1000");
  config.resources.memory_limit_bytes = 64 << 20;
  config.resources.pids_limit = 20;
  config.resources.cpu_shares = 512;
  config.resources.cpu_quota_us = 50000;
  std::string id = lab.start(lab.sandbox(), config);
  auto read = [&] {
    auto out = lab.runtime->exec_sync(id,
                                      {"sh", "-c",
                                       "cd /sys/fs/cgroup; cat memory.max memory/memory.limit_in_bytes cpu.max "
                                       "cpu/cpu.cfs_quota_us pids.max pids/pids.max 2>/dev/null"},
                                      {});
    return out ? out->out : out.error().message();
  };
  std::string before = read();
  EXPECT_NE(std::string::npos, before.find("67108864\n")) << before;
  EXPECT_NE(std::string::npos, before.find("50000")) << before;
  EXPECT_NE(std::string::npos, before.find("20\n")) << before;
  ResourceLimits limits;
  limits.memory_limit_bytes = 128 << 20;
  limits.cpu_quota_us = 70000;
  ASSERT_TRUE(lab.runtime->update_resources(id, limits));
  std::string after = read();
  EXPECT_NE(std::string::npos, after.find("134217728\n")) << after;
  EXPECT_NE(std::string::npos, after.find("70000")) << after;
  auto stats = lab.runtime->container_stats(id);
  ASSERT_TRUE(stats);
  EXPECT_EQ(id, stats->id);
  EXPECT_GT(stats->memory_usage_bytes, 0u);
  EXPECT_GT(stats->cpu_usage_ns, 0u);
  EXPECT_GE(stats->pids, 1u);
}

TEST(Container, SharedProcessNamespaceHasPauseFirst) {
  Lab lab;
  SandboxConfig pod = lab.pod();
  pod.pid = NamespaceMode::pod;
  EXPECT_EQ("pause\nother\n", lab.run(Lab::shell("cat /proc/1/comm; [ $$ != 1 ] && echo other"), pod));
}

TEST(Container, LeavesNoOrphansInASharedProcessNamespace) {
  Lab lab;
  SandboxConfig config = lab.pod();
  config.pid = NamespaceMode::pod;
  std::string pod = lab.sandbox(config);
  std::string id = lab.start(pod, Lab::shell("setsid sleep 4321 & echo started"));
  lab.wait_exit(id);
  std::string other = lab.start(pod, Lab::shell("sleep 0.2; ps | grep -c '[s]leep 4321'"));
  EXPECT_EQ("0\n", Lab::log_text(lab.wait_exit(other).log_path));
}

TEST(Container, NodeNamespacesAreTheNodes) {
  Lab lab;
  SandboxConfig config = lab.pod();
  config.network = config.pid = config.ipc = NamespaceMode::node;
  config.hostname.clear();
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  EXPECT_EQ(std::string(name) + "\n", lab.run(Lab::shell("hostname"), config));
  EXPECT_EQ(std::to_string(::getpid()) + "\n",
            lab.run(Lab::shell("cd /proc; ls -d " + std::to_string(::getpid())), config));
}

TEST(Container, EphemeralOneSeesItsTargetsProcesses) {
  Lab lab;
  std::string pod = lab.sandbox();
  std::string target = lab.start(pod, Lab::shell("exec sleep 4242"));
  ContainerConfig config = Lab::shell("ps | grep -c '[s]leep 4242'");
  config.name = "debugger";
  config.target_container_id = target;
  EXPECT_EQ("1\n", Lab::log_text(lab.wait_exit(lab.start(pod, config)).log_path));
}

TEST(Container, SysctlsAreThePods) {
  Lab lab;
  SandboxConfig config = lab.pod();
  config.sysctls = {{"net.ipv4.ip_unprivileged_port_start", "80"}, {"kernel.shm_rmid_forced", "1"}};
  EXPECT_EQ("80\n1\n",
            lab.run(Lab::shell("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced"),
                    config));
  config.network = NamespaceMode::node;
  EXPECT_FALSE(lab.runtime->run_sandbox(config));
}

TEST(Container, ImageVolumeIsReadonly) {
  Lab lab;
  ContainerConfig config = Lab::shell("cat /vol/etc/group | head -1; touch /vol/x 2>&1; cat /sub/passwd | head -1");
  config.mounts.push_back({.container_path = "/vol", .readonly = true, .image = "busybox"});
  config.mounts.push_back({.container_path = "/sub", .readonly = true, .image = "busybox", .image_sub_path = "etc"});
  EXPECT_EQ("root:x:0:\ntouch: /vol/x: Read-only file system\nroot:x:0:0:root:/root:/bin/sh\n", lab.run(config));
}

TEST(Container, RotatesItsLog) {
  Lab lab;
  ContainerConfig config = Lab::shell("seq 1 20000");
  config.log_max_bytes = 4096;
  config.log_max_files = 3;
  std::string pod = lab.sandbox();
  ContainerStatus status = lab.wait_exit(lab.start(pod, config));
  auto files = file::list(lab.directory + "/logs/main");
  ASSERT_TRUE(files);
  EXPECT_LE(files->size(), 3u);
  EXPECT_GE(files->size(), 2u);
  EXPECT_NE(std::string::npos, slurp(status.log_path).find(" F 20000\n"));
}

TEST(Container, LongLinesArePartial) {
  Lab lab;
  std::string pod = lab.sandbox();
  ContainerStatus status =
      lab.wait_exit(lab.start(pod, Lab::shell("head -c 20000 /dev/zero | tr '\\0' a; echo; printf tail")));
  std::string log = slurp(status.log_path);
  EXPECT_NE(std::string::npos, log.find(" stdout P aaa"));
  EXPECT_EQ(std::string(20000, 'a') + "\ntail", Lab::log_text(status.log_path));
}

}  // namespace kcube::runtime::test
