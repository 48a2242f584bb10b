#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <thread>

#include "pkg/base/file.h"
#include "pkg/base/process.h"
#include "tests/unit/http/fixture.h"

namespace kcube::http {
namespace {

TEST(Client, SendsMethodsBodiesAndHeaders) {
  TestServer test([](Request& request, std::unique_ptr<Responder> responder) {
    Headers headers;
    headers.add("X-Seen", std::string(request.headers.get("X-Ask")));
    responder->respond(201, std::move(headers),
                       request.method + " " + request.path + "?" + request.raw_query + " " + request.body);
  });
  auto client = Client::create(client_tls());
  for (std::string method : {"POST", "PUT", "PATCH", "DELETE"}) {
    ClientRequest request{.method = method, .url = test.base + "/a/b?c=d", .body = "body"};
    request.headers.add("X-Ask", "yes");
    auto response = client->send(request);
    ASSERT_TRUE(response) << response.error().message();
    EXPECT_EQ(response->status, 201);
    EXPECT_EQ(response->body, method + " /a/b?c=d body");
    EXPECT_EQ(response->headers.get("x-seen"), "yes");
  }
  EXPECT_EQ(client->send({.method = "POST", .url = test.base + "/empty"})->body, "POST /empty? ");
}

TEST(Client, VerifiesTheServer) {
  TestServer test(echo);
  auto refused = Client::create({.ca_pem = auth::make_ca("other", std::chrono::hours(1))->certificate_pem})
                     ->send({.url = test.base + "/"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), 503);
  EXPECT_FALSE(Client::create({.ca_pem = test_ca().certificate_pem, .server_name = "wrong.test"})
                   ->send({.url = test.base + "/"}));
  EXPECT_TRUE(Client::create({.ca_pem = test_ca().certificate_pem, .server_name = "kube.test"})
                  ->send({.url = test.base + "/"}));
  EXPECT_TRUE(Client::create({.verify = false})->send({.url = test.base + "/"}));
}

TEST(Client, FailsWithTheReason) {
  auto client = Client::create({});
  EXPECT_EQ(client->send({.url = "http://127.0.0.1:1/"}).error().code(), 503);
  EXPECT_EQ(client->send({.url = "nonsense://"}).error().code(), 400);
  std::unique_ptr<Responder> kept;  // outlives the server
  TestServer silent([&](Request&, std::unique_ptr<Responder> responder) { kept = std::move(responder); }, {}, false);
  auto late = client->send({.url = silent.base + "/", .timeout = std::chrono::milliseconds(100)});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), 504);
}

TEST(Client, StreamsAndCancels) {
  Event gone;
  std::unique_ptr<Stream> stream;
  TestServer test([&](Request&, std::unique_ptr<Responder> responder) {
    stream = responder->stream(200, {});
    stream->on_close([&] { gone.set(); });
    stream->write(std::make_shared<std::string>("event"));
  });
  auto client = Client::create(client_tls());
  Event head, data;
  auto watch = client->open(
      {.url = test.base + "/watch", .timeout = std::chrono::milliseconds(0)},
      [&](int status, const Headers&) {
        if (status == 200) head.set();
      },
      [&](std::string_view piece) {
        if (piece == "event") data.set();
      },
      [](Result<void>) {});
  ASSERT_TRUE(watch);
  EXPECT_TRUE(head.wait());
  EXPECT_TRUE(data.wait());
  watch->reset();
  EXPECT_TRUE(gone.wait());
}

TEST(Client, TellsTheEndOfAStream) {
  TestServer test([&](Request& request, std::unique_ptr<Responder> responder) {
    if (request.path == "/good") responder->stream(200, {})->write(std::make_shared<std::string>("x"));
  });
  auto client = Client::create(client_tls());
  Event end;
  bool ok = false;
  auto watch = client->open(
      {.url = test.base + "/good"}, [](int, const Headers&) {}, [](std::string_view) {},
      [&](Result<void> result) {
        ok = result.has_value();
        end.set();
      });
  EXPECT_TRUE(end.wait());
  EXPECT_TRUE(ok);
}

void serve_echo_tunnel(Request& request, std::unique_ptr<Responder> responder) {
  if (request.headers.get("Upgrade") != "echo") return responder->respond(403, {}, "no");
  Headers headers;
  headers.add("Connection", "Upgrade");
  headers.add("Upgrade", "echo");
  auto tunnel = responder->upgrade(std::move(headers));
  if (!tunnel) return;
  char buffer[70000];
  while (true) {
    auto n = (*tunnel)->read(buffer, sizeof buffer);
    if (!n || *n == 0) break;
    if (!(*tunnel)->write({buffer, *n})) break;
  }
  (*tunnel)->close_write();
}

ClientRequest upgrade_request(std::string url) {
  ClientRequest request{.method = "POST", .url = std::move(url)};
  request.headers.add("Connection", "Upgrade");
  request.headers.add("Upgrade", "echo");
  return request;
}

std::string read_exactly(Tunnel& tunnel, size_t size) {
  std::string all;
  char buffer[8192];
  while (all.size() < size) {
    auto n = tunnel.read(buffer, sizeof buffer);
    if (!n || *n == 0) break;
    all.append(buffer, *n);
  }
  return all;
}

TEST(Dial, UpgradesBothWays) {
  for (bool tls : {true, false}) {
    TestServer test(serve_echo_tunnel, {}, tls);
    auto upgraded = dial_upgrade(upgrade_request(test.base + "/t"), client_tls(), nullptr);
    ASSERT_TRUE(upgraded) << upgraded.error().message();
    EXPECT_EQ(upgraded->headers.get("Upgrade"), "echo");
    std::string big(3000000, 'x');
    std::thread writer([&] {
      EXPECT_TRUE(upgraded->tunnel->write(big));
      upgraded->tunnel->close_write();
    });
    EXPECT_EQ(read_exactly(*upgraded->tunnel, big.size() + 1).size(), big.size());
    writer.join();
  }
}

TEST(Dial, ReturnsTheRefusal) {
  TestServer test(serve_echo_tunnel);
  ClientResponse refused;
  auto upgraded = dial_upgrade({.url = test.base + "/t"}, client_tls(), &refused);
  ASSERT_FALSE(upgraded);
  EXPECT_EQ(upgraded.error().code(), 403);
  EXPECT_EQ(refused.body, "no");
}

TEST(Dial, SplicesThroughAProxy) {
  TestServer backend(serve_echo_tunnel);
  TestServer proxy([&](Request&, std::unique_ptr<Responder> responder) {
    auto upstream = dial_upgrade(upgrade_request(backend.base + "/t"), client_tls(), nullptr);
    ASSERT_TRUE(upstream);
    auto downstream = responder->upgrade(upstream->headers);
    ASSERT_TRUE(downstream);
    splice(**downstream, *upstream->tunnel);
  });
  auto upgraded = dial_upgrade(upgrade_request(proxy.base + "/t"), client_tls(), nullptr);
  ASSERT_TRUE(upgraded) << upgraded.error().message();
  ASSERT_TRUE(upgraded->tunnel->write("ping"));
  EXPECT_EQ(read_exactly(*upgraded->tunnel, 4), "ping");
  upgraded->tunnel->close_write();
  EXPECT_EQ(read_exactly(*upgraded->tunnel, 1), "");
}

TEST(Dial, StoppingTheServerEndsItsTunnels) {
  TestServer test(serve_echo_tunnel);
  auto upgraded = dial_upgrade(upgrade_request(test.base + "/t"), client_tls(), nullptr);
  ASSERT_TRUE(upgraded);
  test.server->stop(std::chrono::milliseconds(10));
  EXPECT_EQ(read_exactly(*upgraded->tunnel, 1), "");
}

// etcd answers gRPC health checks without TLS: a real peer for HTTP/2 with prior knowledge.
TEST(Client, SpeaksHttp2ToGrpcServers) {
  const char* peers = std::getenv("KCUBE_PEERS");
  if (peers == nullptr || !file::exists(peers + std::string("/etcd"))) GTEST_SKIP() << "no etcd in $KCUBE_PEERS";
  char directory[] = "/tmp/kcube-etcd-XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  auto etcd = process::spawn({.argv = {peers + std::string("/etcd"), "--data-dir", directory, "--listen-client-urls",
                                       "http://127.0.0.1:23790", "--advertise-client-urls", "http://127.0.0.1:23790",
                                       "--listen-peer-urls", "http://127.0.0.1:23791", "--log-level", "fatal"}});
  ASSERT_TRUE(etcd);
  ClientRequest request{.method = "POST",
                        .url = "http://127.0.0.1:23790/grpc.health.v1.Health/Check",
                        .body = std::string(5, '\0'),
                        .http2_prior_knowledge = true};
  request.headers.add("Content-Type", "application/grpc");
  request.headers.add("TE", "trailers");
  auto client = Client::create({});
  auto response = client->send(request);
  for (int i = 0; i < 200 && !response; ++i) {
    ::usleep(50000);  // until it listens
    response = client->send(request);
  }
  EXPECT_TRUE(response) << response.error().message();
  if (response) {
    EXPECT_EQ(response->headers.get("grpc-status"), "0");
    EXPECT_EQ(response->body.substr(5), "\x08\x01");  // SERVING
  }
  (void)process::send_signal(etcd->pidfd, SIGKILL);
  int status = 0;
  ::waitpid(etcd->pid, &status, 0);
  (void)file::remove_tree(directory);
}

TEST(Client, ConnectsInsideAnotherNetworkNamespace) {
  std::string name = "kc-http-" + std::to_string(::getpid());
  if (process::run({"ip", "netns", "add", name})->exit_code != 0) GTEST_SKIP() << "no network namespaces here";
  TestServer test(echo, {}, false);
  auto client = Client::create({});
  ASSERT_TRUE(client->send({.url = test.base + "/"}));
  auto inside = client->send({.url = test.base + "/", .netns_path = "/run/netns/" + name});
  EXPECT_FALSE(inside);  // its loopback is another one, and a pooled connection is not used
  EXPECT_FALSE(client->send({.url = test.base + "/", .netns_path = "/run/netns/none"}));
  EXPECT_TRUE(client->send({.url = test.base + "/", .netns_path = "/proc/self/ns/net"}));
  (void)process::run({"ip", "netns", "del", name});
}

}  // namespace
}  // namespace kcube::http
