#include "pkg/dns/upstream.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <cerrno>

#include "pkg/dns/sockets.h"

namespace kcube::dns {

uint16_t random_id() {
  thread_local uint16_t pool[64];
  thread_local size_t left = 0;
  if (left == 0) {
    while (::getrandom(pool, sizeof pool, 0) != sizeof pool) {
    }
    left = std::size(pool);
  }
  return pool[--left];
}

Exchange::Exchange(EventLoop& loop, std::string server, Message query, Duration timeout, Done done)
    : loop_(loop), server_(std::move(server)), query_(std::move(query)), done_(std::move(done)) {
  timer_ = loop_.schedule(timeout, [this] {
    timer_ = 0;
    finish(fail(Status::timeout("DNS server " + server_)));
  });
  out_ = encode(query_);
  start();
}

Exchange::~Exchange() {
  close();
  if (timer_ != 0) loop_.cancel(timer_);
}

// A failure is told from the loop, never from inside the constructor.
void Exchange::start() {
  auto opened = open(false);
  if (opened && ::send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL) < 0)
    opened = fail(Status::from_errno("ask DNS server " + server_));
  if (opened) return;
  close();
  loop_.cancel(timer_);
  timer_ = loop_.schedule(Duration::zero(), [this, status = opened.error()] {
    timer_ = 0;
    finish(fail(status));
  });
}

Result<void> Exchange::open(bool tcp) {
  auto address = SocketAddress::make(server_, kDnsPort);
  if (!address) return fail(address.error());
  // Its own socket and so its own random port for each question: an answer must fit port, address and id.
  fd_ = Fd(::socket(address->family(), (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd_) return fail(Status::from_errno("socket"));
  if (::connect(fd_.get(), address->get(), address->size) != 0 && errno != EINPROGRESS)
    return fail(Status::from_errno("connect to DNS server " + server_));
  if (tcp) return loop_.watch(fd_.get(), EPOLLOUT, [this](uint32_t events) { on_tcp(events); });
  return loop_.watch(fd_.get(), EPOLLIN, [this](uint32_t events) { on_udp(events); });
}

bool Exchange::belongs(const Message& answer) const {
  const Question& asked = query_.questions[0];
  return answer.response && answer.id == query_.id && answer.questions.size() == 1 &&
         answer.questions[0].type == asked.type && answer.questions[0].klass == asked.klass &&
         lower(answer.questions[0].name) == lower(asked.name);
}

void Exchange::on_udp(uint32_t) {
  char buffer[kMaxMessage];
  ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) return finish(fail(Status::from_errno("ask DNS server " + server_)));
  auto answer = parse({buffer, static_cast<size_t>(n)});
  // Something else, or a forgery: the true answer may still come.
  if (!answer || !belongs(*answer)) return;
  if (answer->truncated) return switch_to_tcp();
  finish(std::move(answer), static_cast<size_t>(n));
}

void Exchange::switch_to_tcp() {
  close();
  out_ = u16_bytes(static_cast<uint16_t>(out_.size())) + out_;
  if (auto r = open(true); !r) finish(fail(r.error()));
}

void Exchange::on_tcp(uint32_t events) {
  if ((events & EPOLLOUT) != 0 && !out_.empty()) {
    ssize_t n = ::send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
      return finish(fail(Status::from_errno("ask DNS server " + server_)));
    if (n > 0) out_.erase(0, static_cast<size_t>(n));
    if (!out_.empty()) return;
    if (auto r = loop_.modify(fd_.get(), EPOLLIN); !r) return finish(fail(r.error()));
    return;
  }
  if (!read_tcp()) return;
  auto answer = parse(std::string_view(in_).substr(2));
  if (!answer || !belongs(*answer))
    return finish(fail(Status::unavailable("DNS server " + server_ + " answers nonsense")));
  finish(std::move(answer), in_.size());
}

// True when the whole answer is there; finishes the exchange when it never will be.
bool Exchange::read_tcp() {
  char buffer[16384];
  ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (n <= 0) {
    finish(fail(n < 0 ? Status::from_errno("ask DNS server " + server_)
                      : Status::unavailable("DNS server " + server_ + " hung up")));
    return false;
  }
  in_.append(buffer, static_cast<size_t>(n));
  if (in_.size() < 2) return false;
  size_t length = static_cast<size_t>(uint8_t(in_[0])) << 8 | uint8_t(in_[1]);
  if (in_.size() < 2 + length) return false;
  in_.resize(2 + length);
  return true;
}

void Exchange::close() {
  if (!fd_) return;
  loop_.unwatch(fd_.get());
  fd_.reset();
}

void Exchange::finish(Result<Message> answer, size_t bytes) {
  close();
  if (timer_ != 0) loop_.cancel(std::exchange(timer_, 0));
  Done done = std::move(done_);
  done(std::move(answer), bytes);  // may destroy this
}

}  // namespace kcube::dns
