#include "pkg/http/spdy_headers.h"

#include <zlib.h>

#include "pkg/base/strings.h"

namespace kcube::http {
namespace {

constexpr size_t kMaxBlock = 64 << 10;

// Section 2.6.10.1 of the SPDY/3 draft: words with their 32-bit lengths, then bare text.
constexpr std::string_view kWords[] = {"options",
                                       "head",
                                       "post",
                                       "put",
                                       "delete",
                                       "trace",
                                       "accept",
                                       "accept-charset",
                                       "accept-encoding",
                                       "accept-language",
                                       "accept-ranges",
                                       "age",
                                       "allow",
                                       "authorization",
                                       "cache-control",
                                       "connection",
                                       "content-base",
                                       "content-encoding",
                                       "content-language",
                                       "content-length",
                                       "content-location",
                                       "content-md5",
                                       "content-range",
                                       "content-type",
                                       "date",
                                       "etag",
                                       "expect",
                                       "expires",
                                       "from",
                                       "host",
                                       "if-match",
                                       "if-modified-since",
                                       "if-none-match",
                                       "if-range",
                                       "if-unmodified-since",
                                       "last-modified",
                                       "location",
                                       "max-forwards",
                                       "pragma",
                                       "proxy-authenticate",
                                       "proxy-authorization",
                                       "range",
                                       "referer",
                                       "retry-after",
                                       "server",
                                       "te",
                                       "trailer",
                                       "transfer-encoding",
                                       "upgrade",
                                       "user-agent",
                                       "vary",
                                       "via",
                                       "warning",
                                       "www-authenticate",
                                       "method",
                                       "get",
                                       "status",
                                       "200 OK",
                                       "version",
                                       "HTTP/1.1",
                                       "url",
                                       "public",
                                       "set-cookie",
                                       "keep-alive",
                                       "origin"};
constexpr std::string_view kTail =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
constexpr uLong kDictionaryId = 0xe3c6a7c2;  // its Adler-32, as every SPDY/3 stream names it

void put32(std::string& to, size_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<char>(value >> shift));
}

const std::string& dictionary() {
  static const std::string bytes = [] {
    std::string all;
    for (auto word : kWords) {
      put32(all, word.size());
      all.append(word);
    }
    all.append(kTail);
    KCUBE_CHECK(adler32(adler32(0, nullptr, 0), reinterpret_cast<const Bytef*>(all.data()),
                        static_cast<uInt>(all.size())) == kDictionaryId);
    return all;
  }();
  return bytes;
}

const Bytef* dictionary_bytes() { return reinterpret_cast<const Bytef*>(dictionary().data()); }

Status malformed() { return Status::bad_request("SPDY: malformed header block"); }

bool take32(std::string_view& from, size_t& value) {
  if (from.size() < 4) return false;
  value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(from[static_cast<size_t>(i)]);
  from.remove_prefix(4);
  return true;
}

bool take_string(std::string_view& from, std::string_view& text) {
  size_t size = 0;
  if (!take32(from, size) || size > from.size()) return false;
  text = from.substr(0, size);
  from.remove_prefix(size);
  return true;
}

}  // namespace

struct SpdyHeaderReader::Impl {
  z_stream zlib{};
};

SpdyHeaderReader::SpdyHeaderReader() : impl_(std::make_unique<Impl>()) {
  KCUBE_CHECK(inflateInit(&impl_->zlib) == Z_OK);
}
SpdyHeaderReader::~SpdyHeaderReader() { inflateEnd(&impl_->zlib); }

Result<Headers> SpdyHeaderReader::read(std::string_view block) {
  z_stream& zlib = impl_->zlib;
  std::string plain(kMaxBlock, '\0');
  zlib.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(block.data()));
  zlib.avail_in = static_cast<uInt>(block.size());
  zlib.next_out = reinterpret_cast<Bytef*>(plain.data());
  zlib.avail_out = static_cast<uInt>(plain.size());
  int result = inflate(&zlib, Z_SYNC_FLUSH);
  if (result == Z_NEED_DICT) {
    result = inflateSetDictionary(&zlib, dictionary_bytes(), static_cast<uInt>(dictionary().size()));
    if (result == Z_OK) result = inflate(&zlib, Z_SYNC_FLUSH);
  }
  if ((result != Z_OK && result != Z_BUF_ERROR) || zlib.avail_in != 0) return fail(malformed());
  plain.resize(plain.size() - zlib.avail_out);

  std::string_view rest = plain;
  size_t count = 0;
  if (!take32(rest, count)) return fail(malformed());
  Headers headers;
  for (size_t i = 0; i < count; ++i) {
    std::string_view name, values;
    if (!take_string(rest, name) || !take_string(rest, values) || name.empty()) return fail(malformed());
    for (auto value : split(values, '\0')) headers.add(std::string(name), std::string(value));
  }
  return headers;
}

struct SpdyHeaderWriter::Impl {
  z_stream zlib{};
};

SpdyHeaderWriter::SpdyHeaderWriter() : impl_(std::make_unique<Impl>()) {
  KCUBE_CHECK(deflateInit(&impl_->zlib, Z_BEST_COMPRESSION) == Z_OK);
  KCUBE_CHECK(deflateSetDictionary(&impl_->zlib, dictionary_bytes(), static_cast<uInt>(dictionary().size())) == Z_OK);
}
SpdyHeaderWriter::~SpdyHeaderWriter() { deflateEnd(&impl_->zlib); }

std::string SpdyHeaderWriter::write(const Headers& headers) {
  std::string plain;
  put32(plain, headers.items().size());
  for (const auto& [name, value] : headers.items()) {
    std::string lower = to_lower(name);
    put32(plain, lower.size());
    plain.append(lower);
    put32(plain, value.size());
    plain.append(value);
  }
  std::string block(deflateBound(&impl_->zlib, static_cast<uLong>(plain.size())) + 16, '\0');
  z_stream& zlib = impl_->zlib;
  zlib.next_in = reinterpret_cast<Bytef*>(plain.data());
  zlib.avail_in = static_cast<uInt>(plain.size());
  zlib.next_out = reinterpret_cast<Bytef*>(block.data());
  zlib.avail_out = static_cast<uInt>(block.size());
  KCUBE_CHECK(deflate(&zlib, Z_SYNC_FLUSH) == Z_OK && zlib.avail_in == 0);
  block.resize(block.size() - zlib.avail_out);
  return block;
}

}  // namespace kcube::http
