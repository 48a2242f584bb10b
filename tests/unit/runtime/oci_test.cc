// The OCI command line, each invocation in a process of its own as users have it.
#include "runtime/oci/oci.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/runtime/lab.h"

namespace kcube::runtime::test {
namespace {

class OciLab {
 public:
  OciLab() : lab_(false) { directory = lab_.directory; }
  ~OciLab() {
    std::string output;
    for (const auto& name : file::list(directory + "/oci").value_or(std::vector<std::string>{}))
      call({"delete", name, "--force"}, output);
  }

  // `process` and `more` are members of config.json's objects.
  std::string bundle(const std::string& script, const std::string& process = "", const std::string& more = "") {
    std::string dir = directory + "/bundle-" + random_suffix();
    EXPECT_TRUE(file::make_dirs(dir));
    EXPECT_TRUE(file::write(
        dir + "/config.json",
        R"({"ociVersion": "1.0.2", "root": {"path": ")" + directory + R"(/image"}, "hostname": "oci",
      "process": {"args": ["/bin/sh", "-c", ")" +
            script + R"("], "cwd": "/", "env": ["PATH=/bin", "A=b"], "user": {"uid": 0, "gid": 0})" + process + R"(},
      "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                 {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=64k"]},
                 {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
                 {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "ro"]}],
      "linux": {"namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
                "cgroupsPath": ")" +
            lab_.options.cgroup_root + "/" + random_suffix() + R"(", "resources": {"pids": {"limit": 33}}})" + more +
            "}"));
    return dir;
  }
  int call(std::vector<std::string> arguments, std::string& output) {
    int ends[2];
    EXPECT_EQ(0, ::pipe2(ends, O_CLOEXEC));
    Fd in(ends[0]), out(ends[1]);
    pid_t pid = ::fork();
    if (pid == 0) {
      ::dup2(out.get(), 1);
      ::dup2(out.get(), 2);
      arguments.insert(arguments.begin(), {"kcube runtime", "--root", directory + "/oci"});
      std::vector<char*> argv;
      for (auto& a : arguments) argv.push_back(a.data());
      int code = oci::oci_main(static_cast<int>(argv.size()), argv.data());
      ::fflush(stdout);
      ::_exit(code);
    }
    out.reset();
    output.clear();
    char buffer[4096];
    // A created container keeps the stream open: read until the invocation ends, then what is there.
    int status = 0;
    if (arguments[0] == "create") {
      ::waitpid(pid, &status, 0);
      kept_ = std::move(in);
    } else {
      for (ssize_t n; (n = ::read(in.get(), buffer, sizeof buffer)) > 0;) output.append(buffer, static_cast<size_t>(n));
      ::waitpid(pid, &status, 0);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  // What the container created last says until its end.
  std::string output_of_created() {
    std::string out;
    char buffer[4096];
    for (ssize_t n; (n = ::read(kept_.get(), buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<size_t>(n));
    return out;
  }

  std::string directory;

 private:
  Lab lab_;
  Fd kept_;
};

}  // namespace

TEST(Oci, RunsABundleInTheForeground) {
  OciLab lab;
  std::string out;
  EXPECT_EQ(4, lab.call({"run", "one", "--bundle",
                         lab.bundle("echo $A; hostname; echo $$; cat /sys/fs/cgroup/pids.max "
                                    "/sys/fs/cgroup/pids/pids.max 2>/dev/null; exit 4")},
                        out));
  EXPECT_EQ("b\noci\n1\n33\n", out);
  EXPECT_EQ(0, lab.call({"list"}, out));
  EXPECT_EQ(std::string::npos, out.find("one"));
}

TEST(Oci, CreatesStartsExecsKillsAndDeletes) {
  OciLab lab;
  std::string out, dir = lab.bundle("echo started; exec sleep 1000");
  ASSERT_EQ(0, lab.call({"create", "two", "--bundle", dir}, out));
  EXPECT_EQ(1, lab.call({"create", "two", "--bundle", dir}, out));
  EXPECT_EQ(0, lab.call({"state", "two"}, out));
  EXPECT_NE(std::string::npos, out.find(R"("status":"created")")) << out;
  EXPECT_EQ(0, lab.call({"start", "two"}, out)) << out;
  EXPECT_EQ(0, lab.call({"state", "two"}, out));
  EXPECT_NE(std::string::npos, out.find(R"("status":"running")")) << out;
  EXPECT_EQ(
      7, lab.call({"exec", "two", "-e", "X=y", "--", "sh", "-c", "echo $X; cat /proc/1/cmdline | tr '\\0' ' '; exit 7"},
                  out));
  EXPECT_EQ("y\nsleep 1000 ", out);
  EXPECT_EQ(1, lab.call({"delete", "two"}, out));
  EXPECT_NE(std::string::npos, out.find("is running")) << out;
  EXPECT_EQ(0, lab.call({"kill", "two", "KILL"}, out)) << out;
  for (int i = 0; i < 400; ++i, ::usleep(5000))
    if (lab.call({"state", "two"}, out); out.find("stopped") != std::string::npos) break;
  EXPECT_NE(std::string::npos, out.find(R"("status":"stopped")")) << out;
  EXPECT_EQ(0, lab.call({"delete", "two"}, out)) << out;
  EXPECT_EQ(1, lab.call({"state", "two"}, out));
  EXPECT_NE(std::string::npos, out.find("does not exist"));
}

TEST(Oci, CreatedContainersSpeakToTheirCreatorsStreams) {
  OciLab lab;
  std::string out;
  ASSERT_EQ(0, lab.call({"create", "three", "--bundle", lab.bundle("echo for the creator")}, out));
  ASSERT_EQ(0, lab.call({"start", "three"}, out)) << out;
  EXPECT_EQ("", out);
  EXPECT_EQ("for the creator\n", lab.output_of_created());
}

TEST(Oci, AppliesCapabilitiesAndMasks) {
  OciLab lab;
  std::string out;
  std::string process =
      R"(, "capabilities": {"bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"]}, "noNewPrivileges": true,
     "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88}])";
  EXPECT_EQ(0, lab.call({"run", "four", "--bundle",
                         lab.bundle("grep -E 'CapEff|NoNew' /proc/self/status; ulimit -n; id -u", process)},
                        out));
  EXPECT_EQ("CapEff:\t0000000000000001\nNoNewPrivs:\t1\n77\n0\n", out);
}

TEST(Oci, SaysWhatIsWrongWithABundle) {
  OciLab lab;
  std::string out, dir = lab.bundle("true");
  ASSERT_TRUE(file::write(dir + "/config.json", R"({"ociVersion": "1.0.2", "process": {"args": []}})"));
  EXPECT_EQ(1, lab.call({"run", "five", "--bundle", dir}, out));
  EXPECT_EQ("error: config.json: process.args must name a command\n", out);
  EXPECT_EQ(1, lab.call({"run", "../x", "--bundle", lab.bundle("true")}, out));
  EXPECT_EQ(2, lab.call({"fly"}, out));
  EXPECT_NE(std::string::npos, out.find("Usage:"));
}

TEST(Oci, RunsHooksWithTheState) {
  OciLab lab;
  std::string out, note = lab.directory + "/hooked";
  std::string more = R"(, "hooks": {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "cat > )" + note +
                     R"("]}], "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", "cat > )" + note + R"(-stop"]}]})";
  EXPECT_EQ(0, lab.call({"run", "six", "--bundle", lab.bundle("true", "", more)}, out)) << out;
  EXPECT_NE(std::string::npos, slurp(note).find(R"("id":"six","status":"created")")) << slurp(note);
  EXPECT_NE(std::string::npos, slurp(note + "-stop").find(R"("status":"stopped")"));
}

}  // namespace kcube::runtime::test
