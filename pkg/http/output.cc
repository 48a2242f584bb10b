#include "pkg/http/output.h"

#include <algorithm>
#include <array>

namespace kcube::http {
namespace {

constexpr size_t kRecord = 16384;  // the largest TLS record
constexpr size_t kTurn = 512 << 10;  // bytes after which others have their turn
constexpr size_t kLarge = 8192;    // pieces from here on are encrypted where they lie

}  // namespace

Io OutputQueue::flush(Transport& transport, size_t* sent) {
  return transport.ssl() ? flush_tls(transport, sent) : flush_plain(transport, sent);
}

Io OutputQueue::flush_plain(Transport& transport, size_t* sent) {
  std::array<iovec, 64> vector;
  while (!pieces_.empty()) {
    if (*sent >= kTurn) return yield();
    size_t count = 0;
    for (auto it = pieces_.begin(); it != pieces_.end() && count < vector.size(); ++it, ++count) {
      size_t skip = count == 0 ? offset_ : 0;
      vector[count] = {const_cast<char*>(it->bytes().data()) + skip, it->bytes().size() - skip};
    }
    size_t n = 0;
    Io io = transport.write(vector.data(), count, &n);
    if (io != Io::ok) return io;
    *sent += n;
    drop(n);
  }
  return Io::ok;
}

void OutputQueue::drop(size_t bytes) {
  while (bytes > 0) {
    size_t left = pieces_.front().bytes().size() - offset_;
    if (bytes < left) {
      offset_ += bytes;
      return;
    }
    bytes -= left;
    offset_ = 0;
    pieces_.pop_front();
  }
}

// Gathers small pieces until a record is full. Only with nothing staged: OpenSSL wants the same bytes again after
// `again`.
void OutputQueue::stage() {
  while (!pieces_.empty() && staged_.size() < kRecord) {
    const std::string_view bytes = pieces_.front().bytes();
    const size_t left = bytes.size() - offset_;
    if (left >= kLarge || staged_.size() + left > kRecord) return;
    if (staged_.empty() && pieces_.size() == 1) return;  // alone: no need to copy
    if (staged_.empty()) staged_.reserve(kRecord);
    staged_.append(bytes.substr(offset_));
    drop(left);
  }
}

Io OutputQueue::flush_tls(Transport& transport, size_t* sent) {
  while (!empty()) {
    if (*sent >= kTurn) return yield();
    if (staged_.empty()) stage();
    bool from_stage = !staged_.empty();
    const std::string_view bytes = from_stage ? std::string_view(staged_) : pieces_.front().bytes();
    size_t start = from_stage ? staged_offset_ : offset_;
    iovec vector{const_cast<char*>(bytes.data()) + start, std::min(bytes.size() - start, kRecord)};
    size_t n = 0;
    const bool last = start + vector.iov_len == bytes.size() && pieces_.size() <= (from_stage ? 0 : 1);
    Io io = transport.write(&vector, 1, &n, !last);
    if (io != Io::ok) return io;
    *sent += n;
    if (!from_stage) {
      drop(n);
    } else if ((staged_offset_ += n) == staged_.size()) {
      staged_.clear();
      staged_offset_ = 0;
    }
  }
  staged_ = std::string();  // idle connections keep no buffer
  return Io::ok;
}

}  // namespace kcube::http
