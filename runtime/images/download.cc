#include "runtime/images/download.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "pkg/base/executor.h"
#include "pkg/base/file.h"
#include "pkg/base/strings.h"

namespace kcube::runtime::images {
namespace {

constexpr size_t kConcurrent = 3;
constexpr int kFruitlessAttempts = 5;  // in a row, each without one byte more
constexpr std::chrono::milliseconds kFirstPause{100};

// What the threads of one image share.
class Shared {
 public:
  Shared(uint64_t total, const std::function<void(uint64_t, uint64_t)>& progress)
      : total_(total), progress_(progress) {}
  const std::atomic<bool>* cancelled() const { return &cancelled_; }

  void add(int64_t bytes) {
    std::lock_guard lock(mutex_);
    done_ += bytes;
    if (progress_) progress_(static_cast<uint64_t>(std::max<int64_t>(done_, 0)), total_);
  }
  // The first failure counts; the others stop because of it.
  void fail_with(const Status& status) {
    std::lock_guard lock(mutex_);
    if (!failure_) failure_ = status;
    cancelled_ = true;
    changed_.notify_all();
  }
  // False when another thread failed meanwhile.
  bool pause(std::chrono::milliseconds duration) {
    std::unique_lock lock(mutex_);
    return !changed_.wait_for(lock, duration, [&] { return cancelled_.load(); });
  }
  Result<void> result() {
    std::lock_guard lock(mutex_);
    if (failure_) return fail(*failure_);
    return {};
  }

 private:
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;  // guards the rest; held while `progress` runs
  std::condition_variable changed_;
  std::optional<Status> failure_;
  int64_t done_ = 0;
  uint64_t total_;
  const std::function<void(uint64_t, uint64_t)>& progress_;
};

// One blob on its way into partial/HEX.
class Download {
 public:
  Download(RegistryClient& client, HttpSession& session, const Descriptor& wanted, const Blobs& blobs, Shared& shared)
      : client_(client),
        session_(session),
        wanted_(wanted),
        blobs_(blobs),
        shared_(shared),
        path_(blobs.path("partial/") + hex_of(wanted.digest)) {}
  ~Download() {
    if (fd_ && size_ == 0) ::unlink(path_.c_str());  // nothing to resume
  }
  Result<void> run();

 private:
  // Waits while another thread or process downloads the same; false when it is in the store then.
  Result<bool> open_alone();
  Result<void> take_what_is_there();
  Result<void> restart();
  Result<void> attempt();
  Result<void> begin(const HttpResponse& response);
  Result<void> append(std::string_view bytes);
  Result<void> finish();

  RegistryClient& client_;
  HttpSession& session_;
  const Descriptor& wanted_;
  const Blobs& blobs_;
  Shared& shared_;
  std::string path_;
  Fd fd_;
  Sha256 hash_;
  uint64_t size_ = 0;  // bytes in the file, all of them hashed
};

Result<bool> Download::open_alone() {
  while (true) {
    auto fd = file::open(path_, O_RDWR | O_CREAT, 0644);
    if (!fd) return fail(fd.error());
    while (::flock(fd->get(), LOCK_EX) != 0)
      if (errno != EINTR) return fail(Status::from_errno("lock " + path_));
    if (blobs_.has(wanted_.digest)) {
      ::unlink(path_.c_str());
      return false;
    }
    struct stat ours {
    }, there{};
    if (::fstat(fd->get(), &ours) == 0 && ::stat(path_.c_str(), &there) == 0 && ours.st_ino == there.st_ino) {
      fd_ = std::move(*fd);
      return true;
    }
    // Whoever had the lock gave its file up: look again.
  }
}

Result<void> Download::take_what_is_there() {
  std::vector<char> buffer(256 * 1024);
  while (true) {
    ssize_t n = ::read(fd_.get(), buffer.data(), buffer.size());
    if (n < 0) return fail(Status::from_errno("read " + path_));
    if (n == 0) break;
    hash_.update({buffer.data(), static_cast<size_t>(n)});
    size_ += static_cast<uint64_t>(n);
  }
  shared_.add(static_cast<int64_t>(size_));
  if (size_ > wanted_.size) return restart();
  return {};
}

Result<void> Download::restart() {
  shared_.add(-static_cast<int64_t>(size_));
  size_ = 0;
  hash_ = Sha256();
  if (::ftruncate(fd_.get(), 0) != 0 || ::lseek(fd_.get(), 0, SEEK_SET) != 0)
    return fail(Status::from_errno("truncate " + path_));
  return {};
}

Result<void> Download::begin(const HttpResponse& response) {
  if (size_ == 0) return {};
  std::string from = "bytes " + std::to_string(size_) + "-";
  if (response.status == 206 && response.header("content-range").starts_with(from)) return {};
  if (response.status == 206)
    return fail(Status::unavailable("the registry sends another part of the blob than was asked for"));
  return restart();  // 200: it does not know ranges
}

Result<void> Download::append(std::string_view bytes) {
  if (size_ + bytes.size() > wanted_.size)
    return fail(Status::bad_request("the registry sends more than the " + std::to_string(wanted_.size) +
                                    " bytes of blob " + wanted_.digest));
  hash_.update(bytes);
  size_ += bytes.size();
  shared_.add(static_cast<int64_t>(bytes.size()));
  while (!bytes.empty()) {
    ssize_t n = ::write(fd_.get(), bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR) return fail(Status::from_errno("write " + path_));
    if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Result<void> Download::attempt() {
  HttpRequest request;
  request.on_head = [this](const HttpResponse& response) { return begin(response); };
  request.on_data = [this](std::string_view bytes) { return append(bytes); };
  if (size_ > 0) request.headers.emplace_back("Range", "bytes=" + std::to_string(size_) + "-");
  auto response = client_.get(session_, "blobs/" + wanted_.digest, std::move(request));
  if (!response) return fail(response.error());
  if (response->status == 416) {
    if (auto r = restart(); !r) return r;
    return fail(Status::unavailable("the registry cannot resume the blob " + wanted_.digest));
  }
  if (response->status != 200 && response->status != 206) return fail(refusal(*response, "blob " + wanted_.digest));
  if (size_ < wanted_.size)
    return fail(Status::unavailable("the registry sent only " + std::to_string(size_) + " of " +
                                    std::to_string(wanted_.size) + " bytes of blob " + wanted_.digest));
  return {};
}

Result<void> Download::finish() {
  std::string digest = hash_.finish();
  if (digest == wanted_.digest) return blobs_.adopt(path_, digest);
  ::unlink(path_.c_str());
  return fail(Status::bad_request("blob " + wanted_.digest + " arrived with the digest " + digest +
                                  ": it was damaged on its way or in the registry"));
}

Result<void> Download::run() {
  if (blobs_.has(wanted_.digest)) {
    shared_.add(static_cast<int64_t>(wanted_.size));
    return {};
  }
  auto ours = open_alone();
  if (!ours) return fail(ours.error());
  if (!*ours) {
    shared_.add(static_cast<int64_t>(wanted_.size));
    return {};
  }
  if (auto r = take_what_is_there(); !r) return r;
  std::chrono::milliseconds pause = kFirstPause;
  for (int fruitless = 0; size_ < wanted_.size || wanted_.size == 0;) {
    uint64_t before = size_;
    auto done = attempt();
    if (done) break;
    // Only what may pass by itself is tried again: broken connections and a busy registry.
    if (done.error().code() != 503 && done.error().code() != 429) return done;
    bool moved = size_ > before;
    fruitless = moved ? 0 : fruitless + 1;
    pause = moved ? kFirstPause : pause * 2;
    if (fruitless >= kFruitlessAttempts || !shared_.pause(pause)) return done;
  }
  return finish();
}

}  // namespace

Result<void> download_blobs(RegistryClient& client, const std::vector<Descriptor>& wanted, const Blobs& blobs,
                            const std::function<void(uint64_t, uint64_t)>& progress) {
  std::vector<const Descriptor*> queue;
  std::set<std::string> seen;
  uint64_t total = 0;
  for (const Descriptor& blob : wanted) {
    if (!seen.insert(blob.digest).second) continue;
    queue.push_back(&blob);
    total += blob.size;
  }
  Shared shared(total, progress);
  std::atomic<size_t> next{0};
  auto work = [&] {
    set_thread_name("image-pull");
    HttpSession session(client.endpoint().tls, shared.cancelled());
    for (size_t i = next++; i < queue.size() && !shared.cancelled()->load(); i = next++)
      if (auto r = Download(client, session, *queue[i], blobs, shared).run(); !r) shared.fail_with(r.error());
  };
  std::vector<std::jthread> threads;
  for (size_t i = 0; i < std::min(kConcurrent, queue.size()); ++i) threads.emplace_back(work);
  threads.clear();
  return shared.result();
}

}  // namespace kcube::runtime::images
