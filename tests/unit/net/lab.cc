#include "tests/unit/net/lab.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "net/links.h"
#include "pkg/base/file.h"

namespace kcube::net::lab {
namespace {

constexpr int kPatienceMs = 3000;

sockaddr_in address_of(const std::string& ip, uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  inet_pton(AF_INET, ip.c_str(), &a.sin_addr);
  return a;
}

std::string text_of(const sockaddr_in& a) { return format_ipv4(ntohl(a.sin_addr.s_addr)); }

std::string error_name(int error) {
  switch (error) {
    case ECONNREFUSED: return "refused";
    case EHOSTUNREACH:
    case ENETUNREACH: return "unreachable";
    case ECONNRESET: return "reset";
    case ETIMEDOUT:
    case EAGAIN: return "timeout";
  }
  return "errno " + std::to_string(error);
}

bool wait_for(int fd, short events) {
  pollfd p{fd, events, 0};
  return ::poll(&p, 1, kPatienceMs) == 1;
}

Fd connect_socket(const Fd& netns, bool tcp, const std::string& ip, uint16_t port, const std::string& from,
                  std::string& failure) {
  Fd fd;
  in(netns, [&] {
    fd = Fd(::socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!from.empty()) {
      sockaddr_in own = address_of(from, 0);
      if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&own), sizeof own) != 0) failure = error_name(errno);
    }
    sockaddr_in to = address_of(ip, port);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS)
      failure = error_name(errno);
  });
  if (!failure.empty() || !tcp) return fd;
  if (!wait_for(fd.get(), POLLOUT)) failure = "timeout";
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) failure = error_name(error);
  return fd;
}

std::string ask_once(int fd) {
  if (::send(fd, "?", 1, MSG_NOSIGNAL) < 0) return error_name(errno);
  if (!wait_for(fd, POLLIN)) return "timeout";
  char buffer[256];
  ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
  if (n < 0) return error_name(errno);
  return n == 0 ? "closed" : std::string(buffer, static_cast<size_t>(n));
}

std::string ask(const Fd& netns, bool tcp, const std::string& ip, uint16_t port, const std::string& from) {
  std::string failure;
  Fd fd = connect_socket(netns, tcp, ip, port, from, failure);
  return failure.empty() ? ask_once(fd.get()) : failure;
}

}  // namespace

void in(const Fd& netns, const std::function<void()>& action) {
  std::thread([&] {
    ASSERT_EQ(::setns(netns.get(), CLONE_NEWNET), 0);
    action();
  }).join();
}

Fd make_namespace() {
  Fd out;
  std::thread([&] {
    ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
    out = Fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    auto links = Links::open();
    ASSERT_TRUE(links->set_up(links->index_of("lo")));
  }).join();
  return out;
}

void connect(const Fd& a, const std::string& name_a, const std::string& ip_a, const Fd& b, const std::string& name_b,
             const std::string& ip_b, int mtu) {
  in(a, [&] {
    auto links = Links::open();
    auto made = links->add_veth(name_a, name_b, b, 0, mtu);
    ASSERT_TRUE(made) << made.error().message();
    int index = links->index_of(name_a);
    ASSERT_TRUE(links->add_address(index, *parse_ipv4(ip_a), 24));
    ASSERT_TRUE(links->set_up(index));
  });
  in(b, [&] {
    auto links = Links::open();
    int index = links->index_of(name_b);
    ASSERT_TRUE(links->add_address(index, *parse_ipv4(ip_b), 24));
    ASSERT_TRUE(links->set_up(index));
  });
}

void add_default_route(const Fd& netns, const std::string& device, const std::string& via) {
  in(netns, [&] {
    auto links = Links::open();
    ASSERT_TRUE(links->add_route({.to = {0, 0}, .index = links->index_of(device), .via = *parse_ipv4(via)}));
  });
}

std::string ask_tcp(const Fd& netns, const std::string& ip, uint16_t port, const std::string& from) {
  return ask(netns, true, ip, port, from);
}
std::string ask_udp(const Fd& netns, const std::string& ip, uint16_t port, const std::string& from) {
  return ask(netns, false, ip, port, from);
}
std::string who(const std::string& answer) { return answer.substr(0, answer.find(' ')); }

Client::Client(const Fd& netns, bool tcp, const std::string& ip, uint16_t port) {
  fd_ = connect_socket(netns, tcp, ip, port, {}, failure_);
}
std::string Client::ask() { return failure_.empty() ? ask_once(fd_.get()) : failure_; }

Servers::Servers() : wake_(::eventfd(0, EFD_CLOEXEC)), thread_([this] { run(); }) {}

Servers::~Servers() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  eventfd_write(wake_.get(), 1);
  thread_.join();
}

void Servers::serve(const Fd& netns, bool tcp, uint16_t port, const std::string& name, const std::string& ip) {
  Fd fd;
  in(netns, [&] {
    fd = Fd(::socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    int one = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in own = address_of(ip, port);
    ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&own), sizeof own), 0) << error_name(errno);
    ASSERT_TRUE(!tcp || ::listen(fd.get(), 64) == 0);
  });
  std::lock_guard lock(mutex_);
  int number = fd.get();
  sockets_[number] = {std::move(fd), name, tcp, !tcp};
  eventfd_write(wake_.get(), 1);
}

void Servers::run() {
  while (true) {
    std::vector<pollfd> polled{{wake_.get(), POLLIN, 0}};
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
      for (auto& [fd, socket] : sockets_) polled.push_back({fd, POLLIN, 0});
    }
    ::poll(polled.data(), polled.size(), -1);
    std::lock_guard lock(mutex_);
    eventfd_t ignored;
    if (polled[0].revents != 0) eventfd_read(wake_.get(), &ignored);
    for (size_t i = 1; i < polled.size(); ++i) {
      if (polled[i].revents == 0) continue;
      Socket& socket = sockets_[polled[i].fd];
      if (socket.listening) {
        Fd peer(::accept4(socket.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (peer) {
          int number = peer.get();
          sockets_[number] = {std::move(peer), socket.name};
        }
        continue;
      }
      char buffer[256];
      sockaddr_in peer{};
      socklen_t size = sizeof peer;
      ssize_t n = ::recvfrom(socket.fd.get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&peer), &size);
      if (n <= 0) {
        if (!socket.udp) sockets_.erase(polled[i].fd);
        continue;
      }
      if (!socket.udp) {
        size = sizeof peer;
        ::getpeername(socket.fd.get(), reinterpret_cast<sockaddr*>(&peer), &size);
      }
      std::string answer = socket.name + " " + text_of(peer);
      ::sendto(socket.fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL,
               socket.udp ? reinterpret_cast<sockaddr*>(&peer) : nullptr, socket.udp ? size : 0);
    }
  }
}

ScratchDirectory::ScratchDirectory() {
  char name[] = "/tmp/kcube-net-XXXXXX";
  path = ::mkdtemp(name);
}
ScratchDirectory::~ScratchDirectory() { (void)file::remove_tree(path); }

Node::Node(const std::string& pod_cidr, const std::string& node_ip) : netns(make_namespace()) {
  options.pod_cidr = pod_cidr;
  options.cluster_cidr = "10.42.0.0/16";
  options.service_cidr = "10.43.0.0/16";
  options.node_ip = node_ip;
  options.dns_vip = "10.43.0.10";
  options.state_dir = state.path;
}

void Node::open() {
  in(netns, [&] {
    auto opened = open_network(options);
    ASSERT_TRUE(opened) << opened.error().message();
    network = std::move(*opened);
  });
}

Pod& Node::pod(const std::string& id, const std::vector<HostPort>& host_ports) {
  Pod& pod = pods[id];
  pod.id = id;
  if (!pod.netns) pod.netns = make_namespace();
  auto ips = network->attach({id, Fd(::dup(pod.netns.get())), host_ports});
  EXPECT_TRUE(ips) << ips.error().message();
  if (ips) pod.ip = ips->at(0);
  return pod;
}

ServicePort service(const std::string& key, const std::string& ip, uint16_t port,
                    const std::vector<Endpoint>& endpoints, Protocol protocol) {
  ServicePort s;
  s.key = key;
  if (!ip.empty()) s.cluster_ips = {ip};
  s.port = port;
  s.protocol = protocol;
  s.endpoints = endpoints;
  return s;
}

}  // namespace kcube::net::lab
