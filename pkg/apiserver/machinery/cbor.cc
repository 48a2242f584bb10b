#include "pkg/apiserver/machinery/cbor.h"

#include <bit>
#include <cmath>
#include <limits>

#include "pkg/base/clock.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

enum Major : uint8_t { kUnsigned, kNegative, kBytes, kText, kArray, kMap, kTag, kSimple };
constexpr std::string_view kMajorNames[] = {"positive integer", "negative integer", "byte string", "UTF-8 text string", "array", "map", "tag", "primitives"};
constexpr int kMaxDepth = 512;             // as of JSON
constexpr uint8_t kIndefinite = 31, kBreak = 0xff;

// The tag that says "this is CBOR": encode_cbor() puts it in front of everything, so it takes no depth from what is in it.
constexpr std::string_view kSelfDescribed = "\xd9\xd9\xf7";

enum Tags : uint64_t { kTimeText, kTimeNumber, kBignum, kNegativeBignum, kBase64Url = 21, kBase64 = 22, kBase16 = 23 };

std::unexpected<Status> refuse(std::string message) { return fail(Status::bad_request("cbor: " + std::move(message))); }

struct Head {
  Major major;
  uint8_t info;
  uint64_t n = 0;          // the argument; of floats their bits
  bool indefinite() const { return info == kIndefinite; }
};

// Reads heads and strings in order; what it reads is checked against the end.
class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  size_t at() const { return at_; }
  bool ended() const { return at_ == in_.size(); }
  size_t left() const { return in_.size() - at_; }

  Result<Head> head() {
    if (ended()) return cut_short();
    auto first = static_cast<uint8_t>(in_[at_++]);
    Head h{static_cast<Major>(first >> 5), static_cast<uint8_t>(first & 31)};
    if (h.info < 24) {
      h.n = h.info;
    } else if (h.info < 28) {
      size_t size = size_t{1} << (h.info - 24);
      if (left() < size) return cut_short();
      for (size_t i = 0; i < size; ++i) h.n = h.n << 8 | static_cast<uint8_t>(in_[at_++]);
    } else if (h.info < kIndefinite || (h.major != kBytes && h.major != kText && h.major != kArray && h.major != kMap && h.major != kSimple)) {
      return refuse("invalid additional information " + std::to_string(h.info) + " for type " + std::string(kMajorNames[h.major]));
    }
    return h;
  }
  Result<std::string_view> take(uint64_t n) {
    if (n > left()) return cut_short();
    at_ += n;
    return in_.substr(at_ - n, n);
  }
  // True, and past it, at the end of an item of no definite length.
  bool broken() {
    if (ended() || static_cast<uint8_t>(in_[at_]) != kBreak) return false;
    ++at_;
    return true;
  }

 private:
  std::unexpected<Status> cut_short() const { return fail(Status::bad_request(in_.empty() ? "EOF" : "unexpected EOF")); }
  std::string_view in_;
  size_t at_ = 0;
};

// --- The first look: form alone -----------------------------------------------------------------------------------------

class FormCheck {
 public:
  explicit FormCheck(std::string_view in) : reader_(in), described_(in.starts_with(kSelfDescribed)) {}

  Result<void> document() {
    if (auto r = item(described_ ? -1 : 0); !r) return r;
    if (!reader_.ended()) return refuse(std::to_string(reader_.left()) + " bytes of extraneous data starting at index " + std::to_string(reader_.at()));
    return {};
  }

 private:
  Result<void> item(int depth) {
    if (depth > kMaxDepth) return refuse("exceeded max nested level " + std::to_string(kMaxDepth));
    auto h = reader_.head();
    if (!h) return fail(h.error());
    switch (h->major) {
      case kUnsigned:
      case kNegative: return {};
      case kBytes:
      case kText: return string(*h);
      case kArray:
      case kMap: return container(*h, depth);
      case kTag:
        if (h->n == kBignum || h->n == kNegativeBignum) return refuse("data item of cbor type tag is not accepted by protocol: bignum");
        return item(depth + 1);
      case kSimple: return primitive(*h);
    }
    return {};
  }

  static bool too_long(uint64_t n) { return n > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()); }

  Result<void> string(const Head& h) {
    if (!h.indefinite()) {
      if (too_long(h.n)) return refuse(std::string(kMajorNames[h.major]) + " length " + std::to_string(h.n) + " is too large, causing integer overflow");
      auto bytes = reader_.take(h.n);
      if (!bytes) return fail(bytes.error());
      return {};
    }
    while (!reader_.broken()) {
      auto piece = reader_.head();
      if (!piece) return fail(piece.error());
      if (piece->major != h.major)
        return refuse("wrong element type " + std::string(kMajorNames[piece->major]) + " for indefinite-length " + std::string(kMajorNames[h.major]));
      if (piece->indefinite()) return refuse("indefinite-length " + std::string(kMajorNames[h.major]) + " chunk is not definite-length");
      auto bytes = reader_.take(piece->n);
      if (!bytes) return fail(bytes.error());
    }
    return {};
  }

  Result<void> container(const Head& h, int depth) {
    const uint64_t each = h.major == kMap ? 2 : 1;
    if (h.indefinite()) {
      while (!reader_.broken())
        for (uint64_t i = 0; i < each; ++i)
          if (auto r = item(depth + 1); !r) return r;
      return {};
    }
    if (too_long(h.n)) return refuse(std::string(kMajorNames[h.major]) + " length " + std::to_string(h.n) + " is too large, it would cause integer overflow");
    // Every item is a byte at least, so that this ends with the body whatever the length says.
    for (uint64_t i = 0; i < h.n; ++i)
      for (uint64_t j = 0; j < each; ++j)
        if (auto r = item(depth + 1); !r) return r;
    return {};
  }

  static Result<void> primitive(const Head& h) {
    auto special = [](bool infinite) { return refuse(std::string("data item of cbor type primitives is not accepted by protocol: floating-point ") + (infinite ? "infinity" : "NaN")); };
    switch (h.info) {
      case 24:
        if (h.n < 32) return refuse("invalid simple value " + std::to_string(h.n) + " for type primitives");
        return {};
      case 25:
        if ((h.n & 0x7c00) == 0x7c00) return special((h.n & 0x3ff) == 0);
        return {};
      case 26:
        if ((h.n & 0x7f800000) == 0x7f800000) return special((h.n & 0x7fffff) == 0);
        return {};
      case 27: {
        double d = std::bit_cast<double>(h.n);
        if (!std::isfinite(d)) return special(std::isinf(d));
        return {};
      }
      case kIndefinite: return refuse("unexpected \"break\" code");
      default: return {};
    }
  }

  Reader reader_;
  const bool described_;
};

// --- The value: of a document whose form is right -----------------------------------------------------------------------

double half(uint64_t bits) {
  int exponent = static_cast<int>(bits >> 10 & 31), mantissa = static_cast<int>(bits & 0x3ff);
  double d = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(mantissa + 1024, exponent - 25);
  return bits & 0x8000 ? -d : d;
}

class Decoder {
 public:
  explicit Decoder(std::string_view in) : reader_(in) {}

  // How a byte string becomes text.
  enum class Later { text, base64url, base64, base16 };

  Result<json::value> item(Later later = Later::text) {
    auto h = reader_.head();
    if (!h) return fail(h.error());
    switch (h->major) {
      case kUnsigned:
        if (h->n > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return overflow("positive", std::to_string(h->n));
        return json::value(static_cast<int64_t>(h->n));
      case kNegative:
        if (h->n > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return overflow("negative", "-" + one_more(h->n));
        return json::value(-1 - static_cast<int64_t>(h->n));
      case kBytes:
      case kText: {
        auto text = string(*h, later);
        if (!text) return fail(text.error());
        return json::value(json::key(*text));
      }
      case kArray: return array(*h);
      case kMap: return map(*h);
      case kTag: return tagged(h->n);
      case kSimple: return primitive(*h);
    }
    return json::value(nullptr);
  }

 private:
  static std::unexpected<Status> overflow(const char* sign, const std::string& n) {
    return refuse("cannot unmarshal " + std::string(sign) + " integer into Go value of type int64 (" + n + " overflows Go's int64)");
  }
  static std::string one_more(uint64_t n) { return n == std::numeric_limits<uint64_t>::max() ? "18446744073709551616" : std::to_string(n + 1); }

  Result<std::string> string(const Head& h, Later later) {
    std::string bytes;
    if (!h.indefinite()) {
      bytes = reader_.take(h.n).value_or("");
    } else {
      while (!reader_.broken()) bytes += reader_.take(reader_.head()->n).value_or("");
    }
    if (h.major == kText) {
      if (!is_utf8(bytes)) return refuse("invalid UTF-8 string");
      return bytes;
    }
    switch (later) {
      case Later::text: return is_utf8(bytes) ? std::move(bytes) : made_utf8(bytes);
      case Later::base64url: return base64url_encode(bytes);
      case Later::base64: return base64_encode(bytes);
      case Later::base16: return to_hex(bytes);
    }
    return bytes;
  }

  Result<json::value> array(const Head& h) {
    json::array out;
    for (uint64_t i = 0; h.indefinite() ? !reader_.broken() : i < h.n; ++i) {
      auto v = item();
      if (!v) return v;
      out.push_back(std::move(*v));
    }
    return json::value(std::move(out));
  }

  Result<json::value> map(const Head& h) {
    json::object out;
    for (uint64_t i = 0; h.indefinite() ? !reader_.broken() : i < h.n; ++i) {
      auto name = key();
      if (!name) return fail(name.error());
      if (out.contains(json::key(*name))) return refuse("found duplicate map key \"" + *name + "\" at map element index " + std::to_string(i));
      auto v = item();
      if (!v) return v;
      out.emplace(json::key(*name), std::move(*v));
    }
    return json::value(std::move(out));
  }

  Result<std::string> key() {
    Reader before = reader_;
    auto h = reader_.head();
    if (h->major != kBytes && h->major != kText && h->major != kTag && !(h->major == kSimple && h->info == 22))
      return refuse("cannot unmarshal " + std::string(kMajorNames[h->major]) + " into Go value of type string");
    if (h->major == kSimple) return std::string();
    if (h->major != kTag) return string(*h, Later::text);
    reader_ = before;
    auto v = item();
    if (!v) return fail(v.error());
    if (!v->is_string()) return refuse("cannot unmarshal tag into Go value of type string");
    return std::string(json::view(v->get_string()));
  }

  Result<json::value> tagged(uint64_t tag) {
    auto v = item(tag == kBase64 ? Later::base64 : tag == kBase64Url ? Later::base64url : tag == kBase16 ? Later::base16 : Later::text);
    if (!v || tag > kTimeNumber) return v;
    if (tag == kTimeText) {
      CalendarTime t;
      if (!v->is_string() || !parse_calendar_time(json::view(v->get_string()), t)) return refuse("cannot set " + json::serialize(*v) + " for time.Time");
      return v;
    }
    constexpr double kFirst = -9.2e9, kLast = 9.2e9;   // what SystemTime holds
    double seconds = v->is_number() ? v->to_number<double>() : std::nan("");
    if (!(seconds >= kFirst && seconds <= kLast)) return refuse("cannot set " + json::serialize(*v) + " for time.Time");
    auto whole = std::chrono::seconds(static_cast<int64_t>(std::floor(seconds)));
    return json::value(json::key(format_time(SystemTime(std::chrono::duration_cast<SystemTime::duration>(whole)))));
  }

  static Result<json::value> primitive(const Head& h) {
    switch (h.info) {
      case 20: return json::value(false);
      case 21: return json::value(true);
      case 22: return json::value(nullptr);
      case 25: return json::value(half(h.n));
      case 26: return json::value(static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(h.n))));
      case 27: return json::value(std::bit_cast<double>(h.n));
      default: return refuse("data item of cbor type primitives is not accepted by protocol: simple value " + std::to_string(h.n) + " is not recognized");
    }
  }

  Reader reader_;
};

}  // namespace

Result<void> check_cbor(std::string_view body) { return FormCheck(body).document(); }

Result<json::value> decode_cbor(std::string_view body) {
  if (auto r = check_cbor(body); !r) return fail(r.error());
  return Decoder(body).item();
}

}  // namespace kcube::machinery
