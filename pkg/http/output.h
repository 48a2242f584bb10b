// What waits to be sent on one connection: pieces shared with other receivers, sent in as few records as possible.
// One thread at a time (the connection's lock).
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pkg/http/server.h"
#include "pkg/http/transport.h"

namespace kcube::http {

struct Piece {
  std::shared_ptr<const std::string> shared;  // or `slice`, or `text`
  std::string text;
  Slice slice{};
  std::string_view bytes() const {
    if (slice.owner) return slice.bytes;
    return shared ? std::string_view(*shared) : std::string_view(text);
  }
};

class OutputQueue {
 public:
  void push(Piece piece) {
    if (!piece.bytes().empty()) pieces_.push_back(std::move(piece));
  }
  bool empty() const { return pieces_.empty() && staged_.empty(); }
  // ok: all sent. `sent` grows by the bytes that left; after many it gives way to others: `again`, and yielded() says that
  // nothing has to happen before the next attempt.
  Io flush(Transport& transport, size_t* sent);
  bool yielded() { return std::exchange(yielded_, false); }

 private:
  Io flush_plain(Transport& transport, size_t* sent);
  Io flush_tls(Transport& transport, size_t* sent);
  Io yield() {
    yielded_ = true;
    return Io::again;
  }
  void stage();
  void drop(size_t bytes);

  std::deque<Piece> pieces_;
  size_t offset_ = 0;   // into the first piece
  std::string staged_;  // small pieces gathered for one TLS record; sent before pieces_
  size_t staged_offset_ = 0;
  bool yielded_ = false;
};

}  // namespace kcube::http
