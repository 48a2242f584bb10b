#include "pkg/server/pki.h"

#include <algorithm>

#include "pkg/base/file.h"

namespace kcube::server {
namespace {

constexpr auto kYear = std::chrono::hours(24 * 365);

class Directory {
 public:
  Directory(std::string path, Clock& clock) : path_(std::move(path)), clock_(clock) {}

  Result<auth::KeyPair> load(const std::string& name) const {
    auto certificate = file::read(path_ + "/" + name + ".crt");
    if (!certificate) return fail(certificate.error());
    auto key = file::read(path_ + "/" + name + ".key");
    if (!key) return fail(key.error());
    return auth::KeyPair{std::move(*certificate), std::move(*key)};
  }
  Result<void> save(const std::string& name, const auth::KeyPair& pair) const {
    if (auto written = file::write_atomic(path_ + "/" + name + ".key", pair.key_pem, 0600); !written) return written;
    return file::write_atomic(path_ + "/" + name + ".crt", pair.certificate_pem, 0644);
  }
  // What is kept when it still says the same and lasts a while, else a new one.
  Result<auth::KeyPair> ensure(const std::string& name, const auth::KeyPair& ca, const auth::CertificateRequest& wanted) const {
    if (auto kept = load(name); kept && fits(kept->certificate_pem, wanted)) return kept;
    auto made = auth::issue(ca, wanted);
    if (!made) return fail(made.error().with_context("issue the certificate " + name));
    if (auto saved = save(name, *made); !saved) return fail(saved.error());
    return made;
  }

 private:
  bool fits(const std::string& pem, const auth::CertificateRequest& wanted) const {
    auto kept = auth::parse_certificate(pem);
    if (!kept || kept->common_name != wanted.common_name) return false;
    if (kept->not_after < clock_.now() + std::chrono::hours(24 * 90)) return false;
    auto covers = [](const auto& have, const auto& want) {
      return std::ranges::all_of(want, [&](const std::string& w) { return std::ranges::find(have, w) != have.end(); });
    };
    return covers(kept->dns_names, wanted.dns_names) && covers(kept->ip_addresses, wanted.ip_addresses);
  }

  const std::string path_;
  Clock& clock_;
};

auth::CertificateRequest client_request(std::string name, std::vector<std::string> groups) {
  auth::CertificateRequest r;
  r.common_name = std::move(name);
  r.organizations = std::move(groups);
  r.client = true;
  return r;
}

auth::CertificateRequest server_request(std::string name, std::vector<std::string> dns, std::vector<std::string> ips) {
  auth::CertificateRequest r;
  r.common_name = std::move(name);
  r.dns_names = std::move(dns);
  r.ip_addresses = std::move(ips);
  r.server = true;
  return r;
}

}  // namespace

Result<Pki> open_pki(const PkiOptions& options, Clock& clock) {
  if (auto made = file::make_dirs(options.directory, 0700); !made) return fail(made.error());
  Directory directory(options.directory, clock);
  Pki pki;
  auto ca = directory.load("ca");
  if (!ca) {
    ca = auth::make_ca("kcube-ca", kYear * 10);
    if (!ca) return fail(ca.error());
    if (auto saved = directory.save("ca", *ca); !saved) return fail(saved.error());
  }
  pki.ca = std::move(*ca);
  auth::CertificateRequest kubelet = server_request("system:node:" + options.node_name, {options.node_name}, {options.node_ip, "127.0.0.1"});
  kubelet.organizations = {"system:nodes"};
  struct Wanted {
    const char* name;
    auth::KeyPair* slot;
    auth::CertificateRequest request;
  };
  Wanted wanted[] = {
      {"api-server", &pki.api_server, server_request("kube-apiserver", options.dns_names, options.ip_addresses)},
      {"kubelet", &pki.kubelet, std::move(kubelet)},
      {"kubelet-client", &pki.kubelet_client, client_request("kube-apiserver-kubelet-client", {"system:masters"})},
      {"admin", &pki.admin, client_request("kubernetes-admin", {"system:masters"})},
  };
  for (Wanted& w : wanted) {
    auto pair = directory.ensure(w.name, pki.ca, w.request);
    if (!pair) return fail(pair.error());
    *w.slot = std::move(*pair);
  }
  auto proxy_ca = directory.load("front-proxy-ca");
  if (!proxy_ca) {
    proxy_ca = auth::make_ca("kcube-front-proxy-ca", kYear * 10);
    if (!proxy_ca) return fail(proxy_ca.error());
    if (auto saved = directory.save("front-proxy-ca", *proxy_ca); !saved) return fail(saved.error());
  }
  auto proxy_client = directory.ensure("front-proxy-client", *proxy_ca, client_request("front-proxy-client", {}));
  if (!proxy_client) return fail(proxy_client.error());
  pki.proxy_ca = std::move(*proxy_ca);
  pki.proxy_client = std::move(*proxy_client);
  const std::string key_path = options.directory + "/service-account.key";
  auto key = file::read(key_path);
  if (!key) {
    key = auth::make_key();
    if (!key) return fail(key.error());
    if (auto written = file::write_atomic(key_path, *key, 0600); !written) return fail(written.error());
  }
  pki.service_account_key_pem = std::move(*key);
  return pki;
}

}  // namespace kcube::server
