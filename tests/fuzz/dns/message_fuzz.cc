// What strangers send: no crash, and what was read is the same after writing and reading it again.
#include <algorithm>

#include "pkg/dns/message.h"
#include "pkg/dns/resolv_conf.h"
#include "tests/fuzz/driver/fuzz.h"

using namespace kcube::dns;

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

// Compression may change the letter case of names.
bool same(const std::vector<Record>& a, const std::vector<Record>& b) {
  return std::ranges::equal(a, b, [](const Record& x, const Record& y) {
    return lower(x.name) == lower(y.name) && x.type == y.type && x.klass == y.klass && x.ttl == y.ttl &&
           lower(x.data) == lower(y.data);
  });
}

}  // namespace

std::vector<std::string> kcube::fuzz::seeds() {
  using namespace std::string_literals;
  const std::string head = "\x12\x34\x81\x80\0\x01\0\x01\0\0\0\x01"s, question = "\x07" "example\x03" "com\0\0\x01\0\x01"s;
  return {head + question + "\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01"s + "\0\0\x29\x04\xd0\0\0\0\0\0\0"s,
          head + question + "\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x06\x03www\xc0\x0c"s, head + question + "\xc0\x0c\0\x21\0\x01\0\0\0\x3c\0\x09\0\0\0\0\0\x50\x01" "a\0"s,
          "nameserver 10.0.0.1\nsearch a.b c\noptions ndots:5\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(bytes), size);
  (void)parse_resolv_conf(input, {});
  auto message = parse(input);
  if (!message) return 0;
  for (const Question& q : message->questions) {
    (void)to_text(q.name);
    require(is_within(q.name, q.name));
  }
  if (message->questions.size() > 1) message->questions.resize(1);
  for (size_t limit : {size_t{512}, size_t{1232}}) require(encode(*message, limit).size() <= limit);
  std::string out = encode(*message);
  auto again = parse(out);
  require(again.has_value());
  if (again->truncated != message->truncated || again->additionals.size() != message->additionals.size()) {
    require(out.size() > kMaxMessage / 2);
    return 0;
  }
  require(again->code == message->code && again->edns.has_value() == message->edns.has_value());
  require(same(again->answers, message->answers) && same(again->authorities, message->authorities) &&
          same(again->additionals, message->additionals));
  return 0;
}
