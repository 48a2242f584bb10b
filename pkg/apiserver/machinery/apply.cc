#include "pkg/apiserver/machinery/apply.h"

#include <algorithm>
#include <map>
#include <set>

#include "pkg/apiserver/machinery/structure.h"

namespace kcube::machinery {
namespace {

constexpr size_t kMaxUpdateManagers = 10;
constexpr const char* kAncient = "ancient-changes";

struct Manager {
  std::string name, operation, api_version, subresource, time;
  FieldSet fields;
  bool same(const Manager& other) const {
    // An applier is itself whatever version it applies.
    bool version = operation == "Apply" || api_version == other.api_version;
    return name == other.name && operation == other.operation && subresource == other.subresource && version;
  }
};
using Managers = std::vector<Manager>;

// What nobody owns: identity and what the server fills in.
const FieldSet& unowned() {
  static const FieldSet set = [] {
    FieldSet s;
    auto own = [](FieldSet& parent, const char* name) { parent.children[name].member = true; };
    own(s, "f:apiVersion");
    own(s, "f:kind");
    FieldSet& metadata = s.children["f:metadata"];
    metadata.member = true;
    for (const char* name : {"f:name", "f:namespace", "f:creationTimestamp", "f:selfLink", "f:uid", "f:generation", "f:managedFields", "f:resourceVersion", "f:deletionTimestamp", "f:deletionGracePeriodSeconds"})
      own(metadata, name);
    return s;
  }();
  return set;
}

// Removes what is not tracked: identity, and the half of the object that this request cannot write.
void strip(FieldSet& set, const ApplyOptions& options) {
  set.subtract(unowned());
  const bool status = options.subresource == "status" || options.subresource == "approval";
  if (status || !options.tracks_spec) set.children.erase("f:spec");
  if (!status && options.status_apart) set.children.erase("f:status");
  // An approver has no say in the certificate.
  if (auto of_status = set.children.find("f:status"); options.subresource == "approval" && of_status != set.children.end()) {
    of_status->second.children.erase("f:certificate");
    if (of_status->second.empty()) set.children.erase(of_status);
  }
  auto metadata = set.children.find("f:metadata");
  if (metadata != set.children.end() && metadata->second.empty()) set.children.erase(metadata);
}

Managers read_managers(const json::value* object) {
  Managers out;
  for (const json::value& entry : json::get_array(json::at(object, {"metadata", "managedFields"}))) {
    auto text = [&](std::string_view name) { return std::string(json::get_string(json::find(&entry, name))); };
    Manager m{text("manager"), text("operation"), text("apiVersion"), text("subresource"), text("time"), FieldSet::from_json(json::find(&entry, "fieldsV1"))};
    if (m.operation.empty() && m.fields.empty()) continue;
    out.push_back(std::move(m));
  }
  return out;
}

// Many small updaters would make an object grow without end: the oldest become one.
void cap(Managers& managers) {
  auto is_update = [](const Manager& m) { return m.operation == "Update" && m.subresource.empty(); };
  while (std::ranges::count_if(managers, is_update) > static_cast<ptrdiff_t>(kMaxUpdateManagers)) {
    Manager* oldest = nullptr;
    Manager* bucket = nullptr;
    for (Manager& m : managers) {
      if (!is_update(m)) continue;
      if (m.name == kAncient) bucket = &m;
      else if (oldest == nullptr || m.time < oldest->time) oldest = &m;
    }
    if (bucket == nullptr) {
      oldest->name = kAncient;
      continue;
    }
    bucket->fields.unite(oldest->fields);
    bucket->time = std::max(bucket->time, oldest->time);
    managers.erase(managers.begin() + (oldest - managers.data()));
  }
}

void write_managers(json::value& object, Managers managers) {
  std::erase_if(managers, [](const Manager& m) { return m.fields.empty(); });
  cap(managers);
  std::ranges::sort(managers, [](const Manager& a, const Manager& b) {
    return std::tie(a.operation, a.time, a.name, a.api_version, a.subresource) < std::tie(b.operation, b.time, b.name, b.api_version, b.subresource);
  });
  json::object& metadata = json::ensure_path(object, {"metadata"});
  metadata.erase("managedFields");
  if (managers.empty()) return;
  json::array list;
  for (const Manager& m : managers) {
    json::object entry{{"manager", m.name}, {"operation", m.operation}, {"apiVersion", m.api_version}};
    if (!m.time.empty()) entry["time"] = m.time;
    entry["fieldsType"] = "FieldsV1";
    entry["fieldsV1"] = m.fields.to_json();
    if (!m.subresource.empty()) entry["subresource"] = m.subresource;
    list.push_back(std::move(entry));
  }
  metadata["managedFields"] = std::move(list);
}

Manager& find_or_add(Managers& managers, const ApplyOptions& options, const char* operation) {
  Manager wanted{options.manager, operation, options.api_version, options.subresource, "", {}};
  for (Manager& m : managers)
    if (wanted.same(m)) return m;
  managers.push_back(std::move(wanted));
  return managers.back();
}

std::string manager_text(const Manager& m) {
  std::string text = "\"" + m.name + "\"";
  if (!m.subresource.empty()) text += " with subresource \"" + m.subresource + "\"";
  if (m.operation != "Apply") text += " using " + m.api_version;
  return text;
}

Status conflict_status(const std::vector<std::pair<const Manager*, std::string>>& conflicts) {
  size_t n = conflicts.size();
  std::string message = "Apply failed with " + std::to_string(n) + " conflict" + (n == 1 ? "" : "s") + ": ";
  Status status(409, "Conflict", "");
  StatusDetails details;
  std::string last;
  for (const auto& [manager, path] : conflicts) {
    std::string who = manager_text(*manager);
    details.causes.push_back({"FieldManagerConflict", "conflict with " + who, path});
    if (n == 1) {
      message += "conflict with " + who + ": " + path;
      continue;
    }
    if (who != last) message += (last.empty() ? "" : "\n") + std::string("conflicts with ") + who + ":";
    last = who;
    message += "\n- " + path;
  }
  status = Status(409, "Conflict", message);
  status.details() = std::move(details);
  return status;
}

bool clears(const json::value& object) {
  const json::value* list = json::at(&object, {"metadata", "managedFields"});
  if (list == nullptr || !list->is_array()) return false;
  return std::ranges::all_of(list->get_array(), [](const json::value& e) { return e.is_object() && e.get_object().empty(); });
}

// Members in the order of their names, as Go writes maps.
json::value sorted(const json::value& value) {
  if (value.is_array()) {
    json::array out;
    for (const json::value& item : value.get_array()) out.push_back(sorted(item));
    return out;
  }
  if (!value.is_object()) return value;
  std::map<std::string_view, const json::value*> members;
  for (const auto& m : value.get_object()) members.emplace(json::view(m.key()), &m.value());
  json::object out;
  for (const auto& [name, v] : members) out[json::key(name)] = sorted(*v);
  return out;
}

json::value without_managed_fields(const json::value& object) {
  json::value copy = object;
  if (json::value* metadata = json::find(&copy, "metadata"); metadata != nullptr && metadata->is_object()) metadata->get_object().erase("managedFields");
  return copy;
}

constexpr std::string_view kKubectl = "kubectl";
constexpr const char* kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";

// kubectl takes over what it has applied itself before the server could.
void drop_own_conflicts(std::vector<std::pair<const Manager*, std::string>>& conflicts, const json::value* live, const Place& place) {
  auto last = json::parse(json::get_string(json::at(live, {"metadata", "annotations", kLastApplied})));
  if (!last || !last->is_object()) return;
  FieldSet applied = fields_of(place, *last);
  const json::value base = without_managed_fields(*live);
  Difference d = compare(place, &*last, &base);
  std::set<std::string> own;
  for (std::string& path : applied.paths()) own.insert(std::move(path));
  for (const std::string& path : d.modified.paths()) own.erase(path);
  for (const auto& [manager, path] : conflicts)
    if (!own.contains(path)) return;
  conflicts.clear();
}

// And keeps the annotation true for a kubectl that applies by itself.
void write_last_applied(json::value& merged, const json::value& config) {
  json::value* annotations = json::find(json::find(&merged, "metadata"), "annotations");
  if (annotations == nullptr || !annotations->is_object() || !annotations->get_object().contains(kLastApplied)) return;
  json::value shown = without_managed_fields(config);
  if (json::value* own = json::find(json::find(&shown, "metadata"), "annotations"); own != nullptr && own->is_object()) own->get_object().erase(kLastApplied);
  annotations->get_object()[kLastApplied] = json::serialize(sorted(shown)) + "\n";
}

}  // namespace

void update_managed_fields(const json::value* live, json::value& updated, const api::Type& type, const ApplyOptions& options) {
  if (clears(updated)) {
    json::ensure_path(updated, {"metadata"}).erase("managedFields");
    return;
  }
  Managers managers = read_managers(&updated);
  if (managers.empty() && live != nullptr) managers = read_managers(live);
  // An object that nobody is known to have written goes on like that, until somebody applies it.
  if (managers.empty() && live != nullptr) return;
  Difference d = compare(Place::of(type), live, &updated);
  FieldSet taken = d.added;
  taken.unite(d.modified);
  strip(taken, options);
  FieldSet lost = taken;
  lost.unite(d.removed);
  for (Manager& m : managers) m.fields.subtract(lost);
  if (!taken.empty()) {
    Manager& self = find_or_add(managers, options, "Update");
    self.fields.unite(taken);
    self.time = format_time(options.now);
  }
  write_managers(updated, std::move(managers));
}

Result<json::value> apply(const json::value* live, const json::value& config, const api::Type& type, const ApplyOptions& options) {
  if (!json::get_array(json::at(&config, {"metadata", "managedFields"})).empty())
    return fail(Status::bad_request("metadata.managedFields must be nil"));
  Place place = Place::of(type);
  FieldSet wanted = fields_of(place, config);
  wanted.member = false;
  strip(wanted, options);
  Managers managers = read_managers(live);
  if (live != nullptr && managers.empty()) {
    // What was there before anybody applied.
    Manager first{"before-first-apply", "Update", options.api_version, "", format_time(options.now), fields_of(place, *live)};
    first.fields.member = false;
    strip(first.fields, {.manager = {}, .force = false, .subresource = {}, .api_version = options.api_version, .now = options.now, .status_apart = false});
    managers.push_back(std::move(first));
  }
  Manager& self = find_or_add(managers, options, "Apply");
  FieldSet before = self.fields;

  json::value base = live == nullptr ? json::value(json::object()) : without_managed_fields(*live);
  json::value merged = live == nullptr ? config : merge(place, base, config);
  // What this applier stated before and no longer does goes, unless someone else holds it.
  FieldSet kept = wanted;
  for (const Manager& m : managers)
    if (&m != &self) kept.unite(m.fields);
  remove_fields(place, merged, before, kept);

  Difference d = compare(place, live == nullptr ? nullptr : &base, &merged);
  FieldSet changed = d.added;
  changed.unite(d.modified);
  strip(changed, options);
  std::vector<std::pair<const Manager*, std::string>> conflicts;
  for (const Manager& m : managers) {
    if (&m == &self) continue;
    for (std::string& path : m.fields.intersection(changed).intersection(wanted).paths()) conflicts.emplace_back(&m, std::move(path));
  }
  std::ranges::stable_sort(conflicts, {}, [](const auto& c) { return manager_text(*c.first); });
  if (options.manager == kKubectl) drop_own_conflicts(conflicts, live, place);
  if (!conflicts.empty() && !options.force) return fail(conflict_status(conflicts));
  for (Manager& m : managers) {
    if (&m == &self) continue;
    m.fields.subtract(changed);
    m.fields.subtract(d.removed);
  }
  self.fields = std::move(wanted);
  self.api_version = options.api_version;
  // Who only takes part in what is there already has no time.
  if (!d.none()) self.time = format_time(options.now);
  if (options.manager == kKubectl) write_last_applied(merged, config);
  write_managers(merged, std::move(managers));
  return merged;
}

}  // namespace kcube::machinery
