#include "pkg/http/curl_loop.h"

#include <csignal>

#include "pkg/base/executor.h"
#include "pkg/base/status.h"

namespace kcube::http {

// Never destroyed: transfers of static objects may end after main.
CurlLoop& CurlLoop::instance() {
  static auto* loop = new CurlLoop();
  return *loop;
}

CurlLoop::CurlLoop() {
  KCUBE_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
  multi_ = curl_multi_init();
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, 256L);
  // The thread reads thread_ through on_loop_thread(): it starts only once that is set.
  std::lock_guard lock(mutex_);
  thread_ = std::thread([this] { run(); });
}

void CurlLoop::post(std::function<void()> action) {
  {
    std::lock_guard lock(mutex_);
    posted_.push_back(std::move(action));
  }
  curl_multi_wakeup(multi_);
}

void CurlLoop::add(CurlTransfer* transfer) {
  post([this, transfer] {
    curl_easy_setopt(transfer->easy(), CURLOPT_PRIVATE, transfer);
    if (curl_multi_add_handle(multi_, transfer->easy()) != CURLM_OK) transfer->finished(CURLE_FAILED_INIT);
  });
}

void CurlLoop::remove(CurlTransfer* transfer) { curl_multi_remove_handle(multi_, transfer->easy()); }

void CurlLoop::run() {
  set_thread_name("http-client");
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  while (true) {
    std::vector<std::function<void()>> batch;
    {
      std::lock_guard lock(mutex_);
      batch.swap(posted_);
    }
    for (auto& action : batch) action();
    int running = 0, left = 0;
    curl_multi_perform(multi_, &running);
    while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      CURLcode code = message->data.result;
      char* owner = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
      curl_multi_remove_handle(multi_, message->easy_handle);
      reinterpret_cast<CurlTransfer*>(owner)->finished(code);
    }
    // Sleeps until a socket, a timer of libcurl or a wake-up; the bound only matters to libcurl's own house-keeping.
    curl_multi_poll(multi_, nullptr, 0, 3600 * 1000, nullptr);
  }
}

}  // namespace kcube::http
