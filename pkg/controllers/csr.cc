#include "pkg/controllers/csr.h"

#include <algorithm>

#include "pkg/base/strings.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

// Exactly these usages; key encipherment may come along.
std::string check_usages(const std::set<std::string>& usages, const std::set<std::string>& required) {
  std::set<std::string> rest = usages;
  rest.erase("key encipherment");
  return rest == required ? "" : "usages did not match " + join({required.begin(), required.end()}, ", ");
}

std::string check_node_subject(const auth::ParsedCsr& request) {
  if (request.organizations != std::vector<std::string>{"system:nodes"}) return "subject organization is not system:nodes";
  if (!request.common_name.starts_with("system:node:") || request.common_name.size() <= 12) return "subject common name does not begin with 'system:node:'";
  if (!request.emails.empty()) return "email subjectAltNames are not allowed";
  if (!request.uris.empty()) return "URI subjectAltNames are not allowed";
  return "";
}

}  // namespace

CsrView read_csr(const json::value& csr) {
  CsrView out;
  out.signer = string_at(csr, {"spec", "signerName"});
  out.username = string_at(csr, {"spec", "username"});
  out.request_pem = base64_decode(string_at(csr, {"spec", "request"})).value_or("");
  out.expiration_seconds = json::get_int(csr, {"spec", "expirationSeconds"});
  for (const json::value& g : json::get_array(json::at(&csr, {"spec", "groups"}))) out.groups.emplace(json::get_string(&g));
  for (const json::value& u : json::get_array(json::at(&csr, {"spec", "usages"}))) out.usages.emplace(json::get_string(&u));
  out.approved = find_condition(csr, "Approved") != nullptr;
  out.denied = find_condition(csr, "Denied") != nullptr;
  out.failed = find_condition(csr, "Failed") != nullptr;
  out.issued = !string_at(csr, {"status", "certificate"}).empty();
  return out;
}

std::string check_kubelet_client(const auth::ParsedCsr& request, const std::set<std::string>& usages) {
  if (std::string why = check_node_subject(request); !why.empty()) return why;
  if (!request.dns_names.empty()) return "DNS subjectAltNames are not allowed";
  if (!request.ip_addresses.empty()) return "IP subjectAltNames are not allowed";
  return check_usages(usages, {"client auth", "digital signature"});
}

std::string check_kubelet_serving(const auth::ParsedCsr& request, const std::set<std::string>& usages) {
  if (std::string why = check_node_subject(request); !why.empty()) return why;
  if (request.dns_names.empty() && request.ip_addresses.empty()) return "DNS or IP subjectAltName is required";
  return check_usages(usages, {"digital signature", "server auth"});
}

std::string check_client(const std::set<std::string>& usages) {
  if (!usages.contains("client auth")) return "client auth usage is required";
  bool fits = std::ranges::all_of(usages, [](const auto& u) { return u == "client auth" || u == "digital signature" || u == "key encipherment"; });
  return fits ? "" : "usages did not match client auth, digital signature, key encipherment";
}

}  // namespace kcube::controllers
