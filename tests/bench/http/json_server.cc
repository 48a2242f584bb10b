// Answers every GET with a small JSON object over TLS: what the reactor costs by itself. Arguments: CERT KEY [PORT].
// Prints its port; ends with standard input.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "pkg/base/file.h"
#include "pkg/http/server.h"

using namespace kcube;

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  http::ServerOptions options;
  options.address = "127.0.0.1";
  if (argc > 3) options.port = static_cast<uint16_t>(std::atoi(argv[3]));
  options.tls_options.certificate_pem = file::read(argv[1]).value();
  options.tls_options.key_pem = file::read(argv[2]).value();
  options.tls_options.client_ca_pem = options.tls_options.certificate_pem;
  std::string body(
      R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"default"},"data":{"k":"v","l":"w"}})");
  auto server = http::Server::create(options, [&](http::Request& request, std::unique_ptr<http::Responder> responder) {
    http::Headers headers;
    headers.add("Content-Type", "application/json");
    if (request.path == "/block") ::usleep(20000);  // a handler that waits for a disk: others must not wait with it
    if (request.path == "/echo") return responder->respond(200, headers, request.body);
    responder->respond(200, std::move(headers), body);
  });
  if (!server) return std::fprintf(stderr, "%s\n", server.error().message().c_str()), 1;
  (*server)->start();
  std::printf("%d\n", (*server)->port());
  std::fflush(stdout);
  char c;
  while (::read(0, &c, 1) > 0) {
  }
  (*server)->stop(std::chrono::seconds(1));
}
