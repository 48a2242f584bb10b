#include "runtime/images/source.h"

#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace kcube::runtime::images {
namespace {

constexpr size_t kBuffer = 128 * 1024;

class FdSource final : public ByteSource {
 public:
  FdSource(Fd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  Result<size_t> read(char* buffer, size_t size) override {
    while (true) {
      ssize_t n = ::read(fd_.get(), buffer, size);
      if (n >= 0) return static_cast<size_t>(n);
      if (errno != EINTR) return fail(Status::from_errno("read " + name_));
    }
  }

 private:
  Fd fd_;
  std::string name_;
};

class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::string_view bytes) : bytes_(bytes) {}
  Result<size_t> read(char* buffer, size_t size) override {
    size_t n = std::min(size, bytes_.size());
    std::memcpy(buffer, bytes_.data(), n);
    bytes_.remove_prefix(n);
    return n;
  }

 private:
  std::string_view bytes_;
};

// Gives back bytes that were read ahead, then goes on with the rest.
class Rejoined final : public ByteSource {
 public:
  Rejoined(std::string head, std::unique_ptr<ByteSource> rest) : head_(std::move(head)), rest_(std::move(rest)) {}
  Result<size_t> read(char* buffer, size_t size) override {
    if (at_ == head_.size()) return rest_->read(buffer, size);
    size_t n = std::min(size, head_.size() - at_);
    std::memcpy(buffer, head_.data() + at_, n);
    at_ += n;
    return n;
  }

 private:
  std::string head_;
  size_t at_ = 0;
  std::unique_ptr<ByteSource> rest_;
};

// gzip, several members after another included (RFC 1952 section 2.2; pigz and eStargz write them).
class GunzipSource final : public ByteSource {
 public:
  explicit GunzipSource(std::unique_ptr<ByteSource> inner) : inner_(std::move(inner)), buffer_(kBuffer) {
    KCUBE_CHECK(inflateInit2(&stream_, 15 + 16) == Z_OK);
  }
  ~GunzipSource() override { inflateEnd(&stream_); }

  Result<size_t> read(char* buffer, size_t size) override {
    if (size == 0) return 0;
    stream_.next_out = reinterpret_cast<Bytef*>(buffer);
    stream_.avail_out = static_cast<uInt>(std::min<size_t>(size, 1 << 30));
    uInt wanted = stream_.avail_out;
    while (stream_.avail_out == wanted) {
      if (stream_.avail_in == 0) {
        auto n = inner_->read(buffer_.data(), buffer_.size());
        if (!n) return n;
        if (*n == 0 && between_members_) return 0;
        if (*n == 0) return fail(Status::bad_request("the gzip data ends too early"));
        stream_.next_in = reinterpret_cast<Bytef*>(buffer_.data());
        stream_.avail_in = static_cast<uInt>(*n);
      }
      if (between_members_) {
        // Padding of zeros behind the last member is common (tape blocks); anything else starts a new member.
        while (stream_.avail_in > 0 && *stream_.next_in == 0) ++stream_.next_in, --stream_.avail_in;
        if (stream_.avail_in == 0) continue;
        inflateReset(&stream_);
        between_members_ = false;
      }
      int code = inflate(&stream_, Z_NO_FLUSH);
      if (code == Z_STREAM_END)
        between_members_ = true;
      else if (code != Z_OK && code != Z_BUF_ERROR)
        return fail(Status::bad_request(std::string("the gzip data is damaged: ") +
                                        (stream_.msg != nullptr ? stream_.msg : "unknown error")));
    }
    return wanted - stream_.avail_out;
  }

 private:
  std::unique_ptr<ByteSource> inner_;
  std::vector<char> buffer_;
  z_stream stream_{};
  bool between_members_ = false;
};

class UnzstdSource final : public ByteSource {
 public:
  explicit UnzstdSource(std::unique_ptr<ByteSource> inner)
      : inner_(std::move(inner)), buffer_(kBuffer), stream_(ZSTD_createDStream()) {
    KCUBE_CHECK(stream_ != nullptr);
  }
  ~UnzstdSource() override { ZSTD_freeDStream(stream_); }

  Result<size_t> read(char* buffer, size_t size) override {
    ZSTD_outBuffer out{buffer, size, 0};
    while (out.pos == 0 && size > 0) {
      if (in_.pos == in_.size && !more_) {
        auto n = inner_->read(buffer_.data(), buffer_.size());
        if (!n) return n;
        if (*n == 0 && frame_done_) return 0;
        if (*n == 0) return fail(Status::bad_request("the zstd data ends too early"));
        in_ = {buffer_.data(), *n, 0};
      }
      size_t left = ZSTD_decompressStream(stream_, &out, &in_);
      if (ZSTD_isError(left) != 0u)
        return fail(Status::bad_request(std::string("the zstd data is damaged: ") + ZSTD_getErrorName(left)));
      frame_done_ = left == 0;
      more_ = out.pos == out.size && left != 0;  // the decoder may hold output that did not fit
    }
    return out.pos;
  }

 private:
  std::unique_ptr<ByteSource> inner_;
  std::vector<char> buffer_;
  ZSTD_DStream* stream_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool frame_done_ = true, more_ = false;
};

class HashedSource final : public ByteSource {
 public:
  HashedSource(std::unique_ptr<ByteSource> inner, Sha256* hash) : inner_(std::move(inner)), hash_(hash) {}
  Result<size_t> read(char* buffer, size_t size) override {
    auto n = inner_->read(buffer, size);
    if (n) hash_->update({buffer, *n});
    return n;
  }

 private:
  std::unique_ptr<ByteSource> inner_;
  Sha256* hash_;
};

}  // namespace

Compression sniff(std::string_view head) {
  if (head.starts_with("\x1f\x8b")) return Compression::gzip;
  if (head.starts_with("\x28\xb5\x2f\xfd")) return Compression::zstd;
  // A skippable frame first, as zstd:chunked has it (RFC 8878 section 3.1.2).
  if (head.size() >= 4 && (head[0] & 0xf0) == 0x50 && head.substr(1, 3) == "\x2a\x4d\x18") return Compression::zstd;
  return Compression::none;
}

std::unique_ptr<ByteSource> from_fd(Fd fd, std::string name) {
  return std::make_unique<FdSource>(std::move(fd), std::move(name));
}
std::unique_ptr<ByteSource> from_memory(std::string_view bytes) { return std::make_unique<MemorySource>(bytes); }

Result<std::unique_ptr<ByteSource>> decompressed(std::unique_ptr<ByteSource> inner) {
  std::string head;
  while (head.size() < 4) {
    char bytes[4];
    auto n = inner->read(bytes, 4 - head.size());
    if (!n) return fail(n.error());
    if (*n == 0) break;
    head.append(bytes, *n);
  }
  Compression compression = sniff(head);
  std::unique_ptr<ByteSource> whole = std::make_unique<Rejoined>(std::move(head), std::move(inner));
  if (compression == Compression::gzip) return std::make_unique<GunzipSource>(std::move(whole));
  if (compression == Compression::zstd) return std::make_unique<UnzstdSource>(std::move(whole));
  return whole;
}

std::unique_ptr<ByteSource> hashed(std::unique_ptr<ByteSource> inner, Sha256* hash) {
  return std::make_unique<HashedSource>(std::move(inner), hash);
}

Result<void> drain(ByteSource& source) {
  std::vector<char> buffer(kBuffer);
  while (true) {
    auto n = source.read(buffer.data(), buffer.size());
    if (!n) return fail(n.error());
    if (*n == 0) return {};
  }
}

}  // namespace kcube::runtime::images
