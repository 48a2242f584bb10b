#include "runtime/images/registry_client.h"

#include <algorithm>
#include <map>

#include "pkg/api/json.h"
#include "pkg/base/strings.h"

namespace kcube::runtime::images {
namespace {

constexpr uint64_t kMaxToken = 1 << 20;
constexpr size_t kMaxWords = 500;

bool is_scheme(std::string_view challenge, std::string_view scheme) {
  return to_lower(challenge.substr(0, scheme.size())) == scheme && challenge.size() > scheme.size() &&
         challenge[scheme.size()] == ' ';
}

// `Bearer realm="https://…",service="x"` without the scheme. Source: RFC 9110 section 11.2.
std::map<std::string, std::string> parse_parameters(std::string_view text) {
  std::map<std::string, std::string> result;
  while (true) {
    size_t start = text.find_first_not_of(" ,\t");
    if (start == std::string_view::npos) return result;
    text.remove_prefix(start);
    size_t equals = text.find('=');
    if (equals == std::string_view::npos) return result;
    std::string name = to_lower(trim(text.substr(0, equals))), value;
    text.remove_prefix(equals + 1);
    if (text.starts_with('"')) {
      size_t i = 1;
      for (; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\' && i + 1 < text.size()) ++i;
        value += text[i];
      }
      text.remove_prefix(std::min(i + 1, text.size()));
    } else {
      size_t end = std::min(text.find_first_of(", \t"), text.size());
      value = text.substr(0, end);
      text.remove_prefix(end);
    }
    result[name] = value;
  }
}

std::string basic(const RegistryAuth& auth) { return "Basic " + base64_encode(auth.username + ":" + auth.password); }

}  // namespace

std::string registry_words(const HttpResponse& response) {
  std::vector<std::string> words;
  if (auto document = json::parse(response.body)) {
    for (const json::value& error : json::get_array(json::find(&*document, "errors"))) {
      std::string code(json::get_string(error, {"code"})), text(json::get_string(error, {"message"}));
      words.push_back(code.empty() || text.empty() ? code + text : code + ": " + text);
    }
    for (const char* member : {"details", "error_description", "message", "error"})
      if (std::string text(json::get_string(*document, {member})); words.empty() && !text.empty())
        words.push_back(text);
  }
  if (words.empty()) return "HTTP status " + std::to_string(response.status);
  return join(words, "; ").substr(0, kMaxWords);
}

Status refusal(const HttpResponse& response, const std::string& what) {
  std::string text = what + ": " + registry_words(response);
  switch (response.status) {
    case 401:
    case 403: return Status(response.status, "ErrImagePull", text);
    case 404: return Status::not_found(text);
    case 429: {
      Status status(429, "TooManyRequests", text);
      status.details().retry_after_seconds = parse_int<int>(response.header("retry-after")).value_or(0);
      return status;
    }
    default: return Status::unavailable(text);
  }
}

std::string RegistryClient::authorization() {
  std::lock_guard lock(mutex_);
  return authorization_;
}

Result<HttpResponse> RegistryClient::get(HttpSession& session, const std::string& path, HttpRequest request) {
  request.url = endpoint_.url + "/" + endpoint_.repository + "/" + path;
  if (!endpoint_.mirror_of.empty()) request.url += "?ns=" + percent_encode(endpoint_.mirror_of);
  HttpRequest first = request;
  if (std::string known = authorization(); !known.empty()) first.headers.emplace_back("Authorization", known);
  auto response = session.perform(first);
  if (!response || response->status != 401) return response;
  auto header = authorize(session, *response);
  if (!header) return fail(header.error());
  if (header->empty()) return response;  // nothing to answer the challenge with
  request.headers.emplace_back("Authorization", *header);
  return session.perform(request);
}

Result<std::string> RegistryClient::authorize(HttpSession& session, const HttpResponse& refused) {
  std::string header;
  for (const auto& [name, value] : refused.headers) {
    if (name != "www-authenticate") continue;
    if (is_scheme(value, "bearer")) {
      auto token = fetch_token(session, std::string_view(value).substr(7));
      if (!token) return token;
      header = "Bearer " + *token;
      break;
    }
    if (is_scheme(value, "basic") && !auth_.username.empty()) header = basic(auth_);
  }
  std::lock_guard lock(mutex_);
  authorization_ = header;
  return header;
}

Result<std::string> RegistryClient::fetch_token(HttpSession& session, std::string_view challenge) {
  auto parameters = parse_parameters(challenge);
  std::string realm = parameters["realm"], service = parameters["service"], scope = parameters["scope"];
  if (!realm.starts_with("https://") && !realm.starts_with("http://"))
    return fail(
        Status::unavailable("the registry " + endpoint_.url + " asks for a token but names no place to get it"));
  bool secret = !auth_.username.empty() || !auth_.identity_token.empty();
  if (secret && endpoint_.url.starts_with("https://") && realm.starts_with("http://"))
    return fail(
        Status::unavailable("the registry " + endpoint_.url + " asks to send its password in the clear to " + realm));
  if (scope.empty()) scope = "repository:" + endpoint_.repository + ":pull";
  HttpRequest request{.url = realm, .max_body_bytes = kMaxToken};
  std::string query = "service=" + percent_encode(service) + "&scope=" + percent_encode(scope);
  if (!auth_.identity_token.empty()) {
    request.form =
        "grant_type=refresh_token&client_id=kcube&" + query + "&refresh_token=" + percent_encode(auth_.identity_token);
  } else {
    request.url += (realm.find('?') == std::string::npos ? "?" : "&") + query;
    if (!auth_.username.empty()) request.headers.emplace_back("Authorization", basic(auth_));
  }
  auto response = session.perform(request);
  if (!response) return fail(response.error().with_context("get a token"));
  if (response->status != 200) return fail(refusal(*response, "get a token from " + realm));
  auto document = json::parse(response->body);
  if (!document) return fail(Status::unavailable("the token from " + realm + " is no JSON"));
  std::string token(json::get_string(*document, {"token"}));
  if (token.empty()) token = json::get_string(*document, {"access_token"});
  bool printable = std::ranges::all_of(token, [](char c) { return c > ' ' && c < 127; });
  if (token.empty() || !printable) return fail(Status::unavailable("the answer of " + realm + " has no token"));
  return token;
}

}  // namespace kcube::runtime::images
