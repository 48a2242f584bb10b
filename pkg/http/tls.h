// TLS contexts of servers and dialled clients, and who the peer is. Contexts are immutable and shared.
#pragma once

#include <openssl/types.h>

#include <memory>
#include <string>
#include <vector>

#include "pkg/base/clock.h"
#include "pkg/base/status.h"
#include "pkg/http/server.h"
#include "pkg/http/transport.h"

namespace kcube::http {

struct ClientTls;

using TlsContext = std::shared_ptr<SSL_CTX>;

// TLS 1.2 and up, ALPN http/1.1. With a client CA a certificate is asked for but neither it nor its validity is needed
// for the handshake: peer_of() tells. 400 when the PEM is malformed or the key does not fit.
Result<TlsContext> server_context(const TlsOptions& options);
Result<TlsContext> client_context(const ClientTls& tls);

// A fresh connection in accept state.
SslPtr accept_ssl(const TlsContext& context);
// A fresh connection in connect state that will verify `name` (host name or address).
SslPtr connect_ssl(const TlsContext& context, const std::string& name, bool verify);

// Why the peer's certificate was not accepted; empty when it was.
std::string verify_error(SSL* ssl);

struct Peer {
  bool present = false, valid = false;
  std::string common_name, der;
  std::vector<std::string> organizations;
  SystemTime not_after;
  std::string server_name;  // SNI
};
Peer peer_of(SSL* ssl);

}  // namespace kcube::http
