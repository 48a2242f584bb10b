#include "pkg/http/url.h"

#include <curl/curl.h>

#include <memory>

#include "pkg/base/strings.h"

namespace kcube::http {
namespace {

using Handle = std::unique_ptr<CURLU, decltype([](CURLU* url) { curl_url_cleanup(url); })>;

Handle parse(const std::string& text) {
  Handle url(curl_url());
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) url.reset();
  return url;
}

std::string part(const Handle& url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url.get(), which, &text, flags) != CURLUE_OK) return {};
  std::string copy = text;
  curl_free(text);
  return copy;
}

std::string bare(const std::string& host) { return host.starts_with('[') ? host.substr(1, host.size() - 2) : host; }

}  // namespace

Result<Url> parse_url(const std::string& text) {
  Handle handle = parse(text);
  if (!handle) return fail(Status::bad_request("malformed URL: " + text));
  Url url;
  url.scheme = part(handle, CURLUPART_SCHEME);
  if (url.scheme != "http" && url.scheme != "https")
    return fail(Status::bad_request("not an http or https URL: " + text));
  std::string host = part(handle, CURLUPART_HOST);
  url.host = bare(host);
  url.port = parse_int<uint16_t>(part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT)).value_or(0);
  std::string port = part(handle, CURLUPART_PORT);
  url.authority = port.empty() ? host : host + ":" + port;
  url.target = part(handle, CURLUPART_PATH);
  if (auto query = part(handle, CURLUPART_QUERY); !query.empty()) url.target += "?" + query;
  return url;
}

Result<std::string> with_host(const std::string& text, const std::string& host) {
  Handle handle = parse(text);
  std::string literal = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (!handle || curl_url_set(handle.get(), CURLUPART_HOST, literal.c_str(), 0) != CURLUE_OK)
    return fail(Status::bad_request("malformed URL or host: " + text));
  return part(handle, CURLUPART_URL);
}

}  // namespace kcube::http
