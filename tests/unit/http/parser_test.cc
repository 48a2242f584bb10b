#include <gtest/gtest.h>

#include "pkg/http/chunked.h"
#include "pkg/http/request_parser.h"
#include "pkg/http/response.h"

namespace kcube::http {
namespace {

ParsedHead parsed(std::string_view head) {
  auto result = parse_head(head, 64);
  EXPECT_TRUE(result) << (result ? "" : result.error().message());
  return result ? std::move(*result) : ParsedHead();
}

int refused(std::string_view head) {
  auto result = parse_head(head, 64);
  return result ? 0 : result.error().code();
}

TEST(RequestParser, ReadsTargetQueryAndHeaders) {
  auto head = parsed(
      "GET /api/v1/pods%2Fx?labelSelector=a%3Db&command=ls&command=-l+x&q=1?2 HTTP/1.1\r\n"
      "Host: h\r\nAuthorization:  Bearer a%41b \r\nImpersonate-Group: one\r\nImpersonate-Group: two\r\n\r\n");
  EXPECT_EQ(head.request.method, "GET");
  EXPECT_EQ(head.request.path, "/api/v1/pods/x");
  EXPECT_EQ(head.request.raw_path, "/api/v1/pods%2Fx");
  EXPECT_EQ(head.request.query.get("labelSelector"), "a=b");
  EXPECT_EQ(head.request.query.get("q"), "1?2");
  ASSERT_EQ(head.request.query.all("command").size(), 2u);
  EXPECT_EQ(head.request.query.all("command")[1], "-l x");
  EXPECT_EQ(head.request.headers.get("authorization"), "Bearer a%41b");
  EXPECT_EQ(head.request.headers.all("impersonate-group").size(), 2u);
  EXPECT_FALSE(head.request.headers.has("REMOTE_ADDR"));
  EXPECT_TRUE(head.keep_alive);
}

TEST(RequestParser, ASwitchIsOnUnlessItSaysNo) {
  auto query = parsed("GET /a?watch=True&follow=&stdin&tty=FALSE&stderr=0&stdout=1 HTTP/1.1\r\nHost: h\r\n\r\n").request.query;
  for (const char* on : {"watch", "follow", "stdin", "stdout"}) EXPECT_TRUE(query.flag(on)) << on;
  for (const char* off : {"tty", "stderr", "absent"}) EXPECT_FALSE(query.flag(off)) << off;
}

TEST(RequestParser, AcceptsLongQueriesAndEveryMethod) {
  std::string query(100000, 'q');
  EXPECT_EQ(parsed("GET /a?c=" + query + " HTTP/1.1\r\nHost: h\r\n\r\n").request.query.get("c").size(), query.size());
  for (std::string method : {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
    EXPECT_EQ(parsed(method + " / HTTP/1.1\r\nHost: h\r\n\r\n").request.method, method);
}

TEST(RequestParser, RefusesWhatTwoParsersCouldReadInTwoWays) {
  EXPECT_EQ(refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
  EXPECT_EQ(refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"), 400);
  EXPECT_EQ(refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\n"), 400);
  EXPECT_EQ(refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n"), 400);
  EXPECT_EQ(refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 3\r\n\r\n"), 400);
  EXPECT_EQ(refused("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), 501);
  EXPECT_EQ(refused("POST / HTTP/1.1\r\nHost: h\r\n folded: x\r\n\r\n"), 400);
  EXPECT_EQ(refused("POST / HTTP/1.1\r\nHost: h\r\nA: b\nTransfer-Encoding: chunked\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
  EXPECT_EQ(refused("nonsense\r\n\r\n"), 400);
}

TEST(RequestParser, LimitsHeaders) {
  std::string many = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 70; ++i) many += "X-" + std::to_string(i) + ": 1\r\n";
  EXPECT_EQ(refused(many + "\r\n"), 431);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(9000, 'x') + "\r\n\r\n"), 431);
  EXPECT_EQ(refused("GET /" + std::string(9000, 'x') + " HTTP/1.1\r\nHost: h\r\n\r\n"), 414);
}

TEST(ChunkDecoder, DecodesInAnyPieces) {
  std::string input = "5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\nGET";
  for (size_t step = 1; step < input.size(); ++step) {
    ChunkDecoder decoder(100);
    std::string body, rest = input;
    auto state = ChunkDecoder::State::more;
    for (size_t have = 0; state == ChunkDecoder::State::more && have < input.size();) {
      size_t used = 0;
      auto piece = std::string_view(input).substr(have, step);
      state = decoder.feed(piece, body, used);
      have += used;
      rest = input.substr(have);
    }
    EXPECT_EQ(state, ChunkDecoder::State::done);
    EXPECT_EQ(body, "hello world");
    EXPECT_EQ(rest, "GET");
  }
}

TEST(ChunkDecoder, RefusesMalformedAndLarge) {
  auto feed = [](std::string_view input) {
    ChunkDecoder decoder(10);
    std::string body;
    size_t used = 0;
    return decoder.feed(input, body, used);
  };
  EXPECT_EQ(feed("b\r\n"), ChunkDecoder::State::too_large);
  EXPECT_EQ(feed("ffffffffffffffff1\r\n"), ChunkDecoder::State::malformed);
  EXPECT_EQ(feed("-1\r\n"), ChunkDecoder::State::malformed);
  EXPECT_EQ(feed("\r\n"), ChunkDecoder::State::malformed);
  EXPECT_EQ(feed("1\n"), ChunkDecoder::State::malformed);
  EXPECT_EQ(feed("1\r\nabc"), ChunkDecoder::State::malformed);
}

TEST(Response, KeepsLineBreaksOutOfHeaders) {
  Headers headers;
  headers.add("X-A", "b\r\nSet-Cookie: c");
  EXPECT_EQ(response_head(200, headers, {.content_length = 0}).find("\r\nSet-Cookie"), std::string::npos);
}

}  // namespace
}  // namespace kcube::http
