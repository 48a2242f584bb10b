#include "pkg/http/spdy.h"

#include <algorithm>
#include <cstring>

namespace kcube::http {
namespace {

enum Type : uint16_t {
  kSynStream = 1,
  kSynReply = 2,
  kRstStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kHeaders = 8,
  kWindowUpdate = 9
};
constexpr uint8_t kFin = 1;
constexpr uint32_t kProtocolError = 1, kInvalidStream = 2, kRefusedStream = 3, kCancel = 5;
constexpr uint32_t kSettingInitialWindow = 7;
constexpr size_t kMaxControl = 1 << 20;
constexpr size_t kMaxData = 16384;  // of our own frames
constexpr size_t kMaxStreams = 4096;
constexpr size_t kGrant = 32768;  // consumed bytes before a window is opened again
constexpr uint32_t kIdMask = 0x7fffffff;

uint32_t get32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

void put32(std::string& to, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<char>(value >> shift));
}

std::string two32(uint32_t a, uint32_t b) {
  std::string bytes;
  put32(bytes, a);
  put32(bytes, b);
  return bytes;
}

}  // namespace

// --- Streams ---

Result<size_t> SpdyStream::read(char* buffer, size_t size) {
  auto n = inbox_.read(buffer, size);
  if (!n || *n == 0) return n;
  ungranted_ += *n;
  if (ungranted_ >= kGrant)
    (void)session_.send_control(kWindowUpdate, 0, two32(id_, static_cast<uint32_t>(std::exchange(ungranted_, 0))));
  return n;
}

Result<void> SpdyStream::write(std::string_view bytes) { return session_.send_data(*this, bytes); }
void SpdyStream::close_write() { session_.finish(*this); }
void SpdyStream::reset() { session_.reset(id_, kCancel); }

// --- Session ---

SpdySession::SpdySession(std::unique_ptr<Tunnel> tunnel) : tunnel_(std::move(tunnel)), reader_([this] { run(); }) {}

SpdySession::~SpdySession() {
  tunnel_->close();
  {
    std::lock_guard lock(mutex_);
    for (auto& [id, stream] : streams_) stream->inbox_.abort();  // the reader may wait for room in one
  }
  reader_.join();
}

std::shared_ptr<SpdyStream> SpdySession::accept(std::chrono::milliseconds deadline) {
  std::unique_lock lock(mutex_);
  auto ready = [&] { return ended_ || !opened_.empty(); };
  if (deadline.count() > 0)
    changed_.wait_for(lock, deadline, ready);
  else
    changed_.wait(lock, ready);
  if (opened_.empty()) return nullptr;
  auto stream = std::move(opened_.front());
  opened_.pop_front();
  return stream;
}

void SpdySession::on_end(std::function<void()> callback) {
  {
    std::lock_guard lock(mutex_);
    if (!ended_) {
      on_end_ = std::move(callback);
      return;
    }
  }
  callback();
}

void SpdySession::shut_down() {
  (void)send_control(kGoAway, 0, two32(last_id_, 0));
  tunnel_->close_write();
  {
    // Input that nobody will read any more must not keep the reader from seeing the end.
    std::unique_lock lock(mutex_);
    for (auto& [id, stream] : streams_) stream->inbox_.abort();
    changed_.wait_for(lock, std::chrono::seconds(5), [&] { return ended_; });
  }
  tunnel_->close();
}

void SpdySession::forget(SpdyStream& stream) {
  stream.inbox_.finish();
  std::lock_guard lock(mutex_);
  stream.dead_ = true;
  streams_.erase(stream.id_);
}

void SpdySession::run() {
  while (read_frame()) {
  }
  std::function<void()> callback;
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
    for (auto& [id, stream] : streams_) {
      stream->inbox_.abort();
      stream->dead_ = true;
    }
    callback = std::exchange(on_end_, nullptr);
    changed_.notify_all();
  }
  if (callback) callback();
}

bool SpdySession::read_exactly(char* to, size_t size) {
  while (size > 0) {
    if (in_start_ == in_.size()) {
      in_.resize(16384);
      in_start_ = 0;
      auto n = tunnel_->read(in_.data(), in_.size());
      in_.resize(n ? *n : 0);
      if (!n || *n == 0) return false;
    }
    size_t take = std::min(size, in_.size() - in_start_);
    std::memcpy(to, in_.data() + in_start_, take);
    in_start_ += take;
    to += take;
    size -= take;
  }
  return true;
}

bool SpdySession::read_frame() {
  char head[8];
  if (!read_exactly(head, sizeof head)) return false;
  std::string_view bytes(head, sizeof head);
  uint32_t first = get32(bytes, 0), second = get32(bytes, 4);
  Frame frame;
  frame.control = first >> 31;
  frame.flags = static_cast<uint8_t>(second >> 24);
  frame.size = second & 0xffffff;
  if (!frame.control) {
    frame.stream = first & kIdMask;
    return handle_data(frame);
  }
  frame.type = static_cast<uint16_t>(first);
  if ((first >> 16 & 0x7fff) != 3 || frame.size > kMaxControl) {
    (void)send_control(kGoAway, 0, two32(last_id_, kProtocolError));
    return false;
  }
  std::string payload(frame.size, '\0');
  return read_exactly(payload.data(), payload.size()) && handle_control(frame, payload);
}

bool SpdySession::handle_data(const Frame& frame) {
  auto stream = find(frame.stream);
  if (!stream && frame.stream > last_id_) reset(frame.stream, kInvalidStream);  // others are done: thrown away
  char buffer[16384];
  for (size_t left = frame.size; left > 0;) {
    size_t n = std::min(left, sizeof buffer);
    if (!read_exactly(buffer, n)) return false;
    if (stream) stream->inbox_.push({buffer, n});
    left -= n;
  }
  if (stream && (frame.flags & kFin)) stream->inbox_.finish();
  return true;
}

bool SpdySession::handle_control(const Frame& frame, const std::string& payload) {
  switch (frame.type) {
    case kSynStream: return open_stream(frame, payload);
    case kHeaders:
    case kSynReply:
      // The compression state is shared: every block must be read.
      return payload.size() >= 4 && header_reader_.read(std::string_view(payload).substr(4)).has_value();
    case kRstStream:
      if (payload.size() < 8) return false;
      if (auto stream = find(get32(payload, 0) & kIdMask)) {
        std::lock_guard lock(mutex_);
        stream->inbox_.abort();
        stream->dead_ = true;
        streams_.erase(stream->id_);
        changed_.notify_all();
      }
      return true;
    case kPing:
      if (payload.size() < 4) return false;
      if (get32(payload, 0) & 1) (void)send_control(kPing, 0, std::string_view(payload).substr(0, 4));
      return true;
    case kSettings: apply_settings(payload); return true;
    case kWindowUpdate: update_window(payload); return true;
    default: return true;  // GOAWAY: the client opens no more streams and closes when it is done
  }
}

bool SpdySession::open_stream(const Frame& frame, const std::string& payload) {
  if (payload.size() < 10) return false;
  uint32_t id = get32(payload, 0) & kIdMask;
  auto headers = header_reader_.read(std::string_view(payload).substr(10));
  if (!headers) return false;
  if (id % 2 == 0 || id <= last_id_) {
    reset(id, kProtocolError);
    return true;
  }
  last_id_ = id;
  auto stream = std::make_shared<SpdyStream>(*this, id, std::move(*headers));
  {
    std::lock_guard lock(mutex_);
    if (streams_.size() < kMaxStreams)
      streams_.emplace(id, stream);
    else
      stream->dead_ = true;
    stream->window_ = initial_window_;
  }
  if (stream->dead_) {
    reset(id, kRefusedStream);
    return true;
  }
  if (frame.flags & kFin) stream->inbox_.finish();
  {
    std::string reply;
    put32(reply, id);
    std::lock_guard lock(write_mutex_);
    reply += header_writer_.write({});
    std::string bytes;
    put32(bytes, 0x80030000 | kSynReply);
    put32(bytes, static_cast<uint32_t>(reply.size()));
    if (!tunnel_->write(bytes + reply)) return false;
  }
  std::lock_guard lock(mutex_);
  opened_.push_back(std::move(stream));
  changed_.notify_all();
  return true;
}

void SpdySession::update_window(const std::string& payload) {
  if (payload.size() < 8) return;
  std::lock_guard lock(mutex_);
  windows_bind_ = true;
  auto it = streams_.find(get32(payload, 0) & kIdMask);
  if (it != streams_.end()) it->second->window_ += get32(payload, 4) & kIdMask;
  changed_.notify_all();
}

void SpdySession::apply_settings(const std::string& payload) {
  if (payload.size() < 4) return;
  size_t count = get32(payload, 0);
  for (size_t i = 0; i < count && 4 + (i + 1) * 8 <= payload.size(); ++i) {
    if ((get32(payload, 4 + i * 8) & 0xffffff) != kSettingInitialWindow) continue;
    std::lock_guard lock(mutex_);
    int64_t window = get32(payload, 8 + i * 8) & kIdMask;
    for (auto& [id, stream] : streams_) stream->window_ += window - initial_window_;
    initial_window_ = window;
    changed_.notify_all();
  }
}

std::shared_ptr<SpdyStream> SpdySession::find(uint32_t id) {
  std::lock_guard lock(mutex_);
  auto it = streams_.find(id);
  return it == streams_.end() ? nullptr : it->second;
}

Result<void> SpdySession::send_data(SpdyStream& stream, std::string_view bytes) {
  while (!bytes.empty()) {
    size_t size = std::min(bytes.size(), kMaxData);
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stream.dead_ || !windows_bind_ || stream.window_ > 0; });
      if (stream.dead_ || stream.write_closed_) return fail(Status::unavailable("the stream is closed"));
      if (windows_bind_) size = std::min<size_t>(size, static_cast<size_t>(stream.window_));
      stream.window_ -= static_cast<int64_t>(size);
    }
    std::string frame = two32(stream.id_, static_cast<uint32_t>(size));
    frame.append(bytes.substr(0, size));
    if (auto ok = send(frame); !ok) return ok;
    bytes.remove_prefix(size);
  }
  return {};
}

void SpdySession::finish(SpdyStream& stream) {
  {
    std::lock_guard lock(mutex_);
    if (stream.dead_ || std::exchange(stream.write_closed_, true)) return;
  }
  (void)send(two32(stream.id_, uint32_t{kFin} << 24));
}

void SpdySession::reset(uint32_t id, uint32_t status) {
  if (auto stream = find(id)) {
    std::lock_guard lock(mutex_);
    stream->inbox_.abort();
    stream->dead_ = true;
    streams_.erase(id);
    changed_.notify_all();
  }
  (void)send_control(kRstStream, 0, two32(id, status));
}

Result<void> SpdySession::send_control(uint16_t type, uint8_t flags, std::string_view payload) {
  std::string frame = two32(0x80030000 | type, uint32_t{flags} << 24 | static_cast<uint32_t>(payload.size()));
  return send(frame.append(payload));
}

Result<void> SpdySession::send(std::string_view frame) {
  std::lock_guard lock(write_mutex_);
  return tunnel_->write(frame);
}

}  // namespace kcube::http
