#include "pkg/dns/message.h"

#include <algorithm>
#include <unordered_map>

namespace kcube::dns {
namespace {

constexpr uint16_t kPointer = 0xc000;
constexpr size_t kMaxLabel = 63, kMaxPointer = 0x3fff, kQuestionTail = 4, kRecordTail = 10;

// Records whose data may hold compressed names: bytes before, names, the rest is copied. RFC 1035, 3597 section 4.
struct DataShape {
  uint16_t type;
  uint8_t before, names;
  bool compress;  // when written: only the types that every reader knows
};
constexpr DataShape kShapes[] = {
    {2, 0, 1, true},   {3, 0, 1, false},  {4, 0, 1, false},  {5, 0, 1, true},   {6, 0, 2, true},   {7, 0, 1, false},
    {8, 0, 1, false},  {9, 0, 1, false},  {12, 0, 1, true},  {14, 0, 2, false}, {15, 2, 1, true},  {17, 0, 2, false},
    {18, 2, 1, false}, {21, 2, 1, false}, {26, 2, 2, false}, {33, 6, 1, false}, {36, 2, 1, false}, {39, 0, 1, false}};

const DataShape* shape_of(uint16_t type) {
  auto it = std::ranges::find(kShapes, type, &DataShape::type);
  return it == std::end(kShapes) ? nullptr : it;
}

uint16_t u16_at(std::string_view b, size_t i) { return static_cast<uint16_t>(uint8_t(b[i]) << 8 | uint8_t(b[i + 1])); }
uint32_t u32_at(std::string_view b, size_t i) { return uint32_t{u16_at(b, i)} << 16 | u16_at(b, i + 2); }

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool failed() const { return failed_; }
  bool at_end() const { return at_ == bytes_.size(); }
  size_t at() const { return at_; }

  uint16_t u16() { return has(2) ? u16_at(bytes_, (at_ += 2) - 2) : 0; }
  uint32_t u32() { return has(4) ? u32_at(bytes_, (at_ += 4) - 4) : 0; }
  std::string take(size_t n) {
    if (!has(n)) return {};
    at_ += n;
    return std::string(bytes_.substr(at_ - n, n));
  }

  // Pointers must lead strictly backwards, so every name ends.
  std::string name() {
    std::string out;
    size_t at = at_, floor = at_;
    bool jumped = false;
    while (true) {
      if (at >= bytes_.size()) return bad();
      auto length = static_cast<uint8_t>(bytes_[at]);
      if ((length & 0xc0) == 0xc0) {
        if (at + 2 > bytes_.size()) return bad();
        size_t target = u16_at(bytes_, at) & kMaxPointer;
        if (target >= floor) return bad();
        if (!jumped) at_ = at + 2;
        jumped = true;
        at = floor = target;
        continue;
      }
      if (length > kMaxLabel || at + 1 + length > bytes_.size() || out.size() + 1 + length > kMaxName) return bad();
      out.append(bytes_.substr(at, 1u + length));
      at += 1u + length;
      if (length == 0) break;
    }
    if (!jumped) at_ = at;
    return out;
  }

  std::string data(uint16_t type, size_t size) {
    if (!has(size)) return {};
    size_t end = at_ + size;
    const DataShape* shape = shape_of(type);
    if (shape == nullptr) return take(size);
    std::string out = take(std::min<size_t>(shape->before, size));
    for (int i = 0; i < shape->names && !failed_ && at_ < end; ++i) out += name();
    if (failed_ || at_ > end) return bad();
    return out + take(end - at_);
  }

 private:
  bool has(size_t n) {
    if (bytes_.size() - at_ < n) failed_ = true;
    return !failed_;
  }
  std::string bad() {
    failed_ = true;
    return {};
  }
  std::string_view bytes_;
  size_t at_ = 0;
  bool failed_ = false;
};

class Writer {
 public:
  explicit Writer(size_t limit) : limit_(limit) { out_.reserve(512); }
  void u16(uint16_t v) { out_ += u16_bytes(v); }
  void u32(uint32_t v) { out_ += u32_bytes(v); }
  void raw(std::string_view b) { out_ += b; }
  size_t size() const { return out_.size(); }
  bool fits() const { return out_.size() <= limit_; }
  // Forgets what was written after `size`; later names may not point there either.
  void cut(size_t size) {
    out_.resize(size);
    std::erase_if(known_, [&](const auto& entry) { return entry.second >= size; });
  }
  void set_u16(size_t at, uint16_t v) {
    out_[at] = static_cast<char>(v >> 8);
    out_[at + 1] = static_cast<char>(v);
  }

  void name(std::string_view name, bool compress = true) {
    while (name.size() > 1) {
      std::string key = lower(name);
      auto it = known_.find(key);
      if (compress && it != known_.end()) return u16(static_cast<uint16_t>(kPointer | it->second));
      if (it == known_.end() && out_.size() <= kMaxPointer) known_.emplace(std::move(key), out_.size());
      raw(name.substr(0, 1u + static_cast<uint8_t>(name[0])));
      name = parent_of(name);
    }
    out_ += '\0';
  }

  void record(const Record& r, uint32_t ttl) {
    name(r.name);
    u16(r.type);
    u16(r.klass);
    u32(ttl);
    size_t length_at = size();
    u16(0);
    data(r);
    set_u16(length_at, static_cast<uint16_t>(size() - length_at - 2));
  }
  std::string take() { return std::move(out_); }

 private:
  void data(const Record& r) {
    const DataShape* shape = shape_of(r.type);
    if (shape == nullptr || !shape->compress || r.data.size() < shape->before) return raw(r.data);
    std::string_view rest = r.data;
    raw(rest.substr(0, shape->before));
    rest.remove_prefix(shape->before);
    for (int i = 0; i < shape->names; ++i) {
      size_t end = 0;
      while (end < rest.size() && rest[end] != '\0') end += 1u + static_cast<uint8_t>(rest[end]);
      if (end >= rest.size()) break;
      name(rest.substr(0, end + 1));
      rest.remove_prefix(end + 1);
    }
    raw(rest);
  }
  std::string out_;
  size_t limit_;
  std::unordered_map<std::string, size_t> known_;
};

uint16_t flags_of(const Message& m) {
  return static_cast<uint16_t>(m.response << 15 | (m.opcode & 15) << 11 | m.authoritative << 10 | m.truncated << 9 |
                               m.recursion_desired << 8 | m.recursion_available << 7 | m.authentic << 5 |
                               m.checking_disabled << 4 | (m.code & 15));
}

void read_flags(Message& m, uint16_t f) {
  m.response = f >> 15 & 1;
  m.opcode = f >> 11 & 15;
  m.authoritative = f >> 10 & 1;
  m.truncated = f >> 9 & 1;
  m.recursion_desired = f >> 8 & 1;
  m.recursion_available = f >> 7 & 1;
  m.authentic = f >> 5 & 1;
  m.checking_disabled = f >> 4 & 1;
  m.code = f & 15;
}

bool read_record(Reader& reader, Message& m, std::vector<Record>& to) {
  Record r;
  r.name = reader.name();
  r.type = reader.u16();
  r.klass = reader.u16();
  r.ttl = reader.u32();
  r.data = reader.data(r.type, reader.u16());
  if (reader.failed()) return false;
  if (r.type != type::kOpt) {
    if (r.ttl > 0x7fffffff) r.ttl = 0;  // RFC 2181 section 8
    to.push_back(std::move(r));
    return true;
  }
  if (m.edns || r.name.size() != 1) return false;  // RFC 6891 section 6.1.1: one, at the root
  m.edns = Edns{r.klass, static_cast<uint8_t>(r.ttl >> 16), (r.ttl & 0x8000) != 0};
  m.code = static_cast<uint16_t>(m.code | (r.ttl >> 24) << 4);
  return true;
}

}  // namespace

Result<Message> parse(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes) return fail(Status::bad_request("shorter than a DNS header"));
  Reader reader(bytes);
  Message m;
  m.id = reader.u16();
  read_flags(m, reader.u16());
  uint16_t counts[4];
  for (uint16_t& c : counts) c = reader.u16();
  for (int i = 0; i < counts[0]; ++i) {
    Question q;
    q.name = reader.name();
    q.type = reader.u16();
    q.klass = reader.u16();
    if (reader.failed()) return fail(Status::bad_request("malformed question"));
    m.questions.push_back(std::move(q));
  }
  std::vector<Record>* sections[] = {&m.answers, &m.authorities, &m.additionals};
  for (int s = 0; s < 3; ++s)
    for (int i = 0; i < counts[s + 1]; ++i)
      if (!read_record(reader, m, *sections[s])) return fail(Status::bad_request("malformed record"));
  return m;
}

std::string encode(const Message& m, size_t limit) {
  Writer w(limit);
  uint16_t flags = flags_of(m);
  w.u16(m.id);
  w.u16(flags);
  for (int i = 0; i < 4; ++i) w.u16(0);
  for (const Question& q : m.questions) {
    w.name(q.name);
    w.u16(q.type);
    w.u16(q.klass);
  }
  w.set_u16(4, static_cast<uint16_t>(m.questions.size()));
  constexpr size_t kOptBytes = 11;
  size_t reserve = m.edns ? kOptBytes : 0;
  bool whole = true;
  size_t count_at = 6;
  for (const std::vector<Record>* section : {&m.answers, &m.authorities, &m.additionals}) {
    uint16_t count = 0;
    for (const Record& r : *section) {
      if (!whole) break;
      size_t before = w.size();
      w.record(r, r.ttl);
      if (w.size() + reserve > limit) {
        w.cut(before);
        whole = false;
        // Additional records are a courtesy; without them the answer is still whole.
        if (section != &m.additionals) w.set_u16(2, static_cast<uint16_t>(flags | 1 << 9));
        break;
      }
      ++count;
    }
    w.set_u16(count_at, count);
    if (section == &m.additionals && m.edns) {
      w.raw(std::string_view("\0", 1));
      w.u16(type::kOpt);
      w.u16(m.edns->udp_size);
      w.u32(static_cast<uint32_t>(m.code >> 4) << 24 | uint32_t{m.edns->version} << 16 |
            (m.edns->dnssec_ok ? 0x8000 : 0));
      w.u16(0);
      w.set_u16(count_at, static_cast<uint16_t>(count + 1));
    }
    count_at += 2;
  }
  return w.take();
}

}  // namespace kcube::dns
