// `kcube token`: credentials by which machines join.
#include <cstdio>

#include "cmd/kcube/verbs.h"
#include "pkg/base/file.h"
#include "pkg/base/strings.h"
#include "pkg/server/addons.h"

namespace kcube::cli {
namespace {

const client::GroupVersionResource kSecrets{"", "v1", "secrets"};

// "90s", "30m", "24h", "7d", "0" (for ever).
Result<std::chrono::seconds> parse_lifetime(const std::string& text) {
  if (text == "0") return std::chrono::seconds(0);
  int64_t number = text.size() < 2 ? 0 : parse_int<int64_t>(std::string_view(text).substr(0, text.size() - 1)).value_or(0);
  int64_t unit = text.empty() ? 0 : text.back() == 's' ? 1 : text.back() == 'm' ? 60 : text.back() == 'h' ? 3600 : text.back() == 'd' ? 86400 : 0;
  if (number <= 0 || unit == 0) return fail(Status::bad_request("--ttl " + text + ": use a number with s, m, h or d, or 0 for ever"));
  return std::chrono::seconds(number * unit);
}

int create(const Cluster& c, client::Client& api, const TokenFlags& flags) {
  auto lifetime = parse_lifetime(flags.ttl);
  if (!lifetime) return report(lifetime.error());
  auto text = file::read(c.data_dir + "/server/token");
  if (!text) return report(text.error());
  auto own = auth::JoinToken::parse(std::string(trim(*text)));
  if (!own) return report(own.error());
  auth::JoinToken token = auth::JoinToken::make(own->ca_hash);
  auto made = api.create(kSecrets, "kube-system", server::bootstrap_token_secret(token, *lifetime, RealClock::instance().now(), flags.description));
  if (!made) return report(made.error());
  auto admin = read_admin(c);
  if (!admin) return report(admin.error());
  std::printf("kcube agent --server %s --token %s\n", admin->server.c_str(), token.to_string().c_str());
  return 0;
}

int list(client::Client& api) {
  auto secrets = api.list(kSecrets, "kube-system", {.field_selector = "type=bootstrap.kubernetes.io/token"});
  if (!secrets) return report(secrets.error());
  std::printf("%-8s %-22s %s\n", "ID", "EXPIRES", "DESCRIPTION");
  for (const auto& s : secrets->items) {
    auto data = [&](const char* key) { return base64_decode(json::get_string(s->value(), {"data", key})).value_or(""); };
    std::string expires = data("expiration");
    std::printf("%-8s %-22s %s\n", data("token-id").c_str(), expires.empty() ? "never" : expires.c_str(), data("description").c_str());
  }
  return 0;
}

}  // namespace

int token(const ClusterFlags& cluster_flags, const TokenFlags& flags) {
  auto cluster = find_cluster(cluster_flags, false);
  if (!cluster) return report(cluster.error());
  auto api = admin_client(*cluster);
  if (!api) return report(api.error());
  if (flags.action == "list") return list(**api);
  if (flags.action == "create") return create(*cluster, **api, flags);
  // An id, or a whole token.
  std::string id = flags.id;
  if (auto parsed = auth::JoinToken::parse(id)) id = parsed->id;
  auto removed = (*api)->remove(kSecrets, "kube-system", "bootstrap-token-" + id);
  if (!removed) return report(removed.error().is_not_found() ? Status::not_found("there is no token " + id + ": see `kcube token list`") : removed.error());
  std::printf("token %s deleted\n", id.c_str());
  return 0;
}

}  // namespace kcube::cli
