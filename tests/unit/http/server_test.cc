#include <thread>

#include "pkg/base/file.h"
#include "tests/unit/http/fixture.h"

namespace kcube::http {
namespace {

TEST(Server, AnswersPipelinedRequestsInOrder) {
  TestServer test(echo, {}, false);
  RawClient client(test.server->port());
  client.send(
      "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /3 "
      "HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  auto all = client.read_all();
  EXPECT_LT(all.find("[GET /1 ]"), all.find("[POST /2 abc]"));
  EXPECT_LT(all.find("[POST /2 abc]"), all.find("[GET /3 ]"));
  EXPECT_TRUE(all.ends_with("<end>"));
}

TEST(Server, ReadsBodiesOfDeletes) {
  TestServer test(echo, {}, false);
  RawClient client(test.server->port());
  client.send("DELETE /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  client.send("14\r\nGET /evil HTTP/1.1\r\n\r\n0\r\n\r\n");
  EXPECT_NE(client.read_until("]").find("[DELETE /a GET /evil HTTP/1.1\r\n]"), std::string::npos);
  client.send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_NE(client.read_until("]").find("[GET /b ]"), std::string::npos);
}

TEST(Server, InvitesBodiesThatAskFirst) {
  TestServer test(echo, {}, false);
  RawClient client(test.server->port());
  client.send("PUT /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("hi");
  EXPECT_NE(client.read_until("]").find("[PUT /a hi]"), std::string::npos);
}

TEST(Server, RefusesLargeBodiesWithAStatus) {
  TestServer test(echo, {.max_body_bytes = 10}, false);
  for (std::string request : {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n",
                              "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n"}) {
    RawClient client(test.server->port());
    client.send(request);
    auto answer = client.read_all();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 413 ")) << answer;
    EXPECT_NE(answer.find(R"("reason":"RequestEntityTooLarge","code":413)"), std::string::npos) << answer;
    EXPECT_NE(answer.find("Request entity too large: limit is 10"), std::string::npos);
  }
}

TEST(Server, RefusesMalformedRequestsAndCloses) {
  TestServer test(echo, {.max_header_bytes = 1000}, false);
  for (auto [request, status] : std::vector<std::pair<std::string, std::string>>{
           {"garbage\r\n\r\n", "400"},
           {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
           {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
           {"GET / HTTP/1.1\r\nHost: " + std::string(2000, 'h'), "431"}}) {
    RawClient client(test.server->port());
    client.send(request);
    auto answer = client.read_all();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + status)) << answer;
    EXPECT_TRUE(answer.ends_with("<end>"));
  }
}

TEST(Server, ClosesSlowAndIdleConnections) {
  TestServer test(echo,
                  {.header_deadline = std::chrono::milliseconds(200), .idle_deadline = std::chrono::milliseconds(200)},
                  false);
  RawClient half(test.server->port()), silent(test.server->port()), idle(test.server->port());
  half.send("GET / HT");
  idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(half.read_all(), "<end>");
  EXPECT_EQ(silent.read_all(), "<end>");
  EXPECT_TRUE(idle.read_all().ends_with("]<end>"));
  EXPECT_EQ(test.server->connections(), 0u);
}

TEST(Server, AnswersFromAnotherThreadLater) {
  TestServer test([](Request&, std::unique_ptr<Responder> responder) {
    std::thread([r = std::shared_ptr<Responder>(std::move(responder))] { r->respond(202, {}, "later"); }).detach();
  });
  auto client = Client::create(client_tls());
  auto response = client->send({.url = test.base + "/"});
  ASSERT_TRUE(response) << response.error().message();
  EXPECT_EQ(response->status, 202);
  EXPECT_EQ(response->body, "later");
}

TEST(Server, AnswersFiveHundredWhenTheHandlerForgets) {
  TestServer test([](Request&, std::unique_ptr<Responder>) {});
  EXPECT_EQ(Client::create(client_tls())->send({.url = test.base + "/"})->status, 500);
}

TEST(Server, StreamsPiecesAndReusesTheConnection) {
  std::unique_ptr<Stream> stream;
  Event ready;
  TestServer test(
      [&](Request& request, std::unique_ptr<Responder> responder) {
        if (request.path != "/watch") return echo(request, std::move(responder));
        stream = responder->stream(200, {});
        ready.set();
      },
      {}, false);
  RawClient client(test.server->port());
  client.send("GET /watch HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(ready.wait());
  for (std::string text : {"one", "two"}) {
    EXPECT_TRUE(stream->write(std::make_shared<std::string>(text)));
    EXPECT_NE(client.read_until(text + "\r\n").find("3\r\n" + text), std::string::npos);
  }
  stream.reset();
  EXPECT_EQ(client.read_until("0\r\n\r\n"), "0\r\n\r\n");
  client.send("GET /after HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_NE(client.read_until("]").find("[GET /after ]"), std::string::npos);
}

TEST(Server, TellsAStreamThatItsClientIsGone) {
  std::unique_ptr<Stream> stream;
  Event ready, gone;
  TestServer test(
      [&](Request&, std::unique_ptr<Responder> responder) {
        stream = responder->stream(200, {});
        stream->on_close([&] { gone.set(); });
        ready.set();
      },
      {}, false);
  RawClient client(test.server->port());
  client.send("GET /watch HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(ready.wait());
  client.close();
  EXPECT_TRUE(gone.wait());
  EXPECT_FALSE(stream->write(std::make_shared<std::string>("x")));
}

TEST(Server, CutsOffAStreamWhoseClientDoesNotRead) {
  std::unique_ptr<Stream> stream;
  Event ready, gone;
  TestServer test(
      [&](Request&, std::unique_ptr<Responder> responder) {
        stream = responder->stream(200, {});
        stream->on_close([&] { gone.set(); });
        ready.set();
      },
      {.stream_buffer_bytes = 1 << 20}, false);
  RawClient client(test.server->port());
  client.send("GET /watch HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(ready.wait());
  auto piece = std::make_shared<std::string>(100000, 'x');
  bool alive = true;
  for (int i = 0; i < 1000 && alive; ++i) alive = stream->write(piece);
  EXPECT_FALSE(alive);
  EXPECT_TRUE(gone.wait());
}

TEST(Server, AStreamWrittenInsideTheHandlerArrivesAtOnce) {
  Event go;
  TestServer test(
      [&](Request&, std::unique_ptr<Responder> responder) {
        auto stream = responder->stream(200, {});
        stream->write(std::make_shared<std::string>("first"));
        go.wait();
      },
      {}, false);
  RawClient client(test.server->port());
  client.send("GET /log HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_NE(client.read_until("first").find("first"), std::string::npos);
  go.set();
  client.read_until("0\r\n\r\n");
}

TEST(Server, GrowsWhenHandlersBlock) {
  // Every handler waits until all of them are inside: passes only when each has a thread.
  constexpr int kCount = 20;
  std::mutex mutex;
  std::condition_variable all_in;
  int inside = 0;
  TestServer test(
      [&](Request&, std::unique_ptr<Responder> responder) {
        std::unique_lock lock(mutex);
        if (++inside == kCount) all_in.notify_all();
        bool ok = all_in.wait_for(lock, std::chrono::seconds(20), [&] { return inside == kCount; });
        responder->respond(ok ? 200 : 500, {}, "");
      },
      {}, false);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < kCount; ++i) {
    clients.push_back(std::make_unique<RawClient>(test.server->port()));
    clients.back()->send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  for (auto& client : clients) EXPECT_TRUE(client->read_until("\r\n\r\n").starts_with("HTTP/1.1 200"));
}

TEST(Server, StopEndsStreamsAndIdleConnections) {
  std::unique_ptr<Stream> stream;
  Event ready, gone;
  TestServer test(
      [&](Request&, std::unique_ptr<Responder> responder) {
        stream = responder->stream(200, {});
        stream->on_close([&] { gone.set(); });
        ready.set();
      },
      {}, false);
  RawClient client(test.server->port()), idle(test.server->port());
  client.send("GET /watch HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(ready.wait());
  test.server->stop(std::chrono::seconds(5));
  EXPECT_TRUE(client.read_all().ends_with("0\r\n\r\n<end>"));
  EXPECT_EQ(idle.read_all(), "<end>");
  EXPECT_TRUE(gone.wait());
}

TEST(Server, SaysThatAPortIsInUse) {
  TestServer test(echo, {}, false);
  auto second = Server::create({.address = "127.0.0.1", .port = test.server->port(), .tls = false}, echo);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), 409);
  EXPECT_EQ(second.error().reason(), "KC_PORT_IN_USE");
}

TEST(Server, ListensOnUnixSocketsToo) {
  char directory[] = "/tmp/kcube-http-XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  std::string path = std::string(directory) + "/s";
  ASSERT_TRUE(file::write(path + "-other", ""));
  {
    TestServer test(echo, {.more = {{path, 0}}});
    auto response = Client::create({})->send({.url = "http://localhost/x", .unix_socket = path});
    ASSERT_TRUE(response) << response.error().message();
    EXPECT_EQ(response->body, "[GET /x ]");
  }
  EXPECT_FALSE(file::exists(path));
  (void)file::remove_tree(directory);
}

TEST(Server, HeadHasLengthButNoBody) {
  TestServer test(echo, {}, false);
  RawClient client(test.server->port());
  client.send("HEAD /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  auto answer = client.read_all();
  EXPECT_NE(answer.find("Content-Length: 10\r\n"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("\r\n\r\n<end>"));
}

TEST(Server, LargeSharedBodiesArriveWhole) {
  auto piece = std::make_shared<const std::string>(100000, 'a');
  TestServer test([&](Request&, std::unique_ptr<Responder> responder) {
    std::vector<Slice> body;
    for (int i = 0; i < 100; ++i) {
      body.push_back(slice(piece));
      body.push_back(slice(std::make_shared<const std::string>(",")));
    }
    responder->respond_shared(200, {}, std::move(body));
  });
  auto response = Client::create(client_tls())->send({.url = test.base + "/"});
  ASSERT_TRUE(response) << response.error().message();
  EXPECT_EQ(response->body.size(), 100u * 100001);
  EXPECT_EQ(response->body[100000], ',');
}

// A request put aside holds no thread, and is carried on with by run().
TEST(Server, AnswersRequestsThatWerePutAside) {
  std::mutex mutex;
  std::vector<std::unique_ptr<Responder>> aside;
  Event all;
  auto put_aside = [&](Request& request, std::unique_ptr<Responder> responder) {
    if (request.path == "/now") return responder->respond(200, {}, "[now]");
    std::lock_guard lock(mutex);
    aside.push_back(std::move(responder));
    if (aside.size() == 8) all.set();
  };
  TestServer test(put_aside, {.max_threads = 2}, false);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(std::make_unique<RawClient>(test.server->port()));
    clients.back()->send("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  ASSERT_TRUE(all.wait());
  RawClient other(test.server->port());
  other.send("GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_NE(other.read_until("]").find("[now]"), std::string::npos);
  for (auto& responder : aside)
    test.server->run([held = std::make_shared<std::unique_ptr<Responder>>(std::move(responder))] { (*held)->respond(200, {}, "[later]"); });
  for (auto& client : clients) EXPECT_NE(client->read_until("]").find("[later]"), std::string::npos);
}

TEST(Server, SaysWhenAClientLeavesItsRequestBehind) {
  Event gone, there;
  std::unique_ptr<Responder> aside;
  auto put_aside = [&](Request&, std::unique_ptr<Responder> responder) {
    aside = std::move(responder);
    aside->on_abandoned([&] { gone.set(); });
    there.set();
  };
  TestServer test(put_aside, {}, false);
  auto client = std::make_unique<RawClient>(test.server->port());
  client->send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(there.wait());
  client.reset();
  EXPECT_TRUE(gone.wait());
  aside.reset();
}

TEST(Server, DropsTasksWhenItStops) {
  auto dropped = std::make_shared<int>(0);
  std::weak_ptr<int> watch = dropped;
  auto test = std::make_unique<TestServer>(echo, ServerOptions{}, false);
  test->server->stop(std::chrono::milliseconds(0));
  test->server->run([dropped = std::move(dropped)] { ++*dropped; });
  test.reset();
  EXPECT_TRUE(watch.expired());
}

}  // namespace
}  // namespace kcube::http
