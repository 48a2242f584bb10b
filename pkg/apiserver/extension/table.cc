#include "pkg/apiserver/extension/table.h"

#include <charconv>

#include "pkg/apiserver/extension/json_path.h"
#include "pkg/apiserver/machinery/table_cells.h"

namespace kcube::apiserver::extension {
namespace {

std::string plain(const json::value& v) {
  if (v.is_string()) return std::string(json::view(v.get_string()));
  if (!v.is_double()) return json::serialize(v);
  // Boost's own form of 1.5 is 1.5E0.
  char buffer[64];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, v.get_double()).ptr};
}

// What a column shows of what its path found. Values of another type than the column's are not shown.
json::value cell(const PrinterColumn& column, const std::vector<const json::value*>& found, SystemTime now) {
  if (found.empty() || found.front()->is_null()) return nullptr;
  const json::value& v = *found.front();
  if (column.type == "integer") return v.is_number() ? json::value(json::get_int(&v)) : json::value();
  if (column.type == "number") return v.is_number() ? json::value(json::get_double(&v)) : json::value();
  if (column.type == "boolean") return v.is_bool() ? v : json::value();
  if (column.type == "date") {
    CalendarTime t;
    if (!v.is_string()) return nullptr;
    if (!parse_calendar_time(json::view(v.get_string()), t)) return "<unknown>";
    return machinery::age_of(json::view(v.get_string()), now);
  }
  return json::value(plain(v));
}

json::array definitions(const std::vector<PrinterColumn>& columns) {
  json::array out{json::object{{"name", "Name"}, {"type", "string"}, {"format", "name"}, {"description", "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"}, {"priority", 0}}};
  for (const PrinterColumn& c : columns) {
    std::string description = c.description.empty() ? "Custom resource definition column (in JSONPath format): " + c.path : c.description;
    out.push_back(json::object{{"name", c.name}, {"type", c.type}, {"format", c.format}, {"description", description}, {"priority", c.priority}});
  }
  return out;
}

}  // namespace

std::string table(const CustomVersion& version, const std::vector<ObjectPtr>& items, const json::object& list_metadata,
                  machinery::IncludeObject include, bool with_columns, SystemTime now) {
  static const std::vector<PrinterColumn> kAge{{"Age", "date", "", "", ".metadata.creationTimestamp", 0}};
  const std::vector<PrinterColumn>& columns = version.columns.empty() ? kAge : version.columns;
  std::vector<JsonPath> paths;
  for (const PrinterColumn& c : columns) {
    auto path = JsonPath::parse(c.path);
    paths.push_back(path ? std::move(*path) : JsonPath());
  }
  std::string out = R"({"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":)";
  json::append(out, list_metadata);
  out += ",\"columnDefinitions\":";
  if (with_columns) json::append(out, definitions(columns));
  else out += "null";
  out += ",\"rows\":[";
  bool first = true;
  for (const ObjectPtr& item : items) {
    const json::value& object = item->value();
    json::array cells{json::value(json::key(item->name()))};
    for (size_t i = 0; i < columns.size(); ++i) cells.push_back(cell(columns[i], paths[i].find(object), now));
    if (!first) out += ',';
    first = false;
    out += "{\"cells\":";
    json::append(out, cells);
    if (include == machinery::IncludeObject::metadata) out += ",\"object\":" + machinery::partial_object_metadata(*item);
    if (include == machinery::IncludeObject::object) out += ",\"object\":" + item->bytes();
    out += '}';
  }
  return out + "]}\n";
}

}  // namespace kcube::apiserver::extension
