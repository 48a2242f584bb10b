// The channel protocols as other clients than kubectl speak them, and as no client should.
#include "pkg/base/strings.h"
#include "pkg/http/spdy_headers.h"
#include "tests/unit/http/kubectl_server.h"

namespace kcube::http {
namespace {

std::string websocket_frame(uint8_t first, std::string_view payload, bool masked = true) {
  std::string frame{static_cast<char>(first)};
  char mask_bit = masked ? '\x80' : '\0';
  if (payload.size() < 126)
    frame.push_back(static_cast<char>(payload.size() | mask_bit));
  else
    frame.append(
        {static_cast<char>(126 | mask_bit), static_cast<char>(payload.size() >> 8), static_cast<char>(payload.size())});
  if (!masked) return frame.append(payload);
  frame.append("\x01\x02\x03\x04");
  for (size_t i = 0; i < payload.size(); ++i) frame.push_back(static_cast<char>(payload[i] ^ ((i & 3) + 1)));
  return frame;
}

class Dialled {
 public:
  explicit Dialled(Result<Upgraded> upgraded) : upgraded_(std::move(upgraded)) {}
  bool ok() const { return upgraded_.has_value(); }
  const Status& error() const { return upgraded_.error(); }
  std::string_view header(std::string_view name) const { return upgraded_->headers.get(name); }
  void send(std::string_view bytes) { EXPECT_TRUE(upgraded_->tunnel->write(bytes)); }
  std::string take(size_t size) {
    std::string bytes(size, '\0');
    for (size_t have = 0; have < size;) {
      auto n = upgraded_->tunnel->read(bytes.data() + have, size - have);
      if (!n || *n == 0) return bytes.substr(0, have) + "<end>";
      have += *n;
    }
    return bytes;
  }
  // Opcode and payload of the next WebSocket frame.
  std::pair<int, std::string> frame() {
    auto head = take(2);
    if (head.ends_with("<end>")) return {-1, ""};
    size_t size = static_cast<unsigned char>(head[1]);
    if (size == 126) {
      auto wide = take(2);
      size = static_cast<unsigned char>(wide[0]) << 8 | static_cast<unsigned char>(wide[1]);
    }
    return {head[0] & 15, take(size)};
  }

 private:
  Result<Upgraded> upgraded_;
};

class Streams : public testing::Test {
 protected:
  Dialled websocket(const std::string& target, const std::string& protocols) {
    ClientRequest request{.url = test_.base + target};
    request.headers.add("Connection", "keep-alive, Upgrade");
    request.headers.add("Upgrade", "websocket");
    request.headers.add("Sec-WebSocket-Version", "13");
    request.headers.add("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    if (!protocols.empty()) request.headers.add("Sec-WebSocket-Protocol", protocols);
    return Dialled(dial_upgrade(request, client_tls(), nullptr));
  }
  Dialled spdy(const std::string& target, const std::string& protocol) {
    ClientRequest request{.method = "POST", .url = test_.base + target};
    request.headers.add("Connection", "Upgrade");
    request.headers.add("Upgrade", "SPDY/3.1");
    request.headers.add("X-Stream-Protocol-Version", protocol);
    return Dialled(dial_upgrade(request, client_tls(), nullptr));
  }
  TestServer test_{serve_kubectl};
};

constexpr const char* kCat = "/exec?stdin=true&stdout=true&command=cat";

TEST_F(Streams, WebSocketV5EndsInputWithTheCloseSignal) {
  auto client = websocket(kCat, "unknown, v5.channel.k8s.io");
  ASSERT_TRUE(client.ok()) << client.error().message();
  EXPECT_EQ(client.header("Sec-WebSocket-Protocol"), "v5.channel.k8s.io");
  EXPECT_EQ(client.header("Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  client.send(websocket_frame(0x02, std::string("\0hel", 4)));  // fragments,
  client.send(websocket_frame(0x89, "ping"));                   // a ping between them
  client.send(websocket_frame(0x80, "lo"));
  client.send(websocket_frame(0x82, std::string("\xff\0", 2)));
  EXPECT_EQ(client.frame(), std::pair(10, std::string("ping")));
  EXPECT_EQ(client.frame(), std::pair(2, std::string("\x01hello")));
  EXPECT_EQ(client.frame(), std::pair(2, "\x03" + exit_status(0)));
  EXPECT_EQ(client.frame(), std::pair(8, std::string("\x03\xe8")));
}

TEST_F(Streams, WebSocketBase64SpeaksText) {
  auto client = websocket("/exec?stdout=true&command=echo&command=hi", "base64.channel.k8s.io");
  ASSERT_TRUE(client.ok());
  EXPECT_EQ(client.frame(), std::pair(1, std::string("1")));
  EXPECT_EQ(client.frame(), std::pair(1, "1" + base64_encode("hi\n")));
  EXPECT_EQ(client.frame().first, 8);  // success is silent before v4
}

TEST_F(Streams, OldWebSocketClientsGetThePlainMessage) {
  auto client = websocket("/exec?stdout=true&command=false", "");
  EXPECT_EQ(client.frame(), std::pair(2, std::string("\x01")));
  EXPECT_EQ(client.frame(), std::pair(2, std::string("\x03"
                                                     "command terminated with non-zero exit code: exit status 1")));
}

TEST_F(Streams, RefusesWhatItDoesNotSpeak) {
  auto unknown = websocket(kCat, "v9.channel.k8s.io");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code(), 400);
  auto none = websocket("/exec?command=cat", "v5.channel.k8s.io");
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code(), 400);
  EXPECT_NE(none.error().message().find("you must specify at least 1 of stdin, stdout, stderr"), std::string::npos);
  EXPECT_EQ(spdy(kCat, "v9.channel.k8s.io").error().code(), 403);
  EXPECT_EQ(Client::create(client_tls())->send({.url = test_.base + kCat})->status, 400);
}

TEST_F(Streams, ClosesWebSocketsThatBreakTheProtocol) {
  struct Case {
    std::string bytes;
    std::string code;
  };
  for (auto& bad : {Case{websocket_frame(0x82, "x", false), "\x03\xea"}, Case{websocket_frame(0xc2, "x"), "\x03\xea"},
                    Case{websocket_frame(0x80, "x"), "\x03\xea"}, Case{websocket_frame(0x83, "x"), "\x03\xea"},
                    Case{websocket_frame(0x09, "x"), "\x03\xea"},
                    Case{std::string("\x82\xff\0\0\0\0\x7f\0\0\0\1\2\3\4", 14), "\x03\xf1"}}) {
    auto client = websocket(kCat, "v5.channel.k8s.io");
    client.send(bad.bytes);
    auto [opcode, payload] = client.frame();
    EXPECT_EQ(opcode, 8);
    EXPECT_EQ(payload.substr(0, 2), bad.code);
  }
}

TEST_F(Streams, WebSocketPortForwardChannelsCarryThePort) {
  TestServer backend(echo, {}, false);
  uint16_t port = backend.server->port();
  auto client = websocket("/portforward?port=" + std::to_string(port) + "&port=1", "v4.channel.k8s.io");
  ASSERT_TRUE(client.ok());
  std::map<char, std::string> seen;
  client.send(websocket_frame(0x82, std::string("\0GET /x HTTP/1.0\r\n\r\n", 20)));
  while (seen[0].find("[GET /x ]") == std::string::npos || seen[3].find("refused") == std::string::npos) {
    auto [opcode, payload] = client.frame();
    ASSERT_EQ(opcode, 2);
    seen[payload[0]] += payload.substr(1);
  }
  EXPECT_EQ(seen[0].substr(0, 2), (std::string{static_cast<char>(port), static_cast<char>(port >> 8)}));
  EXPECT_EQ(seen[1], seen[0].substr(0, 2));
  EXPECT_EQ(seen[3].substr(0, 2), std::string("\1\0", 2));
  // Both ends are through, though the client has not said that it is.
  std::pair<int, std::string> last;
  while ((last = client.frame()).first == 2) {}
  EXPECT_EQ(last, std::pair(8, std::string("\x03\xe8")));
}

TEST_F(Streams, MessagesFlowAsTheSubprotocolSays) {
  auto plain = websocket("/log", "");
  EXPECT_EQ(plain.frame(), std::pair(1, std::string("line 1\n")));
  EXPECT_EQ(plain.frame(), std::pair(1, std::string("line 2\n")));
  EXPECT_EQ(plain.frame(), std::pair(8, std::string("\x03\xe8")));
  auto binary = websocket("/log", "binary.k8s.io");
  EXPECT_EQ(binary.frame(), std::pair(2, std::string("line 1\n")));
  auto base64 = websocket("/log", "base64.binary.k8s.io");
  EXPECT_EQ(base64.header("Sec-WebSocket-Protocol"), "base64.binary.k8s.io");
  EXPECT_EQ(base64.frame(), std::pair(1, base64_encode("line 1\n")));
  EXPECT_FALSE(websocket("/log", "unknown").ok());
}

TEST_F(Streams, MessagesStopWhenTheClientIsGone) {
  { websocket("/log?follow=true", "").frame(); }
  test_.server->stop(std::chrono::seconds(20));  // waits for the handler
}

// --- SPDY ---

std::string word(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}
std::string control(uint16_t type, const std::string& payload, uint8_t flags = 0) {
  return word(0x80030000 | type) + word(uint32_t{flags} << 24 | static_cast<uint32_t>(payload.size())) + payload;
}
std::string data(uint32_t id, const std::string& payload, uint8_t flags = 0) {
  return word(id) + word(uint32_t{flags} << 24 | static_cast<uint32_t>(payload.size())) + payload;
}

class SpdyClient {
 public:
  explicit SpdyClient(Dialled dialled) : dialled_(std::move(dialled)) { EXPECT_TRUE(dialled_.ok()); }
  void open(uint32_t id, const std::string& type) {
    Headers headers;
    headers.add("streamtype", type);
    send(control(1, word(id) + word(0) + std::string(2, '\0') + writer_.write(headers)));
  }
  void send(const std::string& bytes) { dialled_.send(bytes); }
  // The next frame: {stream or control type with the top bit, flags, payload}.
  std::tuple<uint32_t, int, std::string> frame() {
    auto head = dialled_.take(8);
    if (head.ends_with("<end>")) return {0, 0, "<end>"};
    auto number = [&](size_t at, size_t size) {
      uint32_t value = 0;
      for (size_t i = at; i < at + size; ++i) value = value << 8 | static_cast<unsigned char>(head[i]);
      return value;
    };
    return {number(0, 4), static_cast<int>(number(4, 1)), dialled_.take(number(5, 3))};
  }
  // Everything sent on data stream `id` until its end.
  std::string stream(uint32_t id) {
    std::string all;
    while (true) {
      auto [what, flags, payload] = frame();
      if (payload == "<end>") return all + payload;
      if (what != id) continue;
      all += payload;
      if (flags & 1) return all;
    }
  }

 private:
  Dialled dialled_;
  SpdyHeaderWriter writer_;
};

TEST_F(Streams, SpdyAnswersPingsAndIgnoresUnknownFrames) {
  SpdyClient client(spdy(kCat, "v4.channel.k8s.io"));
  client.send(control(6, word(7)));
  EXPECT_EQ(client.frame(), std::tuple(0x80030006u, 0, word(7)));
  client.send(control(99, "whatever") + control(4, word(0)) + control(6, word(9)));
  EXPECT_EQ(client.frame(), std::tuple(0x80030006u, 0, word(9)));
}

TEST_F(Streams, SpdyExecEndsWithItsStatus) {
  SpdyClient client(spdy("/exec?stdout=true&command=false", "v4.channel.k8s.io"));
  client.open(1, "error");
  client.open(3, "stdout");
  EXPECT_EQ(client.stream(1), exit_status(1));
}

TEST_F(Streams, SpdyInputEndsWithItsStream) {
  SpdyClient client(spdy(kCat, "v4.channel.k8s.io"));
  client.open(1, "error");
  client.open(3, "stdin");
  client.open(5, "stdout");
  client.send(data(3, "hel") + data(3, "lo", 1));
  EXPECT_EQ(client.stream(5), "hello");
}

TEST_F(Streams, SpdyKeepsToTheWindowsOfAClientThatHasThem) {
  SpdyClient client(
      spdy("/exec?stdout=true&command=head&command=-c&command=200000&command=/dev/zero", "v4.channel.k8s.io"));
  client.send(control(4, word(1) + word(7) + word(1000)));  // windows of 1,000 bytes
  client.open(1, "error");
  client.send(control(9, word(1) + word(1)));  // and they bind
  client.open(3, "stdout");
  size_t received = 0, granted = 1000;
  while (received < 200000) {
    auto [what, flags, payload] = client.frame();
    ASSERT_NE(payload, "<end>");
    if (what != 3) continue;
    received += payload.size();
    ASSERT_LE(received, granted);
    if (received < granted) continue;
    client.send(control(9, word(3) + word(5000)));
    granted += 5000;
  }
  EXPECT_EQ(client.stream(1), exit_status(0));
}

TEST_F(Streams, SpdyConnectionsThatBreakTheProtocolEnd) {
  for (const std::string& bad : {control(1, word(1) + word(0) + std::string(2, '\0') + "not zlib"), control(1, "short"),
                                 word(0x80020001) + word(0), word(0x80030001) + word(0xffffff)}) {
    SpdyClient client(spdy(kCat, "v4.channel.k8s.io"));
    client.send(bad);
    std::string payload;
    while (payload != "<end>") payload = std::get<2>(client.frame());
  }
}

TEST(SpdyHeaders, RoundTripThroughOneCompressionState) {
  SpdyHeaderWriter writer;
  SpdyHeaderReader reader;
  for (int i = 0; i < 20; ++i) {
    Headers headers;
    headers.add("StreamType", "data");
    headers.add("port", std::to_string(i));
    auto read = reader.read(writer.write(headers));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->get("streamtype"), "data");
    EXPECT_EQ(read->get("port"), std::to_string(i));
  }
}

}  // namespace
}  // namespace kcube::http
