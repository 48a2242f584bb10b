// Many watchers, few writers: events a second when every event goes to every stream. Arguments: [WATCHERS [EVENTS]].
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "pkg/base/file.h"
#include "pkg/http/server.h"

using namespace kcube;

int main(int argc, char** argv) {
  size_t watchers = argc > 1 ? static_cast<size_t>(std::atoi(argv[1])) : 2000,
         events = argc > 2 ? static_cast<size_t>(std::atoi(argv[2])) : 500;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  std::mutex mutex;
  std::vector<std::unique_ptr<http::Stream>> streams;
  auto server =
      http::Server::create({.address = "127.0.0.1", .tls = false}, [&](http::Request&,
                                                                       std::unique_ptr<http::Responder> responder) {
        auto stream = responder->stream(200, {});
        std::lock_guard lock(mutex);
        streams.push_back(std::move(stream));
      }).value();
  server->start();
  Fd epoll(::epoll_create1(0));
  std::vector<Fd> clients;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server->port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (size_t i = 0; i < watchers; ++i) {
    Fd fd(::socket(AF_INET, SOCK_STREAM, 0));
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      return std::perror("connect"), 1;
    constexpr std::string_view kRequest = "GET /watch HTTP/1.1\r\nHost: h\r\n\r\n";
    if (::write(fd.get(), kRequest.data(), kRequest.size()) < 0) return 1;
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd.get()}};
    ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd.get(), &event);
    clients.push_back(std::move(fd));
  }
  while (true) {
    std::lock_guard lock(mutex);
    if (streams.size() == watchers) break;
  }
  std::printf("%zu watchers: %s", watchers, file::read("/proc/self/statm").value_or("").c_str());
  auto piece = std::make_shared<const std::string>(1000, 'e');
  size_t wanted = watchers * events * (piece->size() + 7), received = 0, refused = 0;
  std::vector<char> buffer(1 << 20);
  auto start = std::chrono::steady_clock::now();
  for (size_t sent = 0; received < wanted;) {
    if (sent < events && received + watchers * 64 * 1000 >= sent * watchers * 1000) {
      for (auto& stream : streams) refused += stream->write(piece) ? 0 : 1;
      ++sent;
    }
    epoll_event ready[256];
    int n = ::epoll_wait(epoll.get(), ready, 256, sent < events ? 0 : 1000);
    for (int i = 0; i < n; ++i)
      if (ssize_t got = ::read(ready[i].data.fd, buffer.data(), buffer.size()); got > 0)
        received += static_cast<size_t>(got);
    if (refused > 0) return std::printf("refused %zu\n", refused), 1;
  }
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%zu events to each in %.2f s: %.0f deliveries/s\n", events, seconds,
              static_cast<double>(watchers * events) / seconds);
  streams.clear();
}
