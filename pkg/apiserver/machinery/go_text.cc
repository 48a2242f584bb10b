#include "pkg/apiserver/machinery/go_text.h"

#include <map>

namespace kcube::machinery {

std::string go_text(const json::value& v) {
  if (v.is_null()) return "<nil>";
  if (v.is_string()) return std::string(json::view(v.get_string()));
  if (v.is_array()) {
    std::string out;
    for (const json::value& item : v.get_array()) out += (out.empty() ? "" : " ") + go_text(item);
    return "[" + out + "]";
  }
  if (!v.is_object()) return json::serialize(v);
  std::map<std::string, const json::value*> sorted;
  for (const auto& m : v.get_object()) sorted.emplace(m.key(), &m.value());
  std::string out;
  for (const auto& [key, value] : sorted) out += (out.empty() ? "" : " ") + key + ":" + go_text(*value);
  return "map[" + out + "]";
}

}  // namespace kcube::machinery
