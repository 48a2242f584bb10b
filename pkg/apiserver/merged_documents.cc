#include "pkg/apiserver/merged_documents.h"

#include <algorithm>

#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

json::value text(std::string_view s) { return json::value(json::key(s)); }

json::value parse(std::string_view own) {
  auto value = json::parse(own);
  return value && value->is_object() ? std::move(*value) : json::value(json::object());
}

json::object version_entry(const Extension& e) { return {{"groupVersion", e.group + "/" + e.version}, {"version", e.version}}; }

// The entry of `array` whose name (at `path`) is `group`; made by `make` when there is none.
template <typename Make>
json::object& entry(json::array& array, std::initializer_list<std::string_view> path, std::string_view group, const Make& make) {
  for (json::value& one : array)
    if (json::get_string(one, path) == group) return one.as_object();
  array.push_back(make());
  return array.back().as_object();
}

bool add_version(json::object& group, const Extension& e) {
  json::array& versions = json::ensure_array(group, "versions");
  for (const json::value& v : versions)
    if (json::get_string(v, {"version"}) == e.version) return false;
  versions.push_back(version_entry(e));
  if (!group.contains("preferredVersion")) group["preferredVersion"] = version_entry(e);
  return true;
}

// As the aggregated form has it.
json::object kind_of(const json::value& resource, const Extension& e) {
  std::string_view group = json::get_string(resource, {"group"}), version = json::get_string(resource, {"version"});
  return {{"group", text(group.empty() ? std::string_view(e.group) : group)}, {"version", text(version.empty() ? std::string_view(e.version) : version)}, {"kind", text(json::get_string(resource, {"kind"}))}};
}

json::object discovery_version(const Extension& e, const ExtensionDocuments& documents) {
  json::array resources;
  for (const json::value& r : json::get_array(json::find(&documents.resources, "resources"))) {
    std::string_view name = json::get_string(r, {"name"});
    size_t slash = name.find('/');
    json::value verbs = json::array();
    if (const json::value* v = json::find(&r, "verbs")) verbs = *v;
    if (slash != std::string_view::npos) {
      json::object sub{{"subresource", text(name.substr(slash + 1))}, {"responseKind", kind_of(r, e)}, {"verbs", std::move(verbs)}};
      for (json::value& main : resources)
        if (json::get_string(main, {"resource"}) == name.substr(0, slash)) json::ensure_array(main.as_object(), "subresources").push_back(std::move(sub));
      continue;
    }
    json::object one{{"resource", text(name)}, {"responseKind", kind_of(r, e)}, {"scope", json::get_bool(r, {"namespaced"}) ? "Namespaced" : "Cluster"},
                     {"singularResource", text(json::get_string(r, {"singularName"}))}, {"verbs", std::move(verbs)}};
    for (const char* list : {"shortNames", "categories"})
      if (const json::value* v = json::find(&r, list)) one[list] = *v;
    resources.push_back(std::move(one));
  }
  json::object version{{"version", e.version}};
  if (!resources.empty()) version["resources"] = std::move(resources);
  version["freshness"] = e.available ? "Current" : "Stale";
  return version;
}

// Groups of higher priority first, as kube-apiserver lists them; those of one priority by name.
void sort_groups(json::array& groups, std::initializer_list<std::string_view> path, const Aggregator& aggregator) {
  auto priorities = aggregator.group_priorities();
  auto rank = [&](const json::value& g) {
    std::string_view name = json::get_string(g, path);
    // The group by which the others are found comes first.
    if (name == "apiregistration.k8s.io") return std::pair(INT64_MIN, std::string(name));
    auto it = priorities.find(name);
    return std::pair(it == priorities.end() ? int64_t{0} : -it->second, std::string(name));
  };
  std::vector<std::pair<std::pair<int64_t, std::string>, json::value>> sorted;
  for (json::value& g : groups) {
    auto key = rank(g);
    sorted.emplace_back(std::move(key), std::move(g));
  }
  std::ranges::stable_sort(sorted, {}, [](const auto& one) -> const auto& { return one.first; });
  groups.clear();
  for (auto& one : sorted) groups.push_back(std::move(one.second));
}

}  // namespace

template <typename Make>
std::string MergedDocuments::kept(const std::string& key, std::string_view own, const Make& make) const {
  uint64_t generation = aggregator_.generation(), hash = stable_hash(own);
  {
    std::lock_guard lock(mutex_);
    if (generation_ != generation) {
      kept_.clear();
      generation_ = generation;
    }
    auto it = kept_.find(key);
    if (it != kept_.end() && it->second.own == hash) return it->second.text;
  }
  std::string made = make();
  std::lock_guard lock(mutex_);
  if (generation_ == generation) kept_[key] = {hash, made};
  return made;
}

std::string MergedDocuments::groups(std::string_view own) const {
  return kept("groups", own, [&] {
    json::value list = parse(own);
    json::array& groups = json::ensure_array(list.as_object(), "groups");
    for (const ExtensionPtr& e : aggregator_.extensions())
      add_version(entry(groups, {"name"}, e->group, [&] { return json::object{{"name", e->group}, {"versions", json::array()}}; }), *e);
    sort_groups(groups, {"name"}, aggregator_);
    return json::serialize(list);
  });
}

std::string MergedDocuments::group(std::string_view name, std::string_view own) const {
  return kept("group/" + std::string(name), own, [&]() -> std::string {
    json::value group = own.empty() ? json::value(json::object{{"kind", "APIGroup"}, {"apiVersion", "v1"}, {"name", text(name)}}) : parse(own);
    bool found = !own.empty();
    for (const ExtensionPtr& e : aggregator_.extensions()) {
      if (e->group != name) continue;
      add_version(group.as_object(), *e);
      found = true;
    }
    return found ? json::serialize(group) : "";
  });
}

std::string MergedDocuments::aggregated(std::string_view own) const {
  return kept("aggregated", own, [&] {
    json::value list = parse(own);
    json::array& items = json::ensure_array(list.as_object(), "items");
    for (const ExtensionPtr& e : aggregator_.extensions()) {
      json::object& item = entry(items, {"metadata", "name"}, e->group, [&] { return json::object{{"metadata", json::object{{"name", e->group}}}, {"versions", json::array()}}; });
      json::array& versions = json::ensure_array(item, "versions");
      if (std::ranges::none_of(versions, [&](const json::value& v) { return json::get_string(v, {"version"}) == e->version; }))
        versions.push_back(discovery_version(*e, *aggregator_.documents(e->name)));
    }
    sort_groups(items, {"metadata", "name"}, aggregator_);
    return json::serialize(list);
  });
}

std::string MergedDocuments::openapi_v3_index(std::string_view own) const {
  return kept("openapi/v3", own, [&] {
    json::value index = parse(own);
    json::object& paths = json::ensure_object(index.as_object(), "paths");
    for (const ExtensionPtr& e : aggregator_.extensions())
      for (const auto& [path, url] : aggregator_.documents(e->name)->openapi_v3)
        if (!paths.contains(path)) paths[path] = json::object{{"serverRelativeURL", url}};
    return json::serialize(index);
  });
}

std::string MergedDocuments::openapi_v2(std::string_view own) const {
  return kept("openapi/v2", own, [&] {
    json::value document = parse(own);
    json::object& paths = json::ensure_object(document.as_object(), "paths");
    json::object& definitions = json::ensure_object(document.as_object(), "definitions");
    for (const ExtensionPtr& e : aggregator_.extensions()) {
      auto documents = aggregator_.documents(e->name);
      std::string prefix = "/apis/" + e->group + "/";
      for (const auto& m : json::get_object(json::find(&documents->openapi_v2, "paths")))
        if (json::view(m.key()).starts_with(prefix) && !paths.contains(m.key())) paths[m.key()] = m.value();
      for (const auto& m : json::get_object(json::find(&documents->openapi_v2, "definitions")))
        if (!definitions.contains(m.key())) definitions[m.key()] = m.value();
    }
    return json::serialize(document);
  });
}

}  // namespace kcube::apiserver
