// CertificateSigningRequests.
#include <algorithm>
#include <set>

#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr std::string_view kBegin = "-----BEGIN ", kEnd = "-----";
constexpr int64_t kMinSeconds = 600;

// What is wrong with the envelope: whether the request in it is sound is for those who sign.
std::string check_request(std::string_view encoded) {
  auto text = base64_decode(encoded);
  if (!text) return "PEM block type must be CERTIFICATE REQUEST";
  size_t begin = text->find(std::string(kBegin) + "CERTIFICATE REQUEST" + std::string(kEnd));
  size_t end = text->find("-----END CERTIFICATE REQUEST-----");
  if (begin == std::string::npos || end == std::string::npos || end < begin)
    return "PEM block type must be CERTIFICATE REQUEST";
  size_t from = text->find('\n', begin);
  std::string body;
  for (char c : text->substr(from, end - from))
    if (c != '\n' && c != '\r') body += c;
  auto der = base64_decode(body);
  if (!der || der->empty()) return "PEM block type must be CERTIFICATE REQUEST";
  if (static_cast<unsigned char>((*der)[0]) != 0x30) return "asn1: structure error: tags don't match";
  return {};
}

void validate_signer(const Cursor& signer) {
  std::string_view text = signer.text();
  if (text.empty()) return signer.required();
  size_t slash = text.find('/');
  if (slash == std::string_view::npos || text.find('/', slash + 1) != std::string_view::npos)
    return signer.invalid("must be a fully qualified domain and path of the form 'example.com/signer-name'");
  std::string_view domain = text.substr(0, slash), path = text.substr(slash + 1);
  signer.check(api::check_dns1123_subdomain(domain));
  if (api::check_dns1123_subdomain(domain).empty() && domain.find('.') == std::string_view::npos)
    signer.invalid_text(domain, "should be a domain with at least two segments separated by dots");
  if (std::string problem = api::check_dns1123_subdomain(path); !problem.empty())
    signer.invalid("path component " + problem);
}

const std::initializer_list<std::string_view> kUsages{
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping"};

void validate_usages(const Cursor& usages) {
  if (usages.empty()) usages.required();
  std::set<std::string_view> seen;
  for (const Cursor& usage : usages.items()) {
    if (std::ranges::find(kUsages, usage.text()) == kUsages.end()) usage.not_supported(kUsages);
    if (!seen.insert(usage.text()).second) usage.duplicate();
  }
}

void validate_conditions(const Cursor& conditions) {
  std::set<std::string_view> seen;
  for (const Cursor& condition : conditions.items()) {
    Cursor type = condition["type"], status = condition["status"];
    if (type.empty()) type.required();
    bool final = type.in({"Approved", "Denied", "Failed"});
    if (status.empty())
      status.required();
    else if (final && status.text() != "True")
      status.not_supported({"True"});
    else if (!status.in({"False", "True", "Unknown"}))
      status.not_supported({"False", "True", "Unknown"});
    bool both = (type.text() == "Approved" && seen.contains("Denied")) ||
                (type.text() == "Denied" && seen.contains("Approved"));
    if (both) conditions.invalid_text(type.text(), "Approved and Denied conditions are mutually exclusive");
    if (!seen.insert(type.text()).second) type.duplicate();
  }
}

std::vector<const json::value*> of_type(const json::value* conditions, std::string_view type) {
  std::vector<const json::value*> out;
  for (const json::value& c : json::get_array(conditions))
    if (json::get_string(c, {"type"}) == type) out.push_back(&c);
  return out;
}

void check_update(const Validation& v) {
  Cursor conditions = v["status"]["conditions"];
  const json::value* before = v.before({"status", "conditions"});
  for (std::string_view type : {"Approved", "Denied", "Failed"}) {
    size_t now = of_type(conditions.value(), type).size(), old = of_type(before, type).size();
    if (now < old) conditions.forbidden("updates may not remove a condition of type \"" + std::string(type) + "\"");
    if (type != "Failed" && v.subresource != "approval" && now > old)
      conditions.forbidden("updates may not add a condition of type \"" + std::string(type) + "\"");
  }
  Cursor certificate = v["status"]["certificate"];
  const json::value* issued = v.before({"status", "certificate"});
  if (same(certificate.value(), issued)) return;
  if (v.subresource != "status")
    certificate.forbidden("updates may not set certificate content");
  else if (!same(issued, nullptr))
    certificate.forbidden("updates may not modify existing certificate content");
  // What it says is not shown.
  else if (base64_decode(certificate.text()).value_or("").find("-----BEGIN CERTIFICATE-----") == std::string::npos)
    certificate.invalid(json::value("<certificate data>"), "must contain at least one CERTIFICATE PEM block");
}

}  // namespace

void validate_signing_request(const Validation& v) {
  Cursor spec = v["spec"];
  // What is not there shows as no bytes at all.
  if (std::string problem = check_request(spec["request"].text()); !problem.empty())
    spec["request"].invalid(spec["request"].present() ? *spec["request"].value() : json::value(nullptr), problem);
  validate_usages(spec["usages"]);
  if (spec["signerName"].text() == "kubernetes.io/legacy-unknown")
    spec["signerName"].invalid("the legacy signerName is not allowed via this API version");
  else
    validate_signer(spec["signerName"]);
  Cursor seconds = spec["expirationSeconds"];
  if (seconds.present() && seconds.number() < kMinSeconds)
    seconds.invalid("may not specify a duration less than 600 seconds (10 minutes)");
  validate_conditions(v["status"]["conditions"]);
  if (!v.creating()) check_update(v);
}

}  // namespace kcube::machinery
