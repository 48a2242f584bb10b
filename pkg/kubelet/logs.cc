#include "pkg/kubelet/logs.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <deque>

#include "pkg/base/fd.h"
#include "pkg/base/file.h"

namespace kcube::kubelet {
namespace {

struct Line {
  std::string_view time, stream, text;
  bool partial = false;
};

bool parse_line(std::string_view raw, Line& line) {
  size_t a = raw.find(' '), b = a == std::string_view::npos ? a : raw.find(' ', a + 1), c = b == std::string_view::npos ? b : raw.find(' ', b + 1);
  if (c == std::string_view::npos) return false;
  line = {raw.substr(0, a), raw.substr(a + 1, b - a - 1), raw.substr(c + 1), raw.substr(b + 1, c - b - 1).starts_with('P')};
  return true;
}

class Reader {
 public:
  Reader(const std::string& path, const LogOptions& options, const std::function<bool(std::string_view)>& sink)
      : path_(path), options_(options), sink_(sink), left_(options.limit_bytes.value_or(-1)) {
    if (options.stream == "Stdout") wanted_ = "stdout";
    if (options.stream == "Stderr") wanted_ = "stderr";
  }

  Result<void> open() {
    auto fd = file::open(path_, O_RDONLY);
    if (!fd) return fail(fd.error());
    fd_ = std::move(*fd);
    return {};
  }

  // Skips to the last `tail_lines` lines by reading backwards in blocks.
  void seek_tail() {
    if (!options_.tail_lines) return;
    off_t end = ::lseek(fd_.get(), 0, SEEK_END), at = end;
    int64_t newlines = 0;
    off_t start = *options_.tail_lines <= 0 ? end : 0;
    char block[65536];
    while (at > 0 && start == 0 && *options_.tail_lines > 0) {
      off_t size = std::min<off_t>(at, sizeof block);
      at -= size;
      ssize_t n = ::pread(fd_.get(), block, static_cast<size_t>(size), at);
      for (ssize_t i = n - 1; i >= 0; --i) {
        if (block[i] != '\n' || at + i == end - 1) continue;
        if (++newlines >= *options_.tail_lines) {
          start = at + i + 1;
          break;
        }
      }
      if (start > 0) break;
    }
    ::lseek(fd_.get(), start, SEEK_SET);
  }

  // Hands on what is there now; false when the sink wants no more.
  bool drain() {
    char block[65536];
    ssize_t n;
    while ((n = ::read(fd_.get(), block, sizeof block)) > 0) {
      buffer_.append(block, static_cast<size_t>(n));
      size_t start = 0;
      std::string out;
      for (size_t end; (end = buffer_.find('\n', start)) != std::string::npos; start = end + 1) emit(std::string_view(buffer_).substr(start, end - start), out);
      buffer_.erase(0, start);
      if (!out.empty() && !deliver(out)) return false;
    }
    return true;
  }

  // After rotation the path names another file: the old one is read to its end first.
  bool rotated() const {
    struct stat here{}, there{};
    return ::fstat(fd_.get(), &here) == 0 && ::stat(path_.c_str(), &there) == 0 && here.st_ino != there.st_ino;
  }

 private:
  void emit(std::string_view raw, std::string& out) {
    Line line;
    if (!parse_line(raw, line)) return;
    if (!wanted_.empty() && line.stream != wanted_) return;
    if (options_.since) {
      SystemTime t;
      if (parse_time(line.time, t) && t < *options_.since) return;
    }
    if (options_.timestamps && !in_partial_) out.append(line.time).append(" ");
    out.append(line.text);
    if (!line.partial) out += '\n';
    in_partial_ = line.partial;
  }

  bool deliver(std::string_view text) {
    if (left_ < 0) return sink_(text);
    text = text.substr(0, static_cast<size_t>(left_));
    left_ -= static_cast<int64_t>(text.size());
    return sink_(text) && left_ > 0;
  }

  const std::string& path_;
  const LogOptions& options_;
  const std::function<bool(std::string_view)>& sink_;
  std::string_view wanted_;
  Fd fd_;
  std::string buffer_;
  bool in_partial_ = false;
  int64_t left_;
};

}  // namespace

Result<void> read_log(const std::string& path, const LogOptions& options, const std::function<bool(std::string_view)>& sink,
                      const std::function<bool()>& finished) {
  Fd notify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!notify) return fail(Status::from_errno("inotify_init1"));
  std::string directory = path.substr(0, path.rfind('/'));
  // Before the first read, so that nothing written in between is missed.
  if (options.follow && ::inotify_add_watch(notify.get(), directory.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF) < 0)
    return fail(Status::from_errno("watch " + directory));
  Reader reader(path, options, sink);
  if (auto r = reader.open(); !r) return r;
  reader.seek_tail();
  while (true) {
    bool over = finished();  // asked before the read: what was written before the end is then read below
    if (!reader.drain()) return {};
    if (reader.rotated()) {
      if (auto r = reader.open(); !r) return r;
      continue;
    }
    if (!options.follow || over) return {};
    // The end of a container writes nothing to its log, so it is looked for now and then too.
    pollfd p{notify.get(), POLLIN, 0};
    ::poll(&p, 1, 500);
    char events[4096];
    while (::read(notify.get(), events, sizeof events) > 0) {
    }
  }
}

}  // namespace kcube::kubelet
