// One question to one server of others: by UDP from a port of its own, by TCP when the answer was cut. Loop thread
// only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "pkg/base/event_loop.h"
#include "pkg/base/fd.h"
#include "pkg/dns/message.h"

namespace kcube::dns {

class Exchange {
 public:
  using Done = std::function<void(Result<Message> answer, size_t bytes)>;
  // `done` is called once, from the loop, unless the exchange is destroyed before; it may destroy it.
  Exchange(EventLoop& loop, std::string server, Message query, Duration timeout, Done done);
  ~Exchange();

 private:
  void start();
  Result<void> open(bool tcp);
  void on_udp(uint32_t events);
  void on_tcp(uint32_t events);
  bool read_tcp();
  void switch_to_tcp();
  bool belongs(const Message& answer) const;
  void close();
  void finish(Result<Message> answer, size_t bytes = 0);

  EventLoop& loop_;
  const std::string server_;
  const Message query_;
  Done done_;
  Fd fd_;
  TimerId timer_ = 0;
  std::string out_, in_;
};

// Unpredictable, so that nobody guesses the id of a question under way.
uint16_t random_id();

}  // namespace kcube::dns
