// Request heads and chunked bodies, and what the API server makes of a path: no crash, and a decoder that does not depend
// on how its input is cut.
#include "pkg/apiserver/request_info.h"
#include "pkg/auth/auth.h"
#include "pkg/http/chunked.h"
#include "pkg/http/grpc.h"
#include "pkg/http/request_parser.h"
#include "tests/fuzz/driver/fuzz.h"

using namespace kcube;
using namespace kcube::http;
using kcube::fuzz::require;

namespace {

// From a request line to a decision.
void route(const Request& request) {
  bool watch = request.query.get("watch") == "true";
  auto info = apiserver::parse_request(request.method, request.path, watch);
  require(info.is_resource || info.resource.empty() || !info.prefix.empty());
  auth::Attributes a;
  a.verb = info.verb;
  a.api_group = info.group;
  a.resource = info.resource;
  a.subresource = info.subresource;
  a.name = info.name;
  a.namespace_ = info.ns;
  a.resource_request = info.is_resource;
  a.path = request.path;
  (void)auth::rule_allows({.verbs = {"get"}, .api_groups = {""}, .resources = {"pods/*", "*/scale"}, .resource_names = {"a"}}, a);
  (void)auth::rule_allows({.verbs = {"*"}, .non_resource_urls = {"/api/*", "/healthz"}}, a);
}

void chunks(std::string_view input) {
  ChunkDecoder whole(4096), pieces(4096);
  std::string body, cut_body;
  size_t used = 0, have = 0;
  auto state = whole.feed(input, body, used);
  auto cut_state = ChunkDecoder::State::more;
  while (cut_state == ChunkDecoder::State::more && have < input.size()) {
    size_t taken = 0;
    cut_state = pieces.feed(input.substr(have, 1), cut_body, taken);
    have += taken;
  }
  require(state == cut_state);
  require(state != ChunkDecoder::State::done || (body == cut_body && used == have));
}

}  // namespace

std::vector<std::string> kcube::fuzz::seeds() {
  return {"GET /api/v1/namespaces/default/pods?labelSelector=a%3Db&limit=500 HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\n\r\n",
          "GET /apis/apps/v1/namespaces/n/deployments/d/scale HTTP/1.1\r\nHost: h\r\n\r\n",
          "POST /api/v1/namespaces/n/pods/p/exec?command=sh&stdin=true HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
          "DELETE /api/v1/nodes/n/proxy/a/b%2F../c?x=%zz HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n", "GET /api/v1/watch/namespaces/n/pods/p HTTP/1.1\r\nHost: h\r\n\r\n",
          "PUT //api//v1/%2e%2e/%00 HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", std::string("\0\0\0\0\2hi", 7), "a;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string input(kcube::fuzz::text(bytes, size));
  for (const std::string& head : {input, "GET /" + input + " HTTP/1.1\r\nHost: h\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\n" + input + "\r\n\r\n"})
    if (auto request = parse_head(head, 64)) route(request->request);
  for (const char* method : {"GET", "DELETE"}) {
    Request request;
    request.method = method;
    request.path = input;
    route(request);
  }
  chunks(input);
  if (GrpcAnswer answer = parse_grpc_body(input); answer.ok()) require(answer.message == input.substr(5));
  return 0;
}
