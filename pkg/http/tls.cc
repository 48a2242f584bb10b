#include "pkg/http/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "pkg/http/client.h"

namespace kcube::http {
namespace {

struct BioFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
struct X509Free {
  void operator()(X509* x) const { X509_free(x); }
};
struct KeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using BioPtr = std::unique_ptr<BIO, BioFree>;
using X509Ptr = std::unique_ptr<X509, X509Free>;
using KeyPtr = std::unique_ptr<EVP_PKEY, KeyFree>;

BioPtr memory(const std::string& pem) { return BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

// No prompt on the terminal for an encrypted key.
int no_password(char*, int, int, void*) { return 0; }

std::vector<X509Ptr> read_certificates(const std::string& pem) {
  std::vector<X509Ptr> found;
  BioPtr bio = memory(pem);
  while (X509* x = PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr)) found.emplace_back(x);
  ERR_clear_error();
  return found;
}

Result<void> use_key_pair(SSL_CTX* context, const std::string& certificate_pem, const std::string& key_pem) {
  auto chain = read_certificates(certificate_pem);
  if (chain.empty()) return fail(Status::bad_request("TLS certificate: no PEM certificate found"));
  BioPtr bio = memory(key_pem);
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  bool ok = key && SSL_CTX_use_certificate(context, chain[0].get()) == 1;
  for (size_t i = 1; ok && i < chain.size(); ++i) ok = SSL_CTX_add1_chain_cert(context, chain[i].get()) == 1;
  ok = ok && SSL_CTX_use_PrivateKey(context, key.get()) == 1 && SSL_CTX_check_private_key(context) == 1;
  ERR_clear_error();
  if (!ok) return fail(Status::bad_request("TLS key: not a PEM private key of the certificate"));
  return {};
}

Result<void> trust(SSL_CTX* context, const std::string& ca_pem, bool announce) {
  auto authorities = read_certificates(ca_pem);
  if (authorities.empty()) return fail(Status::bad_request("TLS authority: no PEM certificate found"));
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (auto& authority : authorities) {
    X509_STORE_add_cert(store, authority.get());
    if (announce) SSL_CTX_add_client_CA(context, authority.get());
  }
  // An authority may itself be an intermediate: trust what we were told to trust.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  ERR_clear_error();
  return {};
}

TlsContext new_context(const SSL_METHOD* method) {
  TlsContext context(SSL_CTX_new(method), SSL_CTX_free);
  KCUBE_CHECK(context != nullptr);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_read_ahead(context.get(), 1);
  return context;
}

int select_alpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned in_size,
                void*) {
  static constexpr unsigned char kOurs[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kOurs, sizeof kOurs - 1, in, in_size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_NOACK;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

std::vector<std::string> subject_entries(X509* certificate, int nid) {
  std::vector<std::string> found;
  X509_NAME* name = X509_get_subject_name(certificate);
  for (int i = -1; (i = X509_NAME_get_index_by_NID(name, nid, i)) >= 0;) {
    unsigned char* text = nullptr;
    int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
    if (size < 0) continue;
    found.emplace_back(reinterpret_cast<char*>(text), static_cast<size_t>(size));
    OPENSSL_free(text);
  }
  return found;
}

}  // namespace

Result<TlsContext> server_context(const TlsOptions& options) {
  TlsContext context = new_context(TLS_server_method());
  if (auto ok = use_key_pair(context.get(), options.certificate_pem, options.key_pem); !ok) return fail(ok.error());
  SSL_CTX_set_alpn_select_cb(context.get(), select_alpn, nullptr);
  static constexpr unsigned char kSessions[] = "kcube";
  SSL_CTX_set_session_id_context(context.get(), kSessions, sizeof kSessions - 1);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);  // tickets only: no memory
  SSL_CTX_set_num_tickets(context.get(), 1);
  if (!options.client_ca_pem.empty()) {
    if (auto ok = trust(context.get(), options.client_ca_pem, true); !ok) return fail(ok.error());
    // Every chain passes the handshake; the verdict stays in SSL_get_verify_result.
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
  }
  return context;
}

Result<TlsContext> client_context(const ClientTls& tls) {
  TlsContext context = new_context(TLS_client_method());
  if (!tls.certificate_pem.empty())
    if (auto ok = use_key_pair(context.get(), tls.certificate_pem, tls.key_pem); !ok) return fail(ok.error());
  if (!tls.ca_pem.empty()) {
    if (auto ok = trust(context.get(), tls.ca_pem, false); !ok) return fail(ok.error());
  } else {
    SSL_CTX_set_default_verify_paths(context.get());
  }
  SSL_CTX_set_verify(context.get(), tls.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  static constexpr unsigned char kOurs[] = "\x08http/1.1";
  SSL_CTX_set_alpn_protos(context.get(), kOurs, sizeof kOurs - 1);
  return context;
}

SslPtr accept_ssl(const TlsContext& context) {
  SslPtr ssl(SSL_new(context.get()));
  if (ssl) SSL_set_accept_state(ssl.get());
  return ssl;
}

SslPtr connect_ssl(const TlsContext& context, const std::string& name, bool verify) {
  SslPtr ssl(SSL_new(context.get()));
  if (!ssl) return ssl;
  SSL_set_connect_state(ssl.get());
  unsigned char address[16];
  bool is_address =
      ::inet_pton(AF_INET, name.c_str(), address) == 1 || ::inet_pton(AF_INET6, name.c_str(), address) == 1;
  if (!is_address) SSL_set_tlsext_host_name(ssl.get(), name.c_str());
  if (verify && is_address) X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), name.c_str());
  if (verify && !is_address) SSL_set1_host(ssl.get(), name.c_str());
  return ssl;
}

std::string verify_error(SSL* ssl) {
  long result = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
  return result == X509_V_OK ? "" : X509_verify_cert_error_string(result);
}

Peer peer_of(SSL* ssl) {
  Peer peer;
  if (const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)) peer.server_name = name;
  X509Ptr certificate(SSL_get1_peer_certificate(ssl));
  if (!certificate) return peer;
  peer.present = true;
  peer.valid = SSL_get_verify_result(ssl) == X509_V_OK;
  if (auto names = subject_entries(certificate.get(), NID_commonName); !names.empty()) peer.common_name = names.back();
  peer.organizations = subject_entries(certificate.get(), NID_organizationName);
  unsigned char* der = nullptr;
  if (int size = i2d_X509(certificate.get(), &der); size > 0) {
    peer.der.assign(reinterpret_cast<char*>(der), static_cast<size_t>(size));
    OPENSSL_free(der);
  }
  tm parts{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &parts) == 1)
    peer.not_after = std::chrono::system_clock::from_time_t(::timegm(&parts));
  return peer;
}

}  // namespace kcube::http
