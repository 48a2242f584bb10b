#include "pkg/apiserver/configured_webhook.h"

#include <thread>

#include "pkg/api/yaml.h"
#include "pkg/base/file.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr int kAttempts = 5;
constexpr auto kFirstPause = std::chrono::milliseconds(500);

std::unexpected<Status> unusable(const std::string& path, const std::string& why) { return fail(Status::bad_request(path + ": " + why)); }

// Of "clusters" or "users": the entry of that name, or the first.
const json::value* entry(const json::value& config, std::string_view list, std::string_view name, std::string_view member) {
  for (const json::value& one : json::get_array(json::find(&config, list)))
    if (name.empty() || json::get_string(one, {"name"}) == name) return json::find(&one, member);
  return nullptr;
}

// What stands in the file as base64, or in a file beside it.
Result<std::string> inline_or_file(const json::value* entry, std::string_view name, const std::string& path) {
  std::string_view data = json::get_string(json::find(entry, std::string(name) + "-data")), other = json::get_string(json::find(entry, name));
  if (!data.empty()) {
    auto decoded = base64_decode(data);
    if (!decoded) return unusable(path, std::string(name) + "-data is no base64");
    return std::move(*decoded);
  }
  if (other.empty()) return std::string();
  std::string where(other);
  if (!where.starts_with('/')) where = path.substr(0, path.rfind('/') + 1) + where;
  auto text = file::read(where);
  if (!text) return unusable(path, text.error().message());
  return text;
}

}  // namespace

Result<WebhookTarget> read_webhook_kubeconfig(const std::string& path) {
  auto text = file::read(path);
  if (!text) return fail(text.error());
  auto config = api::parse_yaml(*text);
  if (!config) return unusable(path, config.error().message());
  const json::value* context = entry(*config, "contexts", json::get_string(*config, {"current-context"}), "context");
  const json::value* cluster = entry(*config, "clusters", json::get_string(json::find(context, "cluster")), "cluster");
  const json::value* user = entry(*config, "users", json::get_string(json::find(context, "user")), "user");
  WebhookTarget target;
  target.url = json::get_string(json::find(cluster, "server"));
  if (!target.url.starts_with("http://") && !target.url.starts_with("https://")) return unusable(path, "invalid configuration: no server found for a cluster");
  auto ca = inline_or_file(cluster, "certificate-authority", path), certificate = inline_or_file(user, "client-certificate", path), key = inline_or_file(user, "client-key", path);
  for (const auto* part : {&ca, &certificate, &key})
    if (!*part) return fail(part->error());
  target.tls = {*ca, *certificate, *key, std::string(json::get_string(json::find(cluster, "tls-server-name"))), !json::get_bool(json::find(cluster, "insecure-skip-tls-verify"))};
  std::string token(json::get_string(json::find(user, "token"))), token_file(json::get_string(json::find(user, "tokenFile")));
  if (!token_file.empty()) {
    auto read = file::read(token_file);
    if (!read) return unusable(path, read.error().message());
    token = trim(*read);
  }
  std::string name(json::get_string(json::find(user, "username")));
  if (!token.empty()) target.authorization = "Bearer " + token;
  else if (!name.empty()) target.authorization = "Basic " + base64_encode(name + ":" + std::string(json::get_string(json::find(user, "password"))));
  return target;
}

ConfiguredWebhook::ConfiguredWebhook(WebhookTarget target, std::chrono::milliseconds timeout) : target_(std::move(target)), timeout_(timeout), client_(http::Client::create(target_.tls)) {}

Result<json::value> ConfiguredWebhook::post(const json::value& body) const {
  http::ClientRequest request{.method = "POST", .url = target_.url, .body = json::serialize(body), .timeout = timeout_};
  request.headers.add("Content-Type", "application/json");
  request.headers.add("Accept", "application/json");
  if (!target_.authorization.empty()) request.headers.add("Authorization", target_.authorization);
  auto pause = kFirstPause;
  for (int attempt = 1;; ++attempt) {
    auto response = client_->send(request);
    bool again = !response || response->status == 429 || response->status >= 500;
    if (!again && response->status < 300) return json::parse(response->body);
    if (!again || attempt == kAttempts)
      return response ? fail(Status::internal("webhook " + target_.url + " answered " + std::to_string(response->status))) : fail(response.error());
    // A stranger's server: nothing says when it is well again. The pauses are those of the real server's webhooks.
    std::this_thread::sleep_for(pause);
    pause = pause * 3 / 2;
  }
}

}  // namespace kcube::apiserver
