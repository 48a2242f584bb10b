#include "net/netlink.h"

#include <endian.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace kcube::net {
namespace {

constexpr size_t kReadBuffer = 1 << 18;
constexpr int kSendBuffer = 4 << 20;

uint32_t next_sequence() {
  static std::atomic<uint32_t> sequence{1};
  return ++sequence;
}

// Error messages come with what the kernel says of them when asked for; 0 is an acknowledgement.
int error_of(const nlmsghdr* header) { return -reinterpret_cast<const nlmsgerr*>(NLMSG_DATA(header))->error; }

}  // namespace

void NetlinkMessage::begin_raw(uint16_t type, uint16_t flags, const void* header, size_t size) {
  finish();
  start_ = buffer_.size();
  nlmsghdr h{};
  h.nlmsg_type = type;
  h.nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST);
  h.nlmsg_seq = sequence_ = next_sequence();
  buffer_.append(reinterpret_cast<const char*>(&h), sizeof h);
  raw(header, size);
  ++count_;
}

void NetlinkMessage::raw(const void* data, size_t size) {
  buffer_.append(static_cast<const char*>(data), size);
  buffer_.append(NLMSG_ALIGN(size) - size, '\0');
}

void NetlinkMessage::put(uint16_t attribute, const void* data, size_t size) {
  nlattr a{static_cast<uint16_t>(NLA_HDRLEN + size), attribute};
  buffer_.append(reinterpret_cast<const char*>(&a), sizeof a);
  raw(data, size);
}

void NetlinkMessage::put_string(uint16_t attribute, std::string_view text) {
  std::string terminated(text);
  put(attribute, terminated.c_str(), terminated.size() + 1);
}

void NetlinkMessage::put_be32(uint16_t attribute, uint32_t v) { put_u32(attribute, htobe32(v)); }

void NetlinkMessage::put_be64(uint16_t attribute, uint64_t v) {
  uint64_t be = htobe64(v);
  put(attribute, &be, sizeof be);
}

void NetlinkMessage::nest(uint16_t attribute, const std::function<void()>& body) {
  size_t at = buffer_.size();
  nlattr a{0, static_cast<uint16_t>(attribute | NLA_F_NESTED)};
  buffer_.append(reinterpret_cast<const char*>(&a), sizeof a);
  body();
  auto size = static_cast<uint16_t>(buffer_.size() - at);
  std::memcpy(buffer_.data() + at, &size, sizeof size);
}

void NetlinkMessage::finish() {
  if (buffer_.empty()) return;
  auto size = static_cast<uint32_t>(buffer_.size() - start_);
  std::memcpy(buffer_.data() + start_, &size, sizeof size);
}

const std::string& NetlinkMessage::bytes() {
  finish();
  return buffer_;
}

void for_each_attribute(std::string_view bytes, const std::function<void(uint16_t, std::string_view)>& visit) {
  while (bytes.size() >= sizeof(nlattr)) {
    nlattr a;
    std::memcpy(&a, bytes.data(), sizeof a);
    if (a.nla_len < sizeof(nlattr) || a.nla_len > bytes.size()) return;
    visit(a.nla_type & NLA_TYPE_MASK, bytes.substr(NLA_HDRLEN, a.nla_len - NLA_HDRLEN));
    bytes.remove_prefix(std::min<size_t>(NLA_ALIGN(a.nla_len), bytes.size()));
  }
}

Result<NetlinkSocket> NetlinkSocket::open(int protocol) {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) return fail(Status::from_errno("netlink socket"));
  // Large batches need room; without CAP_NET_ADMIN over the limit the default stays.
  int size = kSendBuffer;
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return fail(Status::from_errno("bind netlink socket"));
  return NetlinkSocket(std::move(fd));
}

Result<void> NetlinkSocket::send(NetlinkMessage& message, std::string_view what) {
  const std::string& bytes = message.bytes();
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  // A message must fit the buffer: one of tens of thousands of services needs more than we begin with.
  if (auto size = static_cast<int>(std::min<size_t>(bytes.size(), 1 << 29)); size > kSendBuffer)
    (void)::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  if (::sendto(fd_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel) < 0)
    return fail(Status::from_errno(what));
  return {};
}

Result<void> NetlinkSocket::request(NetlinkMessage& message, std::string_view what) {
  return batch(message, message.count(), what);
}

Result<void> NetlinkSocket::batch(NetlinkMessage& messages, size_t acknowledged, std::string_view what) {
  if (auto r = send(messages, what); !r) return r;
  std::string buffer(kReadBuffer, '\0');
  size_t seen = 0;
  int first_error = 0;
  while (seen < acknowledged) {
    ssize_t n = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Status::from_errno(what));
    auto left = static_cast<uint32_t>(n);
    for (auto* h = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
      if (h->nlmsg_type != NLMSG_ERROR) continue;
      int error = error_of(h);
      if (error != 0 && first_error == 0) first_error = error;
      ++seen;
      // A failed transaction is rolled back whole: its errors all come at once, the acknowledgements do not.
      if (error != 0 && acknowledged == 1) seen = acknowledged;
    }
    if (first_error != 0) break;
  }
  if (first_error == 0) return {};
  // What else is queued belongs to this failure.
  while (::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT) > 0) {
  }
  return fail(Status::from_errno(what, first_error));
}

Result<void> NetlinkSocket::dump(NetlinkMessage& message, std::string_view what,
                                 const std::function<void(const NetlinkReply&)>& visit) {
  if (auto r = send(message, what); !r) return r;
  std::string buffer(kReadBuffer, '\0');
  while (true) {
    ssize_t n = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Status::from_errno(what));
    auto left = static_cast<uint32_t>(n);
    for (auto* h = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
      if (h->nlmsg_type == NLMSG_DONE) return {};
      if (h->nlmsg_type == NLMSG_ERROR) {
        int error = error_of(h);
        if (error == 0) return {};
        return fail(Status::from_errno(what, error));
      }
      visit({h->nlmsg_type, {reinterpret_cast<const char*>(NLMSG_DATA(h)), h->nlmsg_len - NLMSG_HDRLEN}});
      if ((h->nlmsg_flags & NLM_F_MULTI) == 0) return {};
    }
  }
}

}  // namespace kcube::net
