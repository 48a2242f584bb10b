#include "pkg/http/client.h"

#include <curl/curl.h>
#include <sys/socket.h>

#include <condition_variable>
#include <cstring>
#include <mutex>

#include "pkg/base/strings.h"
#include "pkg/http/curl_loop.h"
#include "pkg/http/netns_socket.h"
#include "pkg/http/url.h"

namespace kcube::http {
namespace {

using TlsPtr = std::shared_ptr<const ClientTls>;
using ListPtr = std::unique_ptr<curl_slist, decltype([](curl_slist* list) { curl_slist_free_all(list); })>;
using EasyPtr = std::unique_ptr<CURL, decltype([](CURL* easy) { curl_easy_cleanup(easy); })>;

void append(ListPtr& list, const std::string& text) {
  curl_slist* head = curl_slist_append(list.get(), text.c_str());
  (void)list.release();
  list.reset(head);
}

struct Callbacks {
  std::function<void(int, const Headers&)> on_head;
  std::function<void(std::string_view)> on_data;
  std::function<void(const Headers&)> on_trailers;
  std::function<void(Result<void>)> on_end;
};

// One request on its way. Lives while the loop or a ClientStream holds it.
class Transfer final : public CurlTransfer, public std::enable_shared_from_this<Transfer> {
 public:
  Transfer(ClientRequest request, TlsPtr tls, Callbacks callbacks)
      : request_(std::move(request)), tls_(std::move(tls)), callbacks_(std::move(callbacks)) {}

  Result<void> start() {
    if (auto ok = prepare(); !ok) return ok;
    self_ = shared_from_this();
    CurlLoop::instance().add(this);
    return {};
  }

  // After this no callback runs.
  void cancel() {
    {
      std::lock_guard lock(mutex_);
      cancelled_ = true;
    }
    CurlLoop::instance().post([self = shared_from_this()] {
      if (!self->self_) return;
      CurlLoop::instance().remove(self.get());
      self->self_.reset();
    });
  }

  CURL* easy() override { return easy_.get(); }

  void finished(CURLcode code) override {
    auto keep = std::exchange(self_, nullptr);
    std::lock_guard lock(mutex_);
    if (cancelled_) return;
    if (head_seen_ && !trailers_.items().empty() && callbacks_.on_trailers) callbacks_.on_trailers(trailers_);
    if (code == CURLE_OK) return callbacks_.on_end({});
    std::string what = request_.method + " " + request_.url + ": ";
    if (netns_failure_)
      return callbacks_.on_end(fail(netns_failure_->with_context(request_.method + " " + request_.url)));
    std::string why = error_[0] ? error_ : curl_easy_strerror(code);
    long system_error = 0;
    if (code == CURLE_COULDNT_CONNECT && curl_easy_getinfo(easy_.get(), CURLINFO_OS_ERRNO, &system_error) == CURLE_OK && system_error != 0)
      why = "connect: " + to_lower(::strerror(static_cast<int>(system_error)));
    if (code == CURLE_OPERATION_TIMEDOUT) return callbacks_.on_end(fail(Status::timeout(what + why)));
    callbacks_.on_end(fail(Status::unavailable(what + why)));
  }

 private:
  template <typename T>
  void set(CURLoption option, T value) {
    curl_easy_setopt(easy_.get(), option, value);
  }
  void set_blob(CURLoption option, const std::string& pem) {
    curl_blob blob{const_cast<char*>(pem.data()), pem.size(), CURL_BLOB_NOCOPY};
    curl_easy_setopt(easy_.get(), option, &blob);
  }

  Result<void> prepare() {
    auto url = parse_url(request_.url);
    if (!url) return fail(url.error());
    easy_.reset(curl_easy_init());
    KCUBE_CHECK(easy_ != nullptr);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_ERRORBUFFER, error_);
    set(CURLOPT_TCP_KEEPALIVE, 1L);
    set(CURLOPT_TCP_KEEPIDLE, 30L);
    set(CURLOPT_TCP_KEEPINTVL, 10L);
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(request_.timeout.count()));
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request_.connect_timeout.count()));
    set(CURLOPT_FOLLOWLOCATION, request_.follow_redirects ? 1L : 0L);
    set(CURLOPT_MAXREDIRS, 10L);
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_HTTP_VERSION,
        request_.http2_prior_knowledge ? CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE : CURL_HTTP_VERSION_1_1);
    if (!request_.environment_proxy) set(CURLOPT_PROXY, "");
    if (!request_.unix_socket.empty()) set(CURLOPT_UNIX_SOCKET_PATH, request_.unix_socket.c_str());
    set_callbacks();
    set_method();
    if (auto ok = set_target(*url); !ok) return ok;
    if (url->scheme == "https") set_tls();
    set_headers();
    return {};
  }

  void set_callbacks() {
    set(CURLOPT_WRITEFUNCTION, &Transfer::on_write);
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set(CURLOPT_HEADERDATA, this);
    if (request_.own_connection || !request_.netns_path.empty()) {
      set(CURLOPT_FRESH_CONNECT, 1L);
      set(CURLOPT_FORBID_REUSE, 1L);
    }
    if (request_.netns_path.empty()) return;
    set(CURLOPT_OPENSOCKETFUNCTION, &Transfer::on_socket);
    set(CURLOPT_OPENSOCKETDATA, this);
  }

  void set_method() {
    bool takes_body = request_.method == "POST" || request_.method == "PUT" || request_.method == "PATCH";
    if (takes_body || !request_.body.empty()) {
      set(CURLOPT_POSTFIELDS, request_.body.data());
      set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    }
    if (request_.method == "HEAD")
      set(CURLOPT_NOBODY, 1L);
    else
      set(CURLOPT_CUSTOMREQUEST, request_.method.c_str());
  }

  // To verify another name than the URL's, the URL gets that name and libcurl is told where it lives.
  Result<void> set_target(const Url& url) {
    if (tls_->server_name.empty() || url.scheme != "https" || tls_->server_name == url.host) {
      set(CURLOPT_URL, request_.url.c_str());
      return {};
    }
    auto renamed = with_host(request_.url, tls_->server_name);
    if (!renamed) return fail(renamed.error());
    set(CURLOPT_URL, renamed->c_str());
    auto literal = [](const std::string& host) {
      return host.find(':') == std::string::npos ? host : "[" + host + "]";
    };
    append(connect_to_, literal(tls_->server_name) + ":" + std::to_string(url.port) + ":" + literal(url.host) + ":" +
                            std::to_string(url.port));
    set(CURLOPT_CONNECT_TO, connect_to_.get());
    if (!request_.headers.has("Host")) request_.headers.add("Host", url.authority);
    return {};
  }

  void set_tls() {
    set(CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    set(CURLOPT_SSL_VERIFYPEER, tls_->verify ? 1L : 0L);
    set(CURLOPT_SSL_VERIFYHOST, tls_->verify ? 2L : 0L);
    if (!tls_->ca_pem.empty()) set_blob(CURLOPT_CAINFO_BLOB, tls_->ca_pem);
    if (tls_->certificate_pem.empty()) return;
    set_blob(CURLOPT_SSLCERT_BLOB, tls_->certificate_pem);
    set(CURLOPT_SSLCERTTYPE, "PEM");
    set_blob(CURLOPT_SSLKEY_BLOB, tls_->key_pem);
    set(CURLOPT_SSLKEYTYPE, "PEM");
  }

  void set_headers() {
    for (const auto& [name, value] : request_.headers.items())
      append(headers_, value.empty() ? name + ";" : name + ": " + value);
    append(headers_, "Expect:");
    if (!request_.headers.has("Content-Type")) append(headers_, "Content-Type:");
    set(CURLOPT_HTTPHEADER, headers_.get());
  }

  static size_t on_write(char* data, size_t size, size_t count, void* self) {
    auto* transfer = static_cast<Transfer*>(self);
    std::lock_guard lock(transfer->mutex_);
    if (transfer->cancelled_) return 0;
    transfer->callbacks_.on_data({data, size * count});
    return size * count;
  }

  static size_t on_header(char* data, size_t size, size_t count, void* self) {
    auto* transfer = static_cast<Transfer*>(self);
    transfer->header_line(trim({data, size * count}));
    return size * count;
  }

  void header_line(std::string_view line) {
    std::lock_guard lock(mutex_);
    if (cancelled_) return;
    if (line.starts_with("HTTP/") && !head_seen_) {
      response_headers_ = Headers();
      return;
    }
    if (line.empty()) return head_complete();
    auto colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) return;
    (head_seen_ ? trailers_ : response_headers_)
        .add(std::string(line.substr(0, colon)), std::string(trim(line.substr(colon + 1))));
  }

  void head_complete() {
    long status = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
    bool redirect = request_.follow_redirects && status >= 300 && status < 400 && response_headers_.has("Location");
    if (status < 200 || redirect || head_seen_) return;
    head_seen_ = true;
    callbacks_.on_head(static_cast<int>(status), response_headers_);
  }

  static curl_socket_t on_socket(void* self, curlsocktype, curl_sockaddr* address) {
    auto* transfer = static_cast<Transfer*>(self);
    auto socket = socket_in(transfer->request_.netns_path, address->family, address->socktype, address->protocol);
    if (socket) return socket->release();
    transfer->netns_failure_ = std::make_unique<Status>(socket.error());
    return CURL_SOCKET_BAD;
  }

  ClientRequest request_;
  const TlsPtr tls_;
  Callbacks callbacks_;
  ListPtr headers_, connect_to_;
  EasyPtr easy_;
  char error_[CURL_ERROR_SIZE] = "";
  std::shared_ptr<Transfer> self_;  // while the loop has it; loop thread only after start()
  std::unique_ptr<Status> netns_failure_;
  std::recursive_mutex mutex_;  // a callback may cancel its own transfer
  bool cancelled_ = false;
  bool head_seen_ = false;
  Headers response_headers_, trailers_;
};

class StreamHandle final : public ClientStream {
 public:
  explicit StreamHandle(std::shared_ptr<Transfer> transfer) : transfer_(std::move(transfer)) {}
  ~StreamHandle() override { transfer_->cancel(); }

 private:
  std::shared_ptr<Transfer> transfer_;
};

// What send() waits for.
struct Waiting {
  std::mutex mutex;
  std::condition_variable changed;
  ClientResponse response;
  Result<void> result;
  bool too_large = false, done = false;
};

class CurlClient final : public Client {
 public:
  explicit CurlClient(ClientTls tls) : tls_(std::make_shared<ClientTls>(std::move(tls))) {}

  Result<ClientResponse> send(const ClientRequest& request) override {
    KCUBE_CHECK(!CurlLoop::instance().on_loop_thread());  // it would wait for itself
    Waiting waiting;
    uint64_t limit = request.max_body_bytes;
    Callbacks callbacks;
    callbacks.on_head = [&](int status, const Headers& headers) {
      waiting.response.status = status;
      waiting.response.headers = headers;
    };
    callbacks.on_data = [&](std::string_view data) {
      waiting.too_large |= waiting.response.body.size() + data.size() > limit;
      if (!waiting.too_large) waiting.response.body.append(data);
    };
    callbacks.on_trailers = [&](const Headers& trailers) {
      for (const auto& [name, value] : trailers.items()) waiting.response.headers.add(name, value);
    };
    callbacks.on_end = [&](Result<void> result) {
      std::lock_guard lock(waiting.mutex);
      waiting.result = std::move(result);
      waiting.done = true;
      waiting.changed.notify_one();
    };
    auto transfer = std::make_shared<Transfer>(request, tls(), std::move(callbacks));
    if (auto ok = transfer->start(); !ok) return fail(ok.error());
    std::unique_lock lock(waiting.mutex);
    waiting.changed.wait(lock, [&] { return waiting.done; });
    if (!waiting.result) return fail(waiting.result.error());
    if (waiting.too_large)
      return fail(Status::unavailable(request.url + ": the answer is larger than " + std::to_string(limit) + " bytes"));
    return std::move(waiting.response);
  }

  Result<std::unique_ptr<ClientStream>> open(const ClientRequest& request,
                                             std::function<void(int, const Headers&)> on_head,
                                             std::function<void(std::string_view)> on_data,
                                             std::function<void(Result<void>)> on_end) override {
    auto transfer = std::make_shared<Transfer>(
        request, tls(), Callbacks{std::move(on_head), std::move(on_data), {}, std::move(on_end)});
    if (auto ok = transfer->start(); !ok) return fail(ok.error());
    return std::make_unique<StreamHandle>(std::move(transfer));
  }

  void set_tls(ClientTls tls) override {
    std::lock_guard lock(mutex_);
    tls_ = std::make_shared<ClientTls>(std::move(tls));
  }

 private:
  TlsPtr tls() {
    std::lock_guard lock(mutex_);
    return tls_;
  }
  std::mutex mutex_;
  TlsPtr tls_;
};

}  // namespace

std::unique_ptr<Client> Client::create(ClientTls tls) { return std::make_unique<CurlClient>(std::move(tls)); }

}  // namespace kcube::http
