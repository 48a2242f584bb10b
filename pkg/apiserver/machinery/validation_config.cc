// ConfigMaps and Secrets.
#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr size_t kDataLimit = 1024 * 1024;
constexpr std::string_view kImmutable = "field is immutable when `immutable` is set";

void check_key(const Cursor& entry, std::string_view key) {
  if (std::string problem = api::check_config_map_key(key); !problem.empty()) entry.invalid_text(key, problem);
}

void check_immutable(const Validation& v, std::initializer_list<std::string_view> members) {
  if (!json::get_bool(v.before({"immutable"}))) return;
  if (!v["immutable"].flag()) v["immutable"].forbidden(kImmutable);
  for (std::string_view member : members)
    if (!same(v[member].value(), v.before({member}))) v[member].forbidden(kImmutable);
}

// The bytes that base64 stands for.
size_t decoded_size(std::string_view text) {
  size_t size = text.size() / 4 * 3;
  if (text.ends_with("==")) return size - 2;
  return text.ends_with('=') ? size - 1 : size;
}

void check_docker_config(const Cursor& data, std::string_view key) {
  Cursor entry = data.entry(key);
  if (!entry.present()) return entry.required();
  auto text = base64_decode(entry.text());
  auto value = json::parse(text.value_or(""));
  if (!value)
    entry.invalid_text("<secret contents redacted>",
                       trim(text.value_or("")).empty() ? "unexpected end of JSON input" : value.error().message());
  else if (!value->is_object())
    entry.invalid_text("<secret contents redacted>",
                       "json: cannot unmarshal into Go value of type map[string]interface {}");
}

void check_type(const Validation& v) {
  std::string_view type = v["type"].text();
  Cursor data = v["data"];
  auto need = [&](std::string_view key) {
    if (!data.entry(key).present()) data.entry(key).required();
  };
  if (type == "kubernetes.io/service-account-token") {
    Cursor name = v["metadata"]["annotations"].entry("kubernetes.io/service-account.name");
    if (name.empty()) name.required();
  } else if (type == "kubernetes.io/dockercfg") {
    check_docker_config(data, ".dockercfg");
  } else if (type == "kubernetes.io/dockerconfigjson") {
    check_docker_config(data, ".dockerconfigjson");
  } else if (type == "kubernetes.io/basic-auth") {
    if (data.entry("username").present() || data.entry("password").present()) return;
    need("username");
    need("password");
  } else if (type == "kubernetes.io/ssh-auth") {
    if (data.entry("ssh-privatekey").empty()) data.entry("ssh-privatekey").required();
  } else if (type == "kubernetes.io/tls") {
    need("tls.crt");
    need("tls.key");
  }
}

}  // namespace

void validate_config_map(const Validation& v) {
  size_t total = 0;
  Cursor binary = v["binaryData"];
  for (const auto& [key, value] : v["data"].members()) {
    check_key(value, key);
    if (binary.entry(key).present()) value.invalid_text(key, "duplicate of key present in binaryData");
    total += value.text().size();
  }
  for (const auto& [key, value] : binary.members()) {
    check_key(value, key);
    total += decoded_size(value.text());
  }
  if (total > kDataLimit) v.root().too_long(kDataLimit);
  check_immutable(v, {"data", "binaryData"});
}

void validate_secret(const Validation& v) {
  size_t total = 0;
  for (const auto& [key, value] : v["data"].members()) {
    check_key(value, key);
    total += decoded_size(value.text());
  }
  if (total > kDataLimit) v["data"].too_long(kDataLimit);
  check_type(v);
  if (v.creating()) return;
  v["type"].unchanged(v.before({"type"}));
  check_immutable(v, {"data"});
}

}  // namespace kcube::machinery
