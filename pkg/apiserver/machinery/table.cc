#include "pkg/apiserver/machinery/table.h"

#include <map>
#include <mutex>

#include "pkg/apiserver/machinery/table_cells.h"

namespace kcube::machinery {
namespace {

using api::Column;
using api::ResourceInfo;

// Resources without columns of their own: their name and when they were made.
const std::vector<Column>& fallback_columns() {
  static const std::vector<Column> columns = {{"Name", "string", "name", 0}, {"Created At", "date", "", 0}};
  return columns;
}

json::value name_cell(const json::value& object, SystemTime) { return text_cell(json::get_string(object, {"metadata", "name"})); }
json::value age_cell(const json::value& object, SystemTime now) { return age_of(json::get_string(object, {"metadata", "creationTimestamp"}), now); }
json::value created_cell(const json::value& object, SystemTime) { return text_cell(json::get_string(object, {"metadata", "creationTimestamp"})); }
json::value empty_cell(const json::value&, SystemTime) { return ""; }

Cell cell_of(const ResourceInfo& resource, const Column& column) {
  if (Cell cell = find_cell(resource.group, resource.resource, column.name)) return cell;
  if (column.name == "Name") return name_cell;
  if (column.name == "Age") return age_cell;
  if (column.name == "Created At") return created_cell;
  return empty_cell;
}

struct Layout {
  std::string definitions;   // JSON of columnDefinitions
  std::vector<Cell> cells;
};

const Layout& layout_of(const ResourceInfo& resource) {
  static std::mutex mutex;
  static auto* layouts = new std::map<const ResourceInfo*, Layout>();
  std::lock_guard lock(mutex);
  auto [it, added] = layouts->try_emplace(&resource);
  if (!added) return it->second;
  const auto& columns = resource.columns.empty() ? fallback_columns() : resource.columns;
  json::array definitions;
  for (const Column& column : columns) {
    definitions.push_back(json::object{{"name", json::key(column.name)}, {"type", json::key(column.type)}, {"format", json::key(column.format)},
                                       {"description", json::key(column.name)}, {"priority", column.priority}});
    it->second.cells.push_back(cell_of(resource, column));
  }
  it->second.definitions = json::serialize(definitions);
  return it->second;
}

void append_metadata_object(std::string& out, const json::value& object) {
  out += R"({"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":)";
  const json::value* metadata = json::find(&object, "metadata");
  // How often a DaemonSet's template has changed is an annotation of its versions, not of the object.
  constexpr const char* kTemplateGeneration = "deprecated.daemonset.template.generation";
  const json::value* annotations = json::find(metadata, "annotations");
  if (annotations != nullptr && json::get_string(object, {"kind"}) == "DaemonSet" && json::find(annotations, kTemplateGeneration) != nullptr) {
    json::value shown = *metadata;
    json::object& left = shown.get_object()["annotations"].get_object();
    left.erase(kTemplateGeneration);
    if (left.empty()) shown.get_object().erase("annotations");
    json::append(out, shown);
    out += '}';
    return;
  }
  if (metadata == nullptr) out += "{}";
  else json::append(out, *metadata);
  out += '}';
}

}  // namespace

std::string table(const ResourceInfo& resource, const std::vector<api::ObjectPtr>& items, const json::object& list_metadata,
                  IncludeObject include, bool with_columns, SystemTime now) {
  const Layout& layout = layout_of(resource);
  std::string out = R"({"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":)";
  json::append(out, list_metadata);
  out += ",\"columnDefinitions\":";
  out += with_columns ? layout.definitions : "null";
  out += ",\"rows\":[";
  bool first = true;
  for (const api::ObjectPtr& item : items) {
    const json::value& object = item->value();
    if (!first) out += ',';
    first = false;
    out += "{\"cells\":[";
    for (size_t i = 0; i < layout.cells.size(); ++i) {
      if (i > 0) out += ',';
      json::append(out, layout.cells[i](object, now));
    }
    out += ']';
    out += include == IncludeObject::none ? ",\"object\":null" : ",\"object\":";
    if (include == IncludeObject::metadata) append_metadata_object(out, object);
    if (include == IncludeObject::object) out += item->bytes();
    out += '}';
  }
  out += "]}\n";
  return out;
}

std::string human_duration(Duration age) {
  int64_t s = std::chrono::duration_cast<std::chrono::seconds>(age).count();
  if (s < -1) return "<invalid>";
  if (s < 0) return "0s";
  auto two = [](int64_t big, const char* big_unit, int64_t small, const char* small_unit) {
    std::string out = std::to_string(big) + big_unit;
    if (small > 0) out += std::to_string(small) + small_unit;
    return out;
  };
  int64_t m = s / 60, h = s / 3600, d = s / 86400;
  if (s < 120) return std::to_string(s) + "s";
  if (m < 10) return two(m, "m", s % 60, "s");
  if (h < 3) return std::to_string(m) + "m";
  if (h < 8) return two(h, "h", m % 60, "m");
  if (h < 48) return std::to_string(h) + "h";
  if (h < 192) return two(d, "d", h % 24, "h");
  if (d < 365 * 2) return std::to_string(d) + "d";
  if (d < 365 * 8) return two(d / 365, "y", d % 365, "d");
  return std::to_string(d / 365) + "y";
}

std::string partial_object_metadata(const api::Object& object) {
  std::string out;
  append_metadata_object(out, object.value());
  return out;
}

}  // namespace kcube::machinery
