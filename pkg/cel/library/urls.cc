// url(), isURL() and what URLs consist of.
#include "pkg/cel/functions.h"
#include "pkg/cel/library/url_parser.h"

namespace kcube::cel {

const TypeRef& url_type() {
  static const TypeRef type = Type::opaque("kubernetes.URL");
  return type;
}

namespace {

class UrlValue final : public Opaque {
 public:
  explicit UrlValue(ParsedUrl url) : url(std::move(url)) {}
  const Type& type() const override { return *url_type(); }
  bool equals(const Opaque& other) const override { return url.text == static_cast<const UrlValue&>(other).url.text; }
  const ParsedUrl url;
};

const ParsedUrl& of(Arguments a) { return a[0].opaque_as<UrlValue>()->url; }

Value make(Arguments a, const Node&) {
  auto parsed = parse_url(a[0].as_text());
  if (!parsed) return Value::failure("URL parse error during conversion from string: " + parsed.error().message());
  return Value::opaque(new UrlValue(std::move(*parsed)));
}
Value is_url(Arguments a, const Node&) { return Value::boolean(parse_url(a[0].as_text()).has_value()); }
Value scheme(Arguments a, const Node&) { return Value::string(of(a).scheme); }
Value host(Arguments a, const Node&) { return Value::string(of(a).host); }
Value hostname(Arguments a, const Node&) { return Value::string(of(a).hostname()); }
Value port(Arguments a, const Node&) { return Value::string(of(a).port()); }
Value escaped_path(Arguments a, const Node&) { return Value::string(of(a).escaped_path); }

Value query(Arguments a, const Node&) {
  std::vector<std::pair<Value, Value>> out;
  for (auto& [name, values] : of(a).query()) {
    std::vector<Value> list;
    for (std::string& value : values) list.push_back(Value::string(std::move(value)));
    out.emplace_back(Value::string(name), Value::list(std::move(list)));
  }
  return Value::map(std::move(out));
}

constexpr FunctionRow kRows[]{
    {"url", "(string) url", make, CostRule::url},
    {"isURL", "(string) bool", is_url},
    {"getScheme", ".(url) string", scheme},
    {"getHost", ".(url) string", host},
    {"getHostname", ".(url) string", hostname},
    {"getPort", ".(url) string", port},
    {"getEscapedPath", ".(url) string", escaped_path},
    {"getQuery", ".(url) map(string, list(string))", query},
};

}  // namespace

std::span<const FunctionRow> url_functions() { return kRows; }

}  // namespace kcube::cel
