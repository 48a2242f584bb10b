#include "runtime/monitor/streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace kcube::monitor {
namespace {

char chunk[kMaxLine];  // one thread: one buffer

void set_nonblocking(int fd) {
  int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0) ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

}  // namespace

// --- Sink
// -------------------------------------------------------------------------------------------------------------

Sink::Sink(Loop& loop, OutputStream& stream, Fd fd) : loop_(loop), stream_(stream), fd_(std::move(fd)) {
  set_nonblocking(fd_.get());
  loop_.add(fd_.get(), 0, this);  // EPOLLERR and EPOLLHUP come unasked: the reader has gone
}

Sink::~Sink() { loop_.remove(fd_.get()); }

bool Sink::send(std::string_view bytes) {
  if (pending_.empty()) {
    ssize_t n = ::write(fd_.get(), bytes.data(), bytes.size());
    if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
  }
  if (bytes.empty()) return true;
  pending_.append(bytes);
  loop_.modify(fd_.get(), EPOLLOUT, this);
  return true;
}

void Sink::on_ready(int, uint32_t events) {
  if (!pending_.empty() && (events & EPOLLOUT)) {
    ssize_t n = ::write(fd_.get(), pending_.data(), pending_.size());
    if (n > 0) pending_.erase(0, static_cast<size_t>(n));
    if (n >= 0 || errno == EAGAIN || errno == EINTR) {
      if (!pending_.empty()) return;
      pending_.shrink_to_fit();
      loop_.modify(fd_.get(), 0, this);
      stream_.sink_changed(this, false);
      return;
    }
  }
  if (events & (EPOLLERR | EPOLLHUP)) stream_.sink_changed(this, true);
}

// --- OutputStream
// -----------------------------------------------------------------------------------------------------

OutputStream::OutputStream(Loop& loop, Fd source, std::shared_ptr<LogWriter> log, const char* name)
    : loop_(loop), source_(std::move(source)), log_(std::move(log)), name_(name) {
  set_nonblocking(source_.get());
  watching_ = loop_.add(source_.get(), EPOLLIN, this);
}

OutputStream::~OutputStream() {
  if (watching_) loop_.remove(source_.get());
}

void OutputStream::on_ready(int, uint32_t) {
  // A few chunks a turn, so that one chatty container does not starve its neighbours.
  for (int i = 0; i < 4 && read_once(); ++i) {
  }
  if (log_) log_->flush();
}

bool OutputStream::read_once() {
  ssize_t n = ::read(source_.get(), chunk, sizeof chunk);
  if (n > 0) {
    take({chunk, static_cast<size_t>(n)});
    return finishing_ || watching_;
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  // End of file, or EIO: the last process has closed the console. A console may be opened again, so it stays until
  // finish() when the process still runs; polling it would spin, though.
  if (watching_) loop_.remove(source_.get());
  watching_ = false;
  if (n == 0) {
    log_rest();
    source_.reset();
  }
  return false;
}

void OutputStream::take(std::string_view bytes) {
  bool blocked = false;
  for (size_t i = 0; i < sinks_.size();) {
    if (!sinks_[i]->send(bytes)) {
      sinks_.erase(sinks_.begin() + static_cast<long>(i));
      continue;
    }
    blocked |= sinks_[i++]->blocked();
  }
  if (blocked && watching_ && !finishing_) {
    loop_.remove(source_.get());
    watching_ = false;
  }
  if (!log_) return;
  while (!bytes.empty()) {
    auto* newline = static_cast<const char*>(std::memchr(bytes.data(), '\n', bytes.size()));
    size_t length = newline ? static_cast<size_t>(newline - bytes.data()) : bytes.size();
    size_t room = kMaxLine - line_.size();
    if (length > room) {
      line_.append(bytes.substr(0, room));
      log_->line(name_, line_, true);
      line_.clear();
      bytes.remove_prefix(room);
      continue;
    }
    if (newline && line_.empty()) {
      log_->line(name_, bytes.substr(0, length), false);
    } else {
      line_.append(bytes.substr(0, length));
      if (newline) log_->line(name_, line_, false);
      if (newline) line_.clear();
    }
    bytes.remove_prefix(length + (newline ? 1 : 0));
  }
}

void OutputStream::log_rest() {
  // No newline came: readers must not make one up. Source: containerd tags it partial, and the kubelet's messages rely on it.
  if (log_ && !line_.empty()) log_->line(name_, line_, true);
  if (log_) log_->flush();
  line_.clear();
}

void OutputStream::add_sink(Fd fd) { sinks_.push_back(std::make_unique<Sink>(loop_, *this, std::move(fd))); }

void OutputStream::finish() {
  if (finishing_) return;
  finishing_ = true;
  if (source_.valid()) {
    // Bounded by what a pipe or a console can hold, unless a stranger keeps writing: the first megabyte counts.
    for (int i = 0; i < 64 && source_.valid() && read_once(); ++i) {
    }
    if (watching_) loop_.remove(source_.get());
    watching_ = false;
    source_.reset();
  }
  log_rest();
  drop_dry_sinks();
}

void OutputStream::drop_dry_sinks() {
  std::erase_if(sinks_, [](const auto& sink) { return !sink->blocked(); });
}

void OutputStream::sink_changed(Sink* sink, bool gone) {
  if (gone || (finishing_ && !sink->blocked())) std::erase_if(sinks_, [&](const auto& s) { return s.get() == sink; });
  if (finishing_ || watching_ || !source_.valid()) return;
  for (const auto& s : sinks_)
    if (s->blocked()) return;
  watching_ = loop_.add(source_.get(), EPOLLIN, this);
}

// --- InputPump
// --------------------------------------------------------------------------------------------------------

InputPump::InputPump(Loop& loop, Fd source, Fd target, Owner& owner)
    : loop_(loop), source_(std::move(source)), target_(std::move(target)), owner_(owner) {
  set_nonblocking(source_.get());
  set_nonblocking(target_.get());
  watching_ = loop_.add(source_.get(), EPOLLIN, this);
  loop_.add(target_.get(), 0, this);
}

InputPump::~InputPump() {
  if (watching_) loop_.remove(source_.get());
  loop_.remove(target_.get());
}

void InputPump::on_ready(int fd, uint32_t events) {
  if (fd == source_.get() && pending_.empty()) {
    ssize_t n = ::read(fd, chunk, sizeof chunk);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return owner_.on_input_end(this, true);
    pending_.assign(chunk, static_cast<size_t>(n));
  } else if (fd == target_.get() && (events & (EPOLLERR | EPOLLHUP))) {
    return owner_.on_input_end(this, false);  // nobody reads any more
  }
  ssize_t n = ::write(target_.get(), pending_.data(), pending_.size());
  if (n < 0 && errno != EAGAIN && errno != EINTR) return owner_.on_input_end(this, false);
  if (n > 0) pending_.erase(0, static_cast<size_t>(n));
  // Removed, not muted: a hang-up of the source would be reported over and over.
  if (pending_.empty() && !watching_) watching_ = loop_.add(source_.get(), EPOLLIN, this);
  if (!pending_.empty() && watching_) {
    loop_.remove(source_.get());
    watching_ = false;
  }
  loop_.modify(target_.get(), pending_.empty() ? 0 : uint32_t{EPOLLOUT}, this);
}

}  // namespace kcube::monitor
