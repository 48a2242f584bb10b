// The server on loopback of a network namespace of its own, with a fake API server behind and fake resolvers above.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "pkg/base/fd.h"
#include "pkg/base/file.h"
#include "pkg/dns/dns.h"
#include "pkg/dns/message.h"
#include "pkg/dns/sockets.h"
#include "tests/unit/proxy/fake_cluster.h"

namespace kcube::dns {
namespace {

constexpr int kPatienceMs = 10000;
const std::string kServer = "127.0.0.10";

std::string n(const std::string& text) { return to_name(text).value(); }

bool wait_for(int fd) {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, kPatienceMs) == 1;
}

Fd connected(int kind, const std::string& ip) {
  Fd fd(::socket(AF_INET, kind | SOCK_CLOEXEC, 0));
  auto to = SocketAddress::make(ip, 53);
  EXPECT_EQ(::connect(fd.get(), to->get(), to->size), 0);
  return fd;
}

std::string read_exactly(int fd, size_t size) {
  std::string out(size, '\0');
  size_t got = 0;
  while (got < size) {
    if (!wait_for(fd)) return {};
    ssize_t k = ::recv(fd, out.data() + got, size - got, 0);
    if (k <= 0) return {};
    got += static_cast<size_t>(k);
  }
  return out;
}

std::string read_framed(int fd) {
  std::string head = read_exactly(fd, 2);
  return head.empty() ? "" : read_exactly(fd, static_cast<size_t>(uint8_t(head[0])) << 8 | uint8_t(head[1]));
}

std::string framed(const std::string& message) { return u16_bytes(static_cast<uint16_t>(message.size())) + message; }

std::string exchange(const std::string& bytes, bool tcp = false) {
  Fd fd = connected(tcp ? SOCK_STREAM : SOCK_DGRAM, kServer);
  std::string out = tcp ? framed(bytes) : bytes;
  ::send(fd.get(), out.data(), out.size(), MSG_NOSIGNAL);
  if (tcp) return read_framed(fd.get());
  if (!wait_for(fd.get())) return {};
  std::string in(65535, '\0');
  ssize_t k = ::recv(fd.get(), in.data(), in.size(), 0);
  in.resize(k > 0 ? static_cast<size_t>(k) : 0);
  return in;
}

Message query(const std::string& name, uint16_t type) {
  Message m;
  m.id = 4711;
  m.recursion_desired = true;
  m.questions = {{n(name), type, kClassIn}};
  return m;
}

Message ask(const Message& m, bool tcp = false) {
  auto answer = parse(exchange(encode(m), tcp));
  EXPECT_TRUE(answer) << to_text(m.questions[0].name);
  if (!answer) return {};
  EXPECT_EQ(answer->id, m.id);
  EXPECT_TRUE(answer->response);
  return *answer;
}

Message ask(const std::string& name, uint16_t type, bool tcp = false) { return ask(query(name, type), tcp); }

std::string address_of(const Message& m) {
  for (const Record& r : m.answers)
    if (r.type == type::kA) {
      std::string out;
      for (char c : r.data) out += (out.empty() ? "" : ".") + std::to_string(static_cast<uint8_t>(c));
      return out;
    }
  return "code " + std::to_string(m.code);
}

// A resolver that answers as it is told; nothing when told nothing.
class Resolver {
 public:
  using Answer = std::function<std::optional<Message>(const Message& query, bool tcp)>;
  Resolver(const std::string& ip, Answer answer) : answer_(std::move(answer)), stop_(::eventfd(0, EFD_CLOEXEC)) {
    auto at = SocketAddress::make(ip, 53);
    for (auto [fd, kind] : {std::pair(&udp_, SOCK_DGRAM), std::pair(&tcp_, SOCK_STREAM)}) {
      *fd = Fd(::socket(AF_INET, kind | SOCK_CLOEXEC, 0));
      int one = 1;
      ::setsockopt(fd->get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
      EXPECT_EQ(::bind(fd->get(), at->get(), at->size), 0);
    }
    ::listen(tcp_.get(), 16);
    thread_ = std::thread([this] { run(); });
  }
  ~Resolver() {
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
  }
  std::atomic<int> asked{0};

 private:
  void run() {
    while (true) {
      pollfd p[] = {{stop_.get(), POLLIN, 0}, {udp_.get(), POLLIN, 0}, {tcp_.get(), POLLIN, 0}};
      ::poll(p, 3, -1);
      if (p[0].revents != 0) return;
      if (p[1].revents != 0) {
        char buffer[4096];
        SocketAddress from;
        ssize_t k = ::recvfrom(udp_.get(), buffer, sizeof buffer, 0, from.get(), &from.size);
        if (auto out = answer({buffer, static_cast<size_t>(k)}, false))
          ::sendto(udp_.get(), out->data(), out->size(), 0, from.get(), from.size);
      }
      if (p[2].revents != 0) {
        Fd peer(::accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (auto out = answer(read_framed(peer.get()), true)) {
          std::string whole = framed(*out);
          ::send(peer.get(), whole.data(), whole.size(), MSG_NOSIGNAL);
        }
      }
    }
  }
  std::optional<std::string> answer(std::string_view bytes, bool tcp) {
    ++asked;
    auto q = parse(bytes);
    if (!q) return std::nullopt;
    auto a = answer_(*q, tcp);
    if (!a) return std::nullopt;
    a->id = q->id;
    a->response = true;
    if (a->questions.empty()) a->questions = q->questions;
    return encode(*a);
  }
  Answer answer_;
  Fd udp_, tcp_, stop_;
  std::thread thread_;
};

Message address_answer(const Message& q, const std::string& ip, uint32_t ttl = 60) {
  Message m;
  m.answers = {*address_record(q.questions[0].name, ip, ttl)};
  return m;
}

class ServerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    Fd fd(::socket(AF_INET, SOCK_DGRAM, 0));
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP;
    ASSERT_EQ(::ioctl(fd.get(), SIOCSIFFLAGS, &request), 0);
  }
  void SetUp() override {
    char name[] = "/tmp/kcube-dns-XXXXXX";
    directory = ::mkdtemp(name);
    resolvers("nameserver 127.0.0.2\n");
  }
  void TearDown() override {
    if (server) server->stop();
    (void)file::remove_tree(directory);
  }
  void resolvers(const std::string& text) {
    ASSERT_TRUE(file::write_atomic(directory + "/resolv.conf", "options timeout:1\n" + text));
  }
  void start() {
    auto made =
        Server::create(cluster, RealClock::instance(),
                       {.listen = {kServer}, .resolv_conf = directory + "/resolv.conf", .node_ip = "198.51.100.1"});
    ASSERT_TRUE(made);
    server = std::move(*made);
    auto r = server->start();
    ASSERT_TRUE(r) << r.error().message();
  }
  void put_service(const std::string& name, const std::string& spec) {
    cluster.put(R"({"kind":"Service","apiVersion":"v1","metadata":{"name":")" + name +
                R"(","namespace":"default"},"spec":)" + spec + "}");
  }
  void put_slice(const std::string& of, const std::string& endpoints) {
    cluster.put(R"({"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"name":")" + of +
                R"(-1","namespace":"default","labels":{"kubernetes.io/service-name":")" + of +
                R"("}},"addressType":"IPv4","ports":[{"name":"http","protocol":"TCP","port":8080}],"endpoints":)" +
                endpoints + "}");
  }
  // Changes of the cluster arrive a moment later.
  bool eventually(const std::string& name, const std::string& address) {
    auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
    while (std::chrono::steady_clock::now() < until) {
      if (address_of(ask(name, type::kA)) == address) return true;
      std::this_thread::yield();
    }
    return false;
  }

  std::string directory;
  test::FakeCluster cluster;
  std::unique_ptr<Server> server;
};

TEST_F(ServerTest, AnswersForTheClusterAndFollowsIt) {
  put_service("web", R"({"clusterIP":"10.43.0.5"})");
  start();
  ASSERT_TRUE(eventually("web.default.svc.cluster.local", "10.43.0.5"));
  Message a = ask("web.default.svc.cluster.local", type::kA, true);
  EXPECT_TRUE(a.authoritative && a.recursion_available);
  EXPECT_EQ(a.answers[0].ttl, 5u);
  put_service("db", R"({"clusterIP":"None"})");
  put_slice("db", R"([{"addresses":["10.42.0.5"],"hostname":"db-0"}])");
  ASSERT_TRUE(eventually("db-0.db.default.svc.cluster.local", "10.42.0.5"));
  put_slice("db", R"([{"addresses":["10.42.0.6"],"hostname":"db-0"}])");
  ASSERT_TRUE(eventually("db-0.db.default.svc.cluster.local", "10.42.0.6"));
  cluster.remove("endpointslices", "default/db-1");
  ASSERT_TRUE(eventually("db-0.db.default.svc.cluster.local", "code 3"));
  cluster.remove("services", "default/web");
  ASSERT_TRUE(eventually("web.default.svc.cluster.local", "code 3"));
}

TEST_F(ServerTest, DenialsNameTheZone) {
  start();
  ASSERT_TRUE(eventually("nobody.default.svc.cluster.local", "code 3"));
  Message no_name = ask("nobody.default.svc.cluster.local", type::kA),
          no_data = ask("dns-version.cluster.local", type::kA);
  EXPECT_EQ(no_data.code, rcode::kNoError);
  for (const Message* m : {&no_name, &no_data}) {
    ASSERT_EQ(m->authorities.size(), 1u);
    EXPECT_EQ(m->authorities[0].type, type::kSoa);
    EXPECT_EQ(to_text(m->authorities[0].name), "cluster.local.");
    EXPECT_EQ(m->authorities[0].ttl, 5u);
    EXPECT_TRUE(m->answers.empty());
  }
}

TEST_F(ServerTest, EchoesTheQuestionAsAsked) {
  start();
  Message m = ask("HoSt.KCUBE.internal", type::kA);
  EXPECT_EQ(m.questions[0].name, n("HoSt.KCUBE.internal"));
  EXPECT_EQ(address_of(m), "198.51.100.1");
}

TEST_F(ServerTest, RefusesWhatItDoesNotDo) {
  start();
  Message m = query("host.kcube.internal", type::kAxfr);
  EXPECT_EQ(ask(m).code, rcode::kRefused);
  m = query("host.kcube.internal", type::kA);
  m.questions[0].klass = 3;
  EXPECT_EQ(ask(m).code, rcode::kRefused);
  m = query("host.kcube.internal", type::kA);
  m.opcode = 5;
  EXPECT_EQ(ask(m).code, rcode::kNotImp);
  m = query("host.kcube.internal", type::kA);
  m.edns = Edns{1232, 1, false};
  EXPECT_EQ(ask(m).code, rcode::kBadVers);
  m = query("host.kcube.internal", type::kA);
  m.questions.push_back(m.questions[0]);
  EXPECT_EQ(ask(m).code, rcode::kFormErr);
  auto broken = parse(exchange(encode(query("host.kcube.internal", type::kA)).substr(0, 20)));
  ASSERT_TRUE(broken);
  EXPECT_EQ(broken->code, rcode::kFormErr);
}

TEST_F(ServerTest, CutsLongAnswersAndGivesThemWholeByTcp) {
  put_service("db", R"({"clusterIP":"None"})");
  std::string endpoints;
  for (int i = 0; i < 200; ++i)
    endpoints += (i == 0 ? "" : ",") + (R"({"addresses":["10.42.1.)" + std::to_string(i) + R"("]})");
  put_slice("db", "[" + endpoints + "]");
  start();
  ASSERT_TRUE(eventually("10-42-1-199.db.default.svc.cluster.local", "10.42.1.199"));
  Message plain = query("db.default.svc.cluster.local", type::kA), extended = plain;
  EXPECT_TRUE(ask(plain).truncated);
  EXPECT_LE(exchange(encode(plain)).size(), 512u);
  extended.edns = Edns{4096, 0, false};
  EXPECT_TRUE(ask(extended).truncated);
  EXPECT_TRUE(ask(extended).edns);
  EXPECT_GT(exchange(encode(extended)).size(), 512u);
  EXPECT_LE(exchange(encode(extended)).size(), 1232u);
  Message whole = ask(plain, true);
  EXPECT_FALSE(whole.truncated);
  EXPECT_EQ(whole.answers.size(), 200u);
}

TEST_F(ServerTest, AnswersManyQuestionsOnOneConnection) {
  start();
  Fd fd = connected(SOCK_STREAM, kServer);
  std::string all;
  for (uint16_t i = 0; i < 300; ++i) {
    Message m = query("host.kcube.internal", type::kA);
    m.id = i;
    all += framed(encode(m));
  }
  for (size_t at = 0; at < all.size(); at += 1000)
    ASSERT_GT(::send(fd.get(), all.data() + at, std::min<size_t>(1000, all.size() - at), MSG_NOSIGNAL), 0);
  ::shutdown(fd.get(), SHUT_WR);
  for (uint16_t i = 0; i < 300; ++i) {
    auto m = parse(read_framed(fd.get()));
    ASSERT_TRUE(m) << i;
    EXPECT_EQ(m->id, i);
  }
  EXPECT_EQ(read_exactly(fd.get(), 1), "") << "and hangs up";
}

TEST_F(ServerTest, AsksOthersForTheRestAndRemembers) {
  Resolver above("127.0.0.2", [](const Message& q, bool) { return address_answer(q, "192.0.2.7"); });
  start();
  Message m = ask("example.org", type::kA);
  EXPECT_EQ(address_of(m), "192.0.2.7");
  EXPECT_FALSE(m.authoritative);
  EXPECT_EQ(address_of(ask("EXAMPLE.org", type::kA, true)), "192.0.2.7");
  EXPECT_EQ(above.asked, 1);
  EXPECT_EQ(address_of(ask("other.org", type::kA)), "192.0.2.7");
  EXPECT_EQ(above.asked, 2);
  EXPECT_EQ(ask("7.2.0.192.in-addr.arpa", type::kPtr).code, rcode::kNoError);
  EXPECT_EQ(above.asked, 3) << "reverse names of others are others'";
}

TEST_F(ServerTest, FollowsAliasesOutOfTheCluster) {
  Resolver above("127.0.0.2", [](const Message& q, bool) { return address_answer(q, "192.0.2.7"); });
  put_service("outside", R"({"type":"ExternalName","externalName":"example.org"})");
  start();
  ASSERT_TRUE(eventually("outside.default.svc.cluster.local", "192.0.2.7"));
  Message m = ask("outside.default.svc.cluster.local", type::kA);
  ASSERT_EQ(m.answers.size(), 2u);
  EXPECT_EQ(m.answers[0].type, type::kCname);
  EXPECT_EQ(m.answers[1].name, n("example.org"));
}

TEST_F(ServerTest, TriesTheNextResolver) {
  Resolver mute("127.0.0.2", [](const Message&, bool) { return std::nullopt; });
  Resolver failing("127.0.0.3", [](const Message&, bool) {
    Message m;
    m.code = rcode::kServFail;
    return std::optional(m);
  });
  Resolver good("127.0.0.5", [](const Message& q, bool) { return address_answer(q, "192.0.2.9"); });
  resolvers("nameserver 127.0.0.4\nnameserver 127.0.0.3\nnameserver 127.0.0.2\nnameserver " + kServer +
            "\nnameserver 127.0.0.5\n");
  start();
  EXPECT_EQ(address_of(ask("example.org", type::kA)), "192.0.2.9");
  EXPECT_EQ(mute.asked, 1);
  EXPECT_EQ(failing.asked, 1);
  EXPECT_EQ(address_of(ask("other.org", type::kA)), "192.0.2.9");
  EXPECT_EQ(mute.asked, 1) << "the one that answered is asked first";
}

TEST_F(ServerTest, SaysSoWhenNobodyAnswers) {
  resolvers("nameserver 127.0.0.4\n");
  start();
  EXPECT_EQ(ask("example.org", type::kA).code, rcode::kServFail);
  resolvers("nameserver " + kServer + "\n");
  EXPECT_EQ(ask("example.org", type::kA).code, rcode::kServFail);
  resolvers("nameserver 127.0.0.2\n");
  Resolver above("127.0.0.2", [](const Message& q, bool) { return address_answer(q, "192.0.2.7"); });
  EXPECT_EQ(address_of(ask("example.org", type::kA)), "192.0.2.7") << "the file changed";
}

TEST_F(ServerTest, TakesCutAnswersByTcp) {
  Resolver above("127.0.0.2", [](const Message& q, bool tcp) {
    Message m;
    m.truncated = !tcp;
    for (int i = 0; tcp && i < 500; ++i)
      m.answers.push_back(*address_record(q.questions[0].name, "192.0.2." + std::to_string(i % 250), 60));
    return std::optional(m);
  });
  start();
  EXPECT_EQ(ask("example.org", type::kA, true).answers.size(), 500u);
  EXPECT_TRUE(ask("example.org", type::kA).truncated);
  EXPECT_EQ(above.asked, 2);
}

TEST_F(ServerTest, TakesNoAnswerToAnotherQuestion) {
  Resolver above("127.0.0.2", [](const Message& q, bool) {
    Message m = address_answer(q, "192.0.2.66");
    m.questions = {{n("forged.org"), type::kA, kClassIn}};
    return std::optional(m);
  });
  start();
  EXPECT_EQ(ask("example.org", type::kA).code, rcode::kServFail);
}

TEST_F(ServerTest, AsksOldServersWithoutExtensions) {
  Resolver above("127.0.0.2", [](const Message& q, bool) {
    if (!q.edns) return std::optional(address_answer(q, "192.0.2.7"));
    Message m;
    m.code = rcode::kFormErr;
    return std::optional(m);
  });
  start();
  EXPECT_EQ(address_of(ask("example.org", type::kA)), "192.0.2.7");
}

TEST_F(ServerTest, AsksOnceForManyWhoAskTheSame) {
  std::mutex mutex;
  std::condition_variable released;
  bool go = false;
  Resolver above("127.0.0.2", [&](const Message& q, bool) {
    std::unique_lock lock(mutex);
    released.wait(lock, [&] { return go; });
    return address_answer(q, "192.0.2.7", 0);
  });
  resolvers("options timeout:5\nnameserver 127.0.0.2\n");
  start();
  std::vector<Fd> clients;
  std::string bytes = encode(query("example.org", type::kA));
  for (int i = 0; i < 20; ++i) {
    clients.push_back(connected(SOCK_DGRAM, kServer));
    ::send(clients.back().get(), bytes.data(), bytes.size(), 0);
  }
  // The server has read them all once it answers one asked after them.
  EXPECT_EQ(address_of(ask("host.kcube.internal", type::kA)), "198.51.100.1");
  {
    std::lock_guard lock(mutex);
    go = true;
  }
  released.notify_all();
  for (Fd& fd : clients) EXPECT_TRUE(wait_for(fd.get()));
  EXPECT_EQ(above.asked, 1);
}

TEST_F(ServerTest, SaysWhereItCannotListen) {
  auto made = Server::create(cluster, RealClock::instance(),
                             {.listen = {"192.0.2.55"}, .resolv_conf = directory + "/resolv.conf"});
  auto r = (*made)->start();
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().message().find("192.0.2.55"), std::string::npos) << r.error().message();
  EXPECT_FALSE(Server::create(cluster, RealClock::instance(), {.listen = {}}));
  EXPECT_FALSE(Server::create(cluster, RealClock::instance(), {.listen = {kServer}, .domain = "bad..domain"}));
}

TEST_F(ServerTest, StopsWithQuestionsUnderWay) {
  Resolver mute("127.0.0.2", [](const Message&, bool) { return std::nullopt; });
  start();
  Fd udp = connected(SOCK_DGRAM, kServer), tcp = connected(SOCK_STREAM, kServer);
  std::string bytes = encode(query("example.org", type::kA));
  ::send(udp.get(), bytes.data(), bytes.size(), 0);
  ::send(tcp.get(), framed(bytes).data(), bytes.size() + 2, 0);
  EXPECT_EQ(address_of(ask("host.kcube.internal", type::kA)), "198.51.100.1");
  server->stop();
}

}  // namespace
}  // namespace kcube::dns
