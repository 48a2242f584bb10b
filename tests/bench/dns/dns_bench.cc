// Questions a second over UDP with 5,000 services, and what a look-up costs without sockets. `dns_bench [seconds]`.
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "pkg/base/fd.h"
#include "pkg/base/log.h"
#include "pkg/dns/dns.h"
#include "pkg/dns/message.h"
#include "pkg/dns/sockets.h"
#include "pkg/dns/zone.h"
#include "tests/unit/proxy/fake_cluster.h"

using namespace kcube;
using Clock_ = std::chrono::steady_clock;

namespace {

constexpr int kServices = 5000, kWindow = 32;

std::string name_of(int i) { return "service-" + std::to_string(i) + ".default.svc.cluster.local"; }
std::string ip_of(int i) { return "10.43." + std::to_string(1 + i / 250) + "." + std::to_string(1 + i % 250); }

std::string question(int i, bool missing) {
  dns::Message m;
  m.id = static_cast<uint16_t>(i);
  m.recursion_desired = true;
  // What a pod's search list makes of "example.org".
  m.questions = {{*dns::to_name(missing ? "example.org.default.svc.cluster.local" : name_of(i % kServices)),
                  dns::type::kA, dns::kClassIn}};
  return dns::encode(m);
}

// Keeps kWindow questions under way on one socket.
uint64_t ask_until(Clock_::time_point until, bool missing) {
  Fd fd(::socket(AF_INET, SOCK_DGRAM, 0));
  auto to = dns::SocketAddress::make("127.0.0.10", 53);
  (void)::connect(fd.get(), to->get(), to->size);
  std::vector<std::string> questions;
  for (int i = 0; i < 1000; ++i) questions.push_back(question(i * 7, missing));
  uint64_t answered = 0, next = 0;
  auto send = [&] {
    const std::string& q = questions[next++ % questions.size()];
    (void)::send(fd.get(), q.data(), q.size(), 0);
  };
  for (int i = 0; i < kWindow; ++i) send();
  char buffer[2048];
  while (Clock_::now() < until) {
    pollfd p{fd.get(), POLLIN, 0};
    if (::poll(&p, 1, 100) != 1) break;
    while (::recv(fd.get(), buffer, sizeof buffer, MSG_DONTWAIT) > 0) {
      ++answered;
      send();
    }
  }
  return answered;
}

// The informers of the server take a moment.
void wait_until_known(int service) {
  Fd fd(::socket(AF_INET, SOCK_DGRAM, 0));
  auto to = dns::SocketAddress::make("127.0.0.10", 53);
  (void)::connect(fd.get(), to->get(), to->size);
  std::string q = question(service, false);
  char buffer[2048];
  while (true) {
    (void)::send(fd.get(), q.data(), q.size(), 0);
    ssize_t n = ::recv(fd.get(), buffer, sizeof buffer, 0);
    if (auto m = dns::parse({buffer, static_cast<size_t>(std::max<ssize_t>(n, 0))}); m && !m->answers.empty()) return;
  }
}

void measure(const char* what, int seconds, bool missing) {
  uint64_t total = ask_until(Clock_::now() + std::chrono::seconds(seconds), missing);
  std::printf("%s: %.0f/s\n", what, static_cast<double>(total) / seconds);
}

void measure_zone() {
  dns::Zone zone("cluster.local", {"10.43.0.10"}, "127.0.0.1");
  auto begin = Clock_::now();
  for (int i = 0; i < kServices; ++i)
    zone.set(name_of(i), {*dns::address_record(*dns::to_name(name_of(i)), ip_of(i), dns::kTtl)});
  std::printf("index %d names: %.1f ms\n", kServices,
              std::chrono::duration<double, std::milli>(Clock_::now() - begin).count());
  constexpr int kRounds = 200000;
  begin = Clock_::now();
  size_t bytes = 0;
  std::string q = question(17, false);
  for (int i = 0; i < kRounds; ++i) {
    auto m = dns::parse(q);
    m->answers = zone.lookup(m->questions[0].name, dns::type::kA).answers;
    bytes += dns::encode(*m, 512).size();
  }
  std::printf("read, look up, write: %.0f ns (%zu bytes)\n",
              std::chrono::duration<double, std::nano>(Clock_::now() - begin).count() / kRounds, bytes / kRounds);
}

}  // namespace

int main(int argc, char** argv) {
  int seconds = argc > 1 ? std::atoi(argv[1]) : 3;
  if (::unshare(CLONE_NEWNET) != 0) {
    std::perror("unshare");
    return 1;
  }
  Fd fd(::socket(AF_INET, SOCK_DGRAM, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  (void)::ioctl(fd.get(), SIOCSIFFLAGS, &request);
  measure_zone();

  test::FakeCluster cluster;
  for (int i = 0; i < kServices; ++i)
    cluster.put(R"({"kind":"Service","apiVersion":"v1","metadata":{"name":"service-)" + std::to_string(i) +
                R"(","namespace":"default"},"spec":{"clusterIP":")" + ip_of(i) + R"("}})");
  auto server =
      dns::Server::create(cluster, RealClock::instance(), {.listen = {"127.0.0.10"}, .resolv_conf = "/nonexistent"});
  if (!server || !(*server)->start()) return 1;
  wait_until_known(kServices - 1);
  measure("answers by UDP, one client socket", seconds, false);
  measure("denials by UDP, one client socket", seconds, true);
  (*server)->stop();
  return 0;
}
