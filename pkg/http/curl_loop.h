// The process-wide libcurl multi handle and its one thread. Private to the client.
#pragma once

#include <curl/curl.h>

#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace kcube::http {

class CurlTransfer {
 public:
  virtual ~CurlTransfer() = default;
  virtual CURL* easy() = 0;
  // On the loop's thread, once, with the handle already removed.
  virtual void finished(CURLcode code) = 0;
};

class CurlLoop {
 public:
  static CurlLoop& instance();
  // Any thread. `transfer` lives until finished() or removed().
  void add(CurlTransfer* transfer);
  void post(std::function<void()> action);
  // Loop thread, not inside a libcurl callback.
  void remove(CurlTransfer* transfer);
  bool on_loop_thread() const { return std::this_thread::get_id() == thread_.get_id(); }

 private:
  CurlLoop();
  void run();

  CURLM* multi_;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;
  std::thread thread_;
};

}  // namespace kcube::http
