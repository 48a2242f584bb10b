// Small texts that strangers give: quantities, selectors, names.
#include "pkg/api/names.h"
#include "pkg/api/quantity.h"
#include "pkg/api/selector.h"
#include "tests/fuzz/driver/fuzz.h"

using namespace kcube;
using kcube::fuzz::require;

std::vector<std::string> kcube::fuzz::seeds() {
  return {"100m", "1.5Gi", "2e3", "-0.5", "+1E6", "12345678901234567890123456789Ei", ".5", "5.", "1e-9", "9223372036854775807", "a=b,c!=d", "e in (f,g),!h,i>5", "a notin (b),c", "x,y==z,k<-3", "a.b/c-d in (),e",
          "metadata.name=a,spec.nodeName!=b", "a=b\\,c\\=d\\\\", "status.phase==Running", "example.com/name", "-bad-", "UPPER_lower.9"};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  std::string_view input = fuzz::text(bytes, size);
  if (auto q = api::Quantity::parse(input)) {
    std::string canonical = q->to_string();
    auto again = api::Quantity::parse(canonical);
    require(again && *again == *q && again->to_string() == canonical);
    (void)q->value();
    (void)q->milli_value();
    auto sum = *q;
    sum += *q;
    sum -= *q;
  }
  if (auto s = api::LabelSelector::parse(input)) {
    (void)s->matches(api::LabelPairs{{"a", "b"}, {"c", "5"}});
    auto again = api::LabelSelector::parse(s->to_string());
    require(again && again->to_string() == s->to_string());
  }
  if (auto s = api::FieldSelector::parse(input)) {
    (void)s->matches(json::object{{"metadata", json::object{{"name", "a"}}}});
    (void)s->required_value("metadata.name");
  }
  for (auto* check : {api::check_dns1123_label, api::check_dns1123_subdomain, api::check_dns1035_label, api::check_path_segment, api::check_qualified_name, api::check_label_value,
                      api::check_env_var_name, api::check_config_map_key, api::check_port_name})
    (void)check(input);
  return 0;
}
