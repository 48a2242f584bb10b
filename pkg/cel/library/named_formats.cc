// format.dns1123Label().validate(s) and the other named formats.
#include <algorithm>

#include "pkg/api/names.h"
#include "pkg/base/strings.h"
#include "pkg/cel/functions.h"
#include "pkg/cel/library/url_parser.h"
#include "pkg/cel/time.h"

namespace kcube::cel {

const TypeRef& named_format_type() {
  static const TypeRef type = Type::opaque("kubernetes.NamedFormat");
  return type;
}

namespace {

struct Format {
  std::string_view name;
  uint64_t pattern_size;                     // what the cost counts as the length of a pattern
  std::string (*check)(std::string_view);    // empty when the text is fine
};

// A prefix may end in a dash, since something follows it.
template <std::string (*check)(std::string_view)>
std::string prefix(std::string_view text) {
  if (text.size() < 2 || !text.ends_with('-')) return check(text);
  return check(std::string(text.substr(0, text.size() - 2)) + 'a');
}

std::string check_uri(std::string_view text) {
  auto url = parse_url(text);
  return url ? "" : url.error().message();
}

std::string check_uuid(std::string_view text) {
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    bool hex = (text[i] >= '0' && text[i] <= '9') || ((text[i] | 32) >= 'a' && (text[i] | 32) <= 'f');
    if (hex) digits += text[i];
    else if (text[i] != '-' || (digits.size() != 8 && digits.size() != 12 && digits.size() != 16 && digits.size() != 20)) return "does not match the UUID format";
  }
  return digits.size() == 32 && text.size() <= 36 ? "" : "does not match the UUID format";
}

std::string check_byte(std::string_view text) { return !text.empty() && base64_decode(text) ? "" : "invalid base64"; }
std::string check_date(std::string_view text) { return parse_date(text) ? "" : "invalid date"; }

std::string check_datetime(std::string_view text) {
  std::string upper(text);
  if (upper.size() > 10 && upper[10] == 't') upper[10] = 'T';
  if (upper.ends_with('z')) upper.back() = 'Z';
  return parse_timestamp(upper) ? "" : "invalid datetime";
}

constexpr Format kFormats[]{
    {"dns1123Label", 30, api::check_dns1123_label},
    {"dns1123Subdomain", 60, api::check_dns1123_subdomain},
    {"dns1035Label", 30, api::check_dns1035_label},
    {"qualifiedName", 60, api::check_qualified_name},
    {"dns1123LabelPrefix", 30, prefix<api::check_dns1123_label>},
    {"dns1123SubdomainPrefix", 60, prefix<api::check_dns1123_subdomain>},
    {"dns1035LabelPrefix", 30, prefix<api::check_dns1035_label>},
    {"labelValue", 40, api::check_label_value},
    {"uri", 1103, check_uri},
    {"uuid", 118, check_uuid},
    {"byte", 84, check_byte},
    {"date", 74, check_date},
    {"datetime", 74, check_datetime},
};

class FormatValue final : public Opaque {
 public:
  explicit FormatValue(const Format& format) : format(format) {}
  const Type& type() const override { return *named_format_type(); }
  bool equals(const Opaque& other) const override { return &format == &static_cast<const FormatValue&>(other).format; }
  uint64_t cost_size() const override { return format.pattern_size; }
  const Format& format;
};

template <size_t index>
Value make(Arguments, const Node&) { return Value::opaque(new FormatValue(kFormats[index])); }

Value named(Arguments a, const Node&) {
  auto found = std::ranges::find(kFormats, a[0].as_text(), &Format::name);
  return found == std::end(kFormats) ? Value::none() : Value::optional(Value::opaque(new FormatValue(*found)));
}

Value validate(Arguments a, const Node&) {
  std::string wrong = a[0].opaque_as<FormatValue>()->format.check(a[1].as_text());
  if (wrong.empty()) return Value::none();
  return Value::optional(Value::list({Value::string(std::move(wrong))}));
}

constexpr std::string_view kMake = "() named_format";
constexpr FunctionRow kRows[]{
    {"format.dns1123Label", kMake, make<0>}, {"format.dns1123Subdomain", kMake, make<1>}, {"format.dns1035Label", kMake, make<2>},
    {"format.qualifiedName", kMake, make<3>}, {"format.dns1123LabelPrefix", kMake, make<4>}, {"format.dns1123SubdomainPrefix", kMake, make<5>},
    {"format.dns1035LabelPrefix", kMake, make<6>}, {"format.labelValue", kMake, make<7>}, {"format.uri", kMake, make<8>},
    {"format.uuid", kMake, make<9>}, {"format.byte", kMake, make<10>}, {"format.date", kMake, make<11>}, {"format.datetime", kMake, make<12>},
    {"format.named", "(string) optional(named_format)", named},
    {"validate", ".(named_format, string) optional(list(string))", validate, CostRule::validate},
};

}  // namespace

std::span<const FunctionRow> named_format_functions() { return kRows; }

}  // namespace kcube::cel
