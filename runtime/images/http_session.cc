#include "runtime/images/http_session.h"

#include <curl/curl.h>

#include <mutex>
#include <optional>

#include "pkg/base/strings.h"

namespace kcube::runtime::images {
namespace {

constexpr long kConnectSeconds = 15, kStalledSeconds = 60, kMaxRedirects = 10;

struct Slist {
  curl_slist* list = nullptr;
  ~Slist() { curl_slist_free_all(list); }
  void add(const std::string& line) { list = curl_slist_append(list, line.c_str()); }
};

// One request on its way.
struct Transfer {
  const HttpRequest& request;
  const std::atomic<bool>* cancelled;
  HttpResponse response;
  std::optional<Status> failure;
  bool head_told = false;

  bool streams() const { return request.on_data && (response.status == 200 || response.status == 206); }

  size_t header(std::string_view line) {
    if (line.starts_with("HTTP/")) {  // a new response, after a redirect or 100
      response = {};
      size_t blank = line.find(' ');
      if (blank != std::string_view::npos) response.status = parse_int<int>(line.substr(blank + 1, 3)).value_or(0);
    } else if (size_t colon = line.find(':'); colon != std::string_view::npos) {
      response.headers.emplace_back(to_lower(trim(line.substr(0, colon))), trim(line.substr(colon + 1)));
    }
    return line.size();
  }

  bool tell_head() {
    if (head_told || !streams()) return true;
    head_told = true;
    if (!request.on_head) return true;
    auto r = request.on_head(response);
    if (!r) failure = r.error();
    return r.has_value();
  }

  size_t data(std::string_view piece) {
    if (!tell_head()) return 0;
    if (streams()) {
      auto r = request.on_data(piece);
      if (!r) failure = r.error();
      return r ? piece.size() : 0;
    }
    if (response.body.size() + piece.size() > request.max_body_bytes) {
      failure = Status::bad_request("the answer of " + request.url + " is larger than " +
                                    std::to_string(request.max_body_bytes) + " bytes");
      return 0;
    }
    response.body += piece;
    return piece.size();
  }
};

size_t on_header(char* bytes, size_t size, size_t count, void* transfer) {
  return static_cast<Transfer*>(transfer)->header({bytes, size * count});
}
size_t on_data(char* bytes, size_t size, size_t count, void* transfer) {
  return static_cast<Transfer*>(transfer)->data({bytes, size * count});
}
int on_progress(void* transfer, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto* cancelled = static_cast<Transfer*>(transfer)->cancelled;
  return cancelled != nullptr && cancelled->load() ? 1 : 0;
}

bool to_this_machine(const std::string& url) {
  std::string_view host = std::string_view(url).substr(url.find("://") + 3);
  return host.starts_with("localhost") || host.starts_with("127.") || host.starts_with("[::1]");
}

}  // namespace

std::string_view HttpResponse::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

struct HttpSession::Impl {
  CURL* curl = nullptr;
  RegistryTls tls;
  const std::atomic<bool>* cancelled;

  void set_tls() const {
    if (!tls.ca_file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, tls.ca_file.c_str());
    if (!tls.certificate_file.empty()) curl_easy_setopt(curl, CURLOPT_SSLCERT, tls.certificate_file.c_str());
    if (!tls.key_file.empty()) curl_easy_setopt(curl, CURLOPT_SSLKEY, tls.key_file.c_str());
    if (tls.insecure_skip_verify) {
      curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
      curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
  }
};

HttpSession::HttpSession(RegistryTls tls, const std::atomic<bool>* cancelled) : impl_(std::make_unique<Impl>()) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  impl_->curl = curl_easy_init();
  KCUBE_CHECK(impl_->curl != nullptr);
  impl_->tls = std::move(tls);
  impl_->cancelled = cancelled;
}

HttpSession::~HttpSession() { curl_easy_cleanup(impl_->curl); }

Result<HttpResponse> HttpSession::perform(const HttpRequest& request) {
  CURL* curl = impl_->curl;
  Transfer transfer{.request = request, .cancelled = impl_->cancelled, .response = {}, .failure = {}};
  char reason[CURL_ERROR_SIZE] = "";
  Slist headers;
  for (const auto& [name, value] : request.headers) headers.add(name + ": " + value);
  curl_easy_reset(curl);  // keeps connections
  impl_->set_tls();
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, request.url.starts_with("https:") ? "https" : "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);  // libcurl keeps Authorization from other hosts
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, kMaxRedirects);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, kStalledSeconds);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "kcube");
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.list);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
  if (to_this_machine(request.url)) curl_easy_setopt(curl, CURLOPT_PROXY, "");
  if (!request.form.empty()) curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.form.c_str());
  CURLcode code = curl_easy_perform(curl);
  if (transfer.failure) return fail(*transfer.failure);
  if (code != CURLE_OK)
    return fail(Status::unavailable(request.url + ": " + (reason[0] != '\0' ? reason : curl_easy_strerror(code))));
  if (!transfer.tell_head()) return fail(*transfer.failure);  // an empty body
  return std::move(transfer.response);
}

}  // namespace kcube::runtime::images
