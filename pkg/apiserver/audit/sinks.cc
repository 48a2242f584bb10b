// Where audit events go.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <thread>

#include "pkg/apiserver/audit/auditor.h"
#include "pkg/base/executor.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver::audit {
namespace {

constexpr uint64_t kDefaultMegabytes = 100;

class LogSink final : public Sink {
 public:
  LogSink(AuditLogOptions options, Clock& clock) : options_(std::move(options)), clock_(clock) {}

  Result<void> open() {
    if (options_.path == "-") {
      fd_ = Fd(::dup(STDOUT_FILENO));
      return {};
    }
    size_t slash = options_.path.rfind('/');
    if (slash != std::string::npos && slash != 0)
      if (auto made = file::make_dirs(options_.path.substr(0, slash), 0700); !made) return made;
    auto opened = file::open(options_.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (!opened) return fail(opened.error());
    fd_ = std::move(*opened);
    struct stat info;
    size_ = ::fstat(fd_.get(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
    return {};
  }

  void log(const json::object& event) override {
    std::string line = json::serialize(json::value(event)) + "\n";
    uint64_t limit = (options_.max_size_mb != 0 ? static_cast<uint64_t>(options_.max_size_mb) : kDefaultMegabytes) << 20;
    std::lock_guard lock(mutex_);
    if (options_.path != "-" && size_ + line.size() > limit && size_ != 0) rotate();
    size_t done = 0;
    while (done < line.size()) {
      ssize_t n = ::write(fd_.get(), line.data() + done, line.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      done += static_cast<size_t>(n);
    }
    size_ += done;
    if (done < line.size() && !std::exchange(failed_, true)) log::error("apiserver", "audit events cannot be written", {{"error", Status::from_errno(options_.path)}});
    if (done == line.size()) failed_ = false;
  }

 private:
  // "audit.log" becomes "audit-2026-01-02T15-04-05.123.log".
  void rotate() {
    std::string stamp = format_micro_time(clock_.now()).substr(0, 23);
    std::ranges::replace(stamp, ':', '-');
    auto [directory, stem, extension] = parts();
    if (auto moved = file::rename(options_.path, directory + stem + "-" + stamp + extension); !moved) log::error("apiserver", "the audit log cannot be rotated", {{"error", moved.error()}});
    if (auto opened = open(); !opened) log::error("apiserver", "the audit log cannot be opened", {{"error", opened.error()}});
    remove_old();
  }

  std::tuple<std::string, std::string, std::string> parts() const {
    size_t slash = options_.path.rfind('/');
    std::string directory = slash == std::string::npos ? "" : options_.path.substr(0, slash + 1), name = options_.path.substr(directory.size());
    size_t dot = name.rfind('.');
    return {directory, name.substr(0, dot), dot == std::string::npos ? "" : name.substr(dot)};
  }

  void remove_old() {
    auto [directory, stem, extension] = parts();
    auto names = file::list(directory.empty() ? "." : directory);
    if (!names) return;
    std::vector<std::string> old;
    for (const std::string& name : *names)
      if (name.starts_with(stem + "-") && name.ends_with(extension) && name.size() == stem.size() + 1 + 23 + extension.size()) old.push_back(name);
    std::ranges::sort(old, std::greater<>());
    std::string oldest = options_.max_age_days == 0 ? "" : format_micro_time(clock_.now() - std::chrono::hours(24 * options_.max_age_days)).substr(0, 23);
    std::ranges::replace(oldest, ':', '-');
    for (size_t i = 0; i < old.size(); ++i) {
      bool many = options_.max_backups != 0 && i >= static_cast<size_t>(options_.max_backups);
      bool aged = !oldest.empty() && old[i].substr(stem.size() + 1, 23) < oldest;
      if (many || aged) (void)file::remove(directory + old[i]);
    }
  }

  const AuditLogOptions options_;
  Clock& clock_;
  std::mutex mutex_;
  Fd fd_;
  uint64_t size_ = 0;
  bool failed_ = false;
};

class WebhookSink final : public Sink {
 public:
  explicit WebhookSink(const AuditWebhookOptions& options) : options_(options), client_(options.target), thread_([this] { run(); }) {}
  ~WebhookSink() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void log(const json::object& event) override {
    if (options_.blocking) return send({json::value(event)});
    {
      std::lock_guard lock(mutex_);
      if (waiting_.size() >= options_.most_waiting) {
        ++dropped_;
        return;
      }
      waiting_.push_back(event);
      if (waiting_.size() != 1 && waiting_.size() < options_.most_in_batch) return;
    }
    changed_.notify_one();
  }

 private:
  void run() {
    set_thread_name("audit-webhook");
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      changed_.wait_for(lock, options_.longest_wait, [&] { return stopping_ || waiting_.size() >= options_.most_in_batch; });
      json::array items;
      while (!waiting_.empty() && items.size() < options_.most_in_batch) {
        items.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
      }
      uint64_t dropped = std::exchange(dropped_, 0);
      lock.unlock();
      send(std::move(items));
      if (dropped != 0) log::error("apiserver", "audit events were dropped: the webhook is too slow", {{"count", dropped}});
      lock.lock();
    }
  }

  void send(json::array items) const {
    auto sent = client_.post(json::object{{"kind", "EventList"}, {"apiVersion", "audit.k8s.io/v1"}, {"metadata", json::object()}, {"items", std::move(items)}});
    // Receivers need not answer with JSON.
    if (!sent && sent.error().code() != 400) kcube::log::error("apiserver", "audit events were not taken by the webhook", {{"error", sent.error()}});
  }

  const AuditWebhookOptions options_;
  const ConfiguredWebhook client_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<json::object> waiting_;
  uint64_t dropped_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Sink>> make_log_sink(const AuditLogOptions& options, Clock& clock) {
  auto sink = std::make_unique<LogSink>(options, clock);
  if (auto opened = sink->open(); !opened) return fail(opened.error());
  return sink;
}

std::unique_ptr<Sink> make_webhook_sink(const AuditWebhookOptions& options) { return std::make_unique<WebhookSink>(options); }

}  // namespace kcube::apiserver::audit
