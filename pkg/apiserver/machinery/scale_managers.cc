#include "pkg/apiserver/machinery/scale_managers.h"

#include <algorithm>

#include "pkg/apiserver/machinery/field_set.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

constexpr std::string_view kInScale = "spec.replicas";

FieldSet set_of(std::string_view path) {
  FieldSet set;
  FieldSet* at = &set;
  for (std::string_view name : split(path, '.')) at = &at->children["f:" + std::string(name)];
  at->member = true;
  return set;
}

FieldSet fields_of(const json::value& entry) { return FieldSet::from_json(json::find(&entry, "fieldsV1")); }

const json::array& entries_of(const json::value& object) { return json::get_array(json::at(&object, {"metadata", "managedFields"})); }

json::value with_fields(const json::value& entry, const FieldSet& fields) {
  json::value made = entry;
  made.get_object()["fieldsV1"] = fields.to_json();
  return made;
}

// The same applier; who updates is never taken for the same, since the versions differ.
bool same_applier(const json::value& a, const json::value& b) {
  auto equal = [&](std::string_view name) { return json::get_string(json::find(&a, name)) == json::get_string(json::find(&b, name)); };
  return json::get_string(a, {"operation"}) == "Apply" && equal("operation") && equal("manager") && equal("subresource");
}

}  // namespace

json::array managers_of_scale(const json::value& object, std::string_view path) {
  json::array out;
  if (path.empty()) return out;
  const FieldSet replicas = set_of(path);
  for (const json::value& entry : entries_of(object)) {
    if (!entry.is_object() || fields_of(entry).intersection(replicas).empty()) continue;
    json::value made = with_fields(entry, set_of(kInScale));
    made.get_object()["apiVersion"] = "autoscaling/v1";
    out.push_back(std::move(made));
  }
  return out;
}

json::array managers_of_scaled(const json::value& object, const json::value& scale, std::string_view path, std::string_view api_version) {
  const FieldSet replicas = set_of(path), in_scale = set_of(kInScale);
  json::array rest, out;
  for (const json::value& entry : entries_of(scale))
    if (entry.is_object() && !fields_of(entry).intersection(in_scale).empty()) rest.push_back(entry);
  for (const json::value& entry : entries_of(object)) {
    FieldSet fields = fields_of(entry);
    if (fields.intersection(replicas).empty()) {
      out.push_back(entry);
      continue;
    }
    auto kept = std::ranges::find_if(rest, [&](const json::value& one) { return same_applier(one, entry); });
    if (kept != rest.end()) {
      out.push_back(entry);
      rest.erase(kept);
      continue;
    }
    fields.subtract(replicas);
    if (!fields.empty()) out.push_back(with_fields(entry, fields));
  }
  for (json::value& entry : rest) {
    json::value made = with_fields(entry, replicas);
    made.get_object()["apiVersion"] = json::key(api_version);
    made.get_object().erase("time");   // the time is looked up under a name that the object does not know
    out.push_back(std::move(made));
  }
  return out;
}

}  // namespace kcube::machinery
