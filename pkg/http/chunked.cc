#include "pkg/http/chunked.h"

#include <algorithm>

namespace kcube::http {
namespace {

constexpr unsigned kMaxOverhead = 8192;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

ChunkDecoder::State ChunkDecoder::feed(std::string_view input, std::string& body, size_t& used) {
  used = 0;
  while (used < input.size()) {
    if (at_ == At::data) {
      size_t take = static_cast<size_t>(std::min<uint64_t>(left_, input.size() - used));
      if (body.size() + take > max_body_bytes_) return State::too_large;
      body.append(input.substr(used, take));
      used += take;
      left_ -= take;
      if (left_ == 0) at_ = At::data_cr;
      continue;
    }
    State state = step(input[used++]);
    if (state != State::more) return state;
    // Told early, before the bytes of a huge chunk are sent.
    if (at_ == At::data && body.size() + left_ > max_body_bytes_) return State::too_large;
  }
  return State::more;
}

ChunkDecoder::State ChunkDecoder::step(char c) {
  switch (at_) {
    case At::size:
      if (int value = hex_value(c); value >= 0) {
        if (++digits_ > 15) return State::malformed;
        left_ = left_ * 16 + static_cast<unsigned>(value);
        return State::more;
      }
      if (digits_ == 0) return State::malformed;
      if (c == ';')
        at_ = At::extension;
      else if (c == '\r')
        at_ = At::size_lf;
      else
        return State::malformed;
      return State::more;
    case At::extension:
      if (c == '\n' || c == '\0' || ++overhead_ > kMaxOverhead) return State::malformed;
      if (c == '\r') at_ = At::size_lf;
      return State::more;
    case At::size_lf:
      if (c != '\n') return State::malformed;
      digits_ = 0;
      at_ = left_ == 0 ? At::trailer : At::data;
      line_ = 0;
      return State::more;
    case At::data_cr:
      if (c != '\r') return State::malformed;
      at_ = At::data_lf;
      return State::more;
    case At::data_lf:
      if (c != '\n') return State::malformed;
      at_ = At::size;
      return State::more;
    case At::trailer:
      if (c == '\r')
        at_ = At::trailer_lf;
      else if (c == '\n' || ++overhead_ > kMaxOverhead)
        return State::malformed;
      else
        ++line_;
      return State::more;
    case At::trailer_lf:
      if (c != '\n') return State::malformed;
      if (line_ == 0) return State::done;
      line_ = 0;
      at_ = At::trailer;
      return State::more;
    case At::data: break;
  }
  return State::malformed;
}

}  // namespace kcube::http
