#include "pkg/apiserver/authentication/token_webhook.h"

namespace kcube::apiserver {
namespace {

constexpr size_t kMaxKept = 8192;

std::vector<std::string> strings(const json::value* list) {
  std::vector<std::string> out;
  for (const json::value& v : json::get_array(list)) out.emplace_back(json::get_string(&v));
  return out;
}

}  // namespace

Result<std::optional<TokenWebhookAuthenticator::Answer>> TokenWebhookAuthenticator::ask(const std::string& token, const std::vector<std::string>& audiences) const {
  json::object spec{{"token", token}};
  if (!audiences.empty() && options_.version == "v1") {
    json::array list;
    for (const std::string& a : audiences) list.push_back(json::value(a));
    spec["audiences"] = std::move(list);
  }
  auto review = client_.post(json::object{{"kind", "TokenReview"}, {"apiVersion", "authentication.k8s.io/" + options_.version}, {"metadata", json::object()}, {"spec", std::move(spec)}, {"status", json::object{{"user", json::object()}}}});
  if (!review) return fail(review.error());
  const json::value* status = json::find(&*review, "status");
  if (!json::get_bool(json::find(status, "authenticated"))) return std::nullopt;
  const json::value* u = json::find(status, "user");
  Answer answer{{std::string(json::get_string(json::find(u, "username"))), std::string(json::get_string(json::find(u, "uid"))), strings(json::find(u, "groups")), {}}, strings(json::find(status, "audiences"))};
  for (const auto& m : json::get_object(json::find(u, "extra"))) answer.user.extra[std::string(json::view(m.key()))] = strings(&m.value());
  return answer;
}

Result<std::optional<TokenWebhookAuthenticator::Answer>> TokenWebhookAuthenticator::authenticate(const std::string& token, const std::vector<std::string>& audiences) {
  std::string key = token;
  for (const std::string& a : audiences) key += '\0' + a;
  key = auth::sha256(key);
  {
    std::lock_guard lock(mutex_);
    auto it = kept_.find(key);
    if (it != kept_.end() && it->second.until > clock_.steady_now()) return it->second.answer;
  }
  auto answer = ask(token, audiences);
  if (!answer) return answer;
  std::lock_guard lock(mutex_);
  if (kept_.size() >= kMaxKept) kept_.clear();
  kept_[key] = {*answer, clock_.steady_now() + options_.cache_ttl};
  return answer;
}

}  // namespace kcube::apiserver
