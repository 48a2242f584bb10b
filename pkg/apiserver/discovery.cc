#include "pkg/apiserver/discovery.h"

#include <algorithm>
#include <tuple>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/apiserver/conversion.h"
#include "pkg/auth/auth.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

using api::ResourceInfo;

struct Version {
  std::string_view name;
  std::vector<const ResourceInfo*> resources;
};
struct Group {
  std::string_view name;
  std::vector<Version> versions;   // the preferred one first
};

json::value text(std::string_view s) { return json::value(json::key(s)); }

json::array texts(const std::vector<std::string_view>& list) {
  json::array out;
  for (std::string_view s : list) out.push_back(text(s));
  return out;
}

// "v1beta2" as (2 for stable, 1 for beta, 0 for alpha, major, minor); other names come last. Source: the Kubernetes docs
// on version priority.
std::tuple<int, int, int> rank(std::string_view version) {
  constexpr std::string_view kDigits = "0123456789";
  std::string_view rest = version.starts_with('v') ? version.substr(1) : std::string_view();
  size_t end = std::min(rest.find_first_not_of(kDigits), rest.size());
  auto major = parse_int<int>(rest.substr(0, end));
  if (!major) return {-1, 0, 0};
  rest.remove_prefix(end);
  if (rest.empty()) return {2, *major, 0};
  bool beta = rest.starts_with("beta");
  if (!beta && !rest.starts_with("alpha")) return {-1, 0, 0};
  auto minor = parse_int<int>(rest.substr(beta ? 4 : 5));
  return minor ? std::tuple{beta ? 1 : 0, *major, *minor} : std::tuple{-1, 0, 0};
}

bool precedes(std::string_view a, std::string_view b) {
  auto x = rank(a), y = rank(b);
  return x != y ? x > y : a < b;
}

std::vector<Group> group(const std::vector<const ResourceInfo*>& resources) {
  std::vector<Group> groups;
  for (const ResourceInfo* one : resources) {
    const ResourceInfo& r = *one;
    auto g = std::ranges::find(groups, r.group, &Group::name);
    if (g == groups.end()) g = groups.insert(groups.end(), Group{r.group, {}});
    auto v = std::ranges::find(g->versions, r.version, &Version::name);
    if (v == g->versions.end()) v = g->versions.insert(g->versions.end(), Version{r.version, {}});
    v->resources.push_back(&r);
  }
  // v2 before v1.
  for (Group& g : groups) std::ranges::sort(g.versions, precedes, &Version::name);
  return groups;
}

std::string full_name(const ResourceInfo& r) {
  std::string name(r.resource);
  return r.subresource.empty() ? name : name + "/" + std::string(r.subresource);
}

bool foreign_kind(const ResourceInfo& r) { return r.kind_group != r.group || r.kind_version != r.version; }

// Tells storage migrators in which version objects are written now. Empty for what is not stored.
std::string storage_version_hash(const ResourceInfo& r) {
  if (!r.subresource.empty() || !r.has_verb("update")) return {};
  std::string text;
  if (r.custom) {
    text = std::string(r.group) + "/" + std::string(r.stored_version) + "/" + std::string(r.kind);
  } else {
    const ResourceInfo& stored = *storage_version(api::Schema::builtin(), r);
    // These two kinds are stored in the version that the release before understands.
    std::string_view version = stored.kind_version;
    if (stored.kind == "CustomResourceDefinition" || stored.kind.starts_with("MutatingAdmissionPolicy")) version = "v1beta1";
    text = std::string(stored.kind_group) + "/" + std::string(version) + "/" + std::string(stored.kind);
  }
  return base64_encode(auth::sha256(text).substr(0, 8));
}

std::string resource_list(const Group& g, const Version& v) {
  json::array resources;
  for (const ResourceInfo* r : v.resources) {
    json::object one{{"name", full_name(*r)}, {"singularName", text(r->singular)}, {"namespaced", r->namespaced}};
    if (foreign_kind(*r)) {
      if (!r->kind_group.empty()) one["group"] = text(r->kind_group);
      one["version"] = text(r->kind_version);
    }
    one["kind"] = text(r->kind);
    one["verbs"] = texts(r->verbs);
    if (!r->short_names.empty()) one["shortNames"] = texts(r->short_names);
    if (!r->categories.empty()) one["categories"] = texts(r->categories);
    if (std::string hash = storage_version_hash(*r); !hash.empty()) one["storageVersionHash"] = hash;
    resources.push_back(std::move(one));
  }
  std::string gv = g.name.empty() ? std::string(v.name) : std::string(g.name) + "/" + std::string(v.name);
  json::object list{{"kind", "APIResourceList"}};
  if (!g.name.empty()) list["apiVersion"] = "v1";   // the oldest group does not say
  list["groupVersion"] = gv;
  list["resources"] = std::move(resources);
  return json::serialize(std::move(list));
}

json::object group_json(const Group& g) {
  json::array versions;
  for (const Version& v : g.versions)
    versions.push_back(json::object{{"groupVersion", std::string(g.name) + "/" + std::string(v.name)}, {"version", text(v.name)}});
  json::value preferred = versions[0];
  return {{"name", text(g.name)}, {"versions", std::move(versions)}, {"preferredVersion", std::move(preferred)}};
}

json::object kind_json(const ResourceInfo& r) {
  return {{"group", text(r.kind_group)}, {"version", text(r.kind_version)}, {"kind", text(r.kind)}};
}

json::object aggregated_version(const Version& v) {
  json::array resources;
  for (const ResourceInfo* r : v.resources) {
    if (!r->subresource.empty()) {
      json::object sub{{"subresource", text(r->subresource)}, {"responseKind", kind_json(*r)}, {"verbs", texts(r->verbs)}};
      if (!resources.empty()) json::ensure_array(resources.back().get_object(), "subresources").push_back(std::move(sub));
      continue;
    }
    json::object one{{"resource", text(r->resource)}, {"responseKind", kind_json(*r)}, {"scope", r->namespaced ? "Namespaced" : "Cluster"}, {"singularResource", text(r->singular)}, {"verbs", texts(r->verbs)}};
    if (!r->short_names.empty()) one["shortNames"] = texts(r->short_names);
    if (!r->categories.empty()) one["categories"] = texts(r->categories);
    resources.push_back(std::move(one));
  }
  return {{"version", text(v.name)}, {"resources", std::move(resources)}, {"freshness", "Current"}};
}

std::string aggregated_list(const std::vector<Group>& groups, bool core) {
  json::array items;
  for (const Group& g : groups) {
    if (g.name.empty() != core) continue;
    json::array versions;
    for (const Version& v : g.versions) versions.push_back(aggregated_version(v));
    json::object metadata{{"creationTimestamp", nullptr}};
    if (!core) metadata["name"] = text(g.name);
    items.push_back(json::object{{"metadata", std::move(metadata)}, {"versions", std::move(versions)}});
  }
  return json::serialize(json::object{{"kind", "APIGroupDiscoveryList"}, {"apiVersion", "apidiscovery.k8s.io/v2"}, {"metadata", json::object()}, {"items", std::move(items)}});
}

}  // namespace

Discovery::Discovery(const std::vector<const ResourceInfo*>& resources) {
  std::vector<Group> groups = group(resources);
  json::array list;
  for (const Group& g : groups) {
    std::string base = g.name.empty() ? "/api" : "/apis/" + std::string(g.name);
    for (const Version& v : g.versions) legacy_[base + "/" + std::string(v.name)] = resource_list(g, v);
    if (g.name.empty()) continue;
    json::object one = group_json(g);
    list.push_back(one);
    json::object document{{"kind", "APIGroup"}, {"apiVersion", "v1"}};
    for (auto& m : one) document[m.key()] = m.value();
    legacy_[base] = json::serialize(std::move(document));
  }
  json::object cidr{{"clientCIDR", "0.0.0.0/0"}, {"serverAddress", ""}};
  legacy_["/api"] = json::serialize(json::object{{"kind", "APIVersions"}, {"versions", json::array{json::value("v1")}}, {"serverAddressByClientCIDRs", json::array{std::move(cidr)}}});
  legacy_["/apis"] = json::serialize(json::object{{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(list)}});
  aggregated_["/api"] = aggregated_list(groups, true);
  aggregated_["/apis"] = aggregated_list(groups, false);
}

const std::string* Discovery::legacy(std::string_view path) const {
  auto it = legacy_.find(path);
  return it == legacy_.end() ? nullptr : &it->second;
}

const std::string* Discovery::aggregated(std::string_view path) const {
  auto it = aggregated_.find(path);
  return it == aggregated_.end() ? nullptr : &it->second;
}

bool Discovery::wants_aggregated(std::string_view accept) {
  for (std::string_view alternative : split(accept, ',')) {
    bool group = alternative.find("g=apidiscovery.k8s.io") != std::string_view::npos;
    bool version = alternative.find("v=v2;") != std::string_view::npos || alternative.ends_with("v=v2");
    if (group && version && alternative.find("json") != std::string_view::npos) return true;
    if (trim(alternative) == "application/json") return false;
  }
  return false;
}

}  // namespace kcube::apiserver
