// When probes are made, against a port of this machine and a clock of our own.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "pkg/base/gate.h"
#include "pkg/kubelet/probes.h"

namespace kcube::kubelet {
namespace {

using std::chrono::milliseconds;

// A port that is taken, and listens when it is told to.
class Port {
 public:
  Port() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    number_ = ntohs(address.sin_port);
  }
  void listen() { EXPECT_EQ(::listen(socket_.get(), 16), 0); }
  int number() const { return number_; }

 private:
  Fd socket_;
  int number_ = 0;
};

class ProberTest : public ::testing::Test {
 protected:
  void start() {
    json::value container = json::object{
        {"name", "c"}, {"readinessProbe", json::object{{"tcpSocket", json::object{{"port", port_.number()}}}, {"periodSeconds", 10}, {"timeoutSeconds", 1}}}};
    auto failed = [this](ProbeKind, const std::string&) { ++told_; };
    prober_ = ContainerProber::start(std::move(container), {nullptr, "c", "127.0.0.1"}, clock_, executor_, {[](ProbeKind, bool, const std::string&) {}, failed});
  }
  // Lets time pass, and what is due be done.
  void pass(milliseconds time) {
    clock_.advance(time);
    auto done = std::make_shared<Gate>();
    ASSERT_TRUE(executor_.submit([done] { done->open(); }));
    done->wait();
  }
  // The same in steps that no check is shorter than.
  void pass_slowly(milliseconds time) {
    for (milliseconds passed{0}; passed < time; passed += milliseconds(10)) pass(milliseconds(10));
  }

  Port port_;
  SimulatedClock clock_;
  Executor executor_{{"probes", 1}};
  std::shared_ptr<ContainerProber> prober_;
  std::atomic<int> told_{0};
};

TEST_F(ProberTest, AProgramThatListensAMomentLaterIsReadyAMomentLater) {
  start();
  pass(milliseconds(0));
  EXPECT_FALSE(prober_->ready());
  port_.listen();
  pass_slowly(milliseconds(60));
  EXPECT_TRUE(prober_->ready());
  EXPECT_EQ(told_, 0);
}

TEST_F(ProberTest, OneThatDoesNotListenIsToldOf) {
  start();
  pass_slowly(milliseconds(3000));
  EXPECT_FALSE(prober_->ready());
  EXPECT_GT(told_, 0);
}

}  // namespace
}  // namespace kcube::kubelet
