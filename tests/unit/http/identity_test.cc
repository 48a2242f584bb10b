// Who the client is, over TLS.
#include "tests/unit/http/fixture.h"

namespace kcube::http {
namespace {

void who(Request& request, std::unique_ptr<Responder> responder) {
  std::string text = request.peer_common_name;
  for (auto& organization : request.peer_organizations) text += "," + organization;
  responder->respond(request.peer_certificate_invalid ? 401 : 200, {}, text + "@" + request.remote_address);
}

ClientTls with_certificate(const auth::KeyPair& ca, std::chrono::seconds lifetime, bool client = true) {
  auto pair =
      auth::issue(
          ca,
          {.common_name = "bob", .organizations = {"dev"}, .server = !client, .client = client, .lifetime = lifetime})
          .value();
  auto tls = client_tls();
  tls.certificate_pem = pair.certificate_pem;
  tls.key_pem = pair.key_pem;
  return tls;
}

TEST(Identity, ComesFromAVerifiedCertificateOnly) {
  TestServer test(who);
  auto ask = [&](ClientTls tls) { return Client::create(std::move(tls))->send({.url = test.base + "/"}).value(); };
  EXPECT_EQ(ask(client_tls()).body, "@127.0.0.1");
  EXPECT_EQ(ask(with_certificate(test_ca(), std::chrono::hours(1))).body, "bob,dev@127.0.0.1");
  auto stranger = auth::make_ca("other", std::chrono::hours(1)).value();
  EXPECT_EQ(ask(with_certificate(stranger, std::chrono::hours(1))).status, 401);
  EXPECT_EQ(ask(with_certificate(test_ca(), std::chrono::seconds(-60))).status, 401);
  EXPECT_EQ(ask(with_certificate(test_ca(), std::chrono::hours(1), false)).status, 401);
}

TEST(Identity, RotatedServerCertificateIsUsedByNewConnections) {
  TestServer test(who);
  auto client = Client::create({.ca_pem = test_ca().certificate_pem, .server_name = "new.test"});
  EXPECT_FALSE(client->send({.url = test.base + "/"}));
  auto pair = auth::issue(test_ca(), {.common_name = "s", .dns_names = {"new.test"}, .server = true}).value();
  ASSERT_TRUE(test.server->set_certificate({pair.certificate_pem, pair.key_pem, test_ca().certificate_pem}));
  auto response = client->send({.url = test.base + "/"});
  EXPECT_TRUE(response) << response.error().message();
  EXPECT_FALSE(test.server->set_certificate({"x", "y", ""}));
}

TEST(Identity, PlainHttpOnATlsPortIsTold) {
  TestServer test(who);
  RawClient client(test.server->port());
  client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_NE(client.read_all().find("Client sent an HTTP request to an HTTPS server."), std::string::npos);
}

}  // namespace
}  // namespace kcube::http
