// Real kubectl, old and new, over WebSocket and over SPDY.
#include <signal.h>

#include <cstdlib>

#include "pkg/base/file.h"
#include "tests/unit/http/kubectl_server.h"

namespace kcube::http {
namespace {

struct Flavour {
  std::string kubectl;
  bool websockets;
};

void PrintTo(const Flavour& flavour, std::ostream* out) {
  *out << flavour.kubectl << (flavour.websockets ? " ws" : " spdy");
}

class Kubectl : public testing::TestWithParam<Flavour> {
 protected:
  void SetUp() override {
    if (!file::exists(GetParam().kubectl)) GTEST_SKIP() << "no " << GetParam().kubectl;
    ::signal(SIGPIPE, SIG_IGN);  // as in kcube: a pipe whose reader has gone fails the write alone
    char path[] = "/tmp/kcube-kubectl-XXXXXX";
    directory_ = ::mkdtemp(path);
  }
  void TearDown() override {
    (void)file::remove_tree(directory_);
    if (IsSkipped()) return;
    EXPECT_EQ(websockets_seen_, GetParam().websockets);
  }
  std::string kubectl() const {
    std::string on = GetParam().websockets ? "true" : "false";
    return "HOME=" + directory_ + " KUBECONFIG=/dev/null KUBECTL_REMOTE_COMMAND_WEBSOCKETS=" + on +
           " KUBECTL_PORT_FORWARD_WEBSOCKETS=" + on + " timeout --foreground 60 " + GetParam().kubectl + " --server=" + test_.base +
           " --insecure-skip-tls-verify --token=t --namespace=default ";
  }
  process::Output shell(const std::string& text) { return process::run({"sh", "-c", text}).value(); }

  std::atomic<bool> websockets_seen_{false};
  TestServer test_{[this](Request& request, std::unique_ptr<Responder> responder) {
    if (request.headers.get("Upgrade") == "websocket") websockets_seen_ = true;
    serve_kubectl(request, std::move(responder));
  }};
  std::string directory_;
};

TEST_P(Kubectl, ExecCarriesStreamsAndExitCode) {
  auto output = shell(kubectl() + "exec p -- sh -c 'echo out; echo err >&2; exit 3'");
  EXPECT_EQ(output.exit_code, 3) << output.err;
  EXPECT_EQ(output.out, "out\n");
  EXPECT_TRUE(output.err.starts_with("err\n")) << output.err;
}

TEST_P(Kubectl, ExecCarriesMuchInputAndItsEnd) {
  auto output =
      shell("head -c 7000000 /dev/urandom > " + directory_ + "/in; " + kubectl() + "exec -i p -- sha256sum < " +
            directory_ + "/in | cut -c1-64; sha256sum < " + directory_ + "/in | cut -c1-64");
  auto lines = output.out;
  ASSERT_EQ(lines.size(), 130u) << output.out << output.err;
  EXPECT_EQ(lines.substr(0, 64), lines.substr(65, 64));
}

TEST_P(Kubectl, ExecWithATerminalTellsItsSize) {
  auto output = shell("script -qec \"stty cols 97 rows 31; " + kubectl() + "exec -it p -- size\" /dev/null");
  EXPECT_NE(output.out.find("97x31"), std::string::npos) << output.out << output.err;
}

TEST_P(Kubectl, ExecThatDoesNotReadItsInputEnds) {
  auto output = shell("head -c 5000000 /dev/zero | " + kubectl() + "exec -i p -- true");
  EXPECT_EQ(output.exit_code, 0) << output.err;
}

TEST_P(Kubectl, AttachCarriesInput) {
  auto output = shell("echo hello | " + kubectl() + "attach -i p");
  EXPECT_NE(output.out.find("hello"), std::string::npos) << output.out << output.err;
}

TEST_P(Kubectl, CopiesBothWays) {
  auto output = shell("cd " + directory_ + " && mkdir pod && head -c 3000000 /dev/urandom > a && " + kubectl() +
                      "cp a p:" + directory_ + "/pod/b && " + kubectl() + "cp p:" + directory_ +
                      "/pod/b c && cmp a c && echo same");
  EXPECT_NE(output.out.find("same"), std::string::npos) << output.out << output.err;
}

TEST_P(Kubectl, NoticesThatItIsGone) {
  auto output = shell(kubectl() + "exec p -- gone > " + directory_ + "/out & pid=$!; until grep -q ready " +
                      directory_ + "/out; do sleep 0.05; done; kill $pid; wait $pid; echo over");
  EXPECT_NE(output.out.find("over"), std::string::npos);
  // The test ends only when the handler has returned: that is the assertion.
}

TEST_P(Kubectl, PortForwardCarriesConnections) {
  TestServer backend(
      [](Request& request, std::unique_ptr<Responder> responder) {
        responder->respond(200, {}, request.path == "/big" ? std::string(3000000, 'x') : "pong " + request.body);
      },
      {}, false);
  auto port = std::to_string(backend.server->port());
  auto output = shell(kubectl() + "port-forward p :" + port + " :1 > " + directory_ + "/out 2>" + directory_ +
                      "/err & pid=$!; " + "for i in $(seq 100); do [ $(grep -c Forwarding " + directory_ +
                      "/out) -ge 2 ] && break; sleep 0.1; done; " + "local=$(grep -- '-> " + port + "' " + directory_ +
                      "/out | head -1 | sed 's/.*:\\([0-9]*\\) .*/\\1/'); " + "closed=$(grep -- '-> 1$' " + directory_ +
                      "/out | head -1 | sed 's/.*:\\([0-9]*\\) .*/\\1/'); " +
                      "for i in 1 2 3; do curl -s --noproxy '*' -d $i http://127.0.0.1:$local/; done; " +
                      "curl -s --noproxy '*' http://127.0.0.1:$local/big | wc -c; " +
                      "curl -s --noproxy '*' http://127.0.0.1:$closed/; echo curl=$?; kill $pid; wait $pid; cat " +
                      directory_ + "/err");
  EXPECT_NE(output.out.find("pong 1pong 2pong 3"), std::string::npos) << output.out << output.err;
  EXPECT_NE(output.out.find("3000000"), std::string::npos) << output.out << output.err;
  EXPECT_NE(output.out.find("failed to connect to localhost:1"), std::string::npos) << output.out << output.err;
}

// The machine's kubectl, and the one of $KCUBE_PEERS.
std::vector<Flavour> flavours() {
  const char* peers = std::getenv("KCUBE_PEERS");
  const std::string next = std::string(peers == nullptr ? "." : peers) + "/kubectl";
  return {{"/usr/bin/kubectl", true}, {"/usr/bin/kubectl", false}, {next, true}, {next, false}};
}

INSTANTIATE_TEST_SUITE_P(Flavours, Kubectl, testing::ValuesIn(flavours()));

}  // namespace
}  // namespace kcube::http
