#include "pkg/controllers/owner_graph.h"

#include <algorithm>

#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

std::string group_of(std::string_view api_version) {
  size_t slash = api_version.find('/');
  return slash == std::string_view::npos ? std::string() : std::string(api_version.substr(0, slash));
}

bool has_finalizer(const api::Object& object, std::string_view name) {
  return std::ranges::any_of(json::get_array(json::at(&object.value(), {"metadata", "finalizers"})),
                             [&](const json::value& f) { return json::get_string(&f) == name; });
}

}  // namespace

void OwnerGraph::add_kind(const KnownResource& known) { kinds_[{known.resource.group, known.kind}] = known; }

const KnownResource* OwnerGraph::kind(std::string_view api_version, std::string_view kind) const {
  auto it = kinds_.find({group_of(api_version), std::string(kind)});
  return it == kinds_.end() ? nullptr : &it->second;
}

std::vector<std::string> OwnerGraph::observe(const KnownResource& known, const api::Object& object) {
  std::vector<std::string> look;
  std::string uid(object.uid());
  if (uid.empty()) return look;
  auto [it, is_new] = nodes_.try_emplace(uid);
  OwnerNode& node = it->second;
  is_new |= node.is_virtual;
  node.uid = uid;
  node.resource = known.resource;
  node.namespaced = known.namespaced;
  node.namespace_ = object.namespace_();
  node.name = object.name();
  node.is_virtual = false;
  // Most objects have no owner: they are not parsed for it.
  std::vector<api::OwnerReference> owners;
  if (object.bytes().find("\"ownerReferences\"") != std::string::npos) owners = api::owner_references(object.value());
  link(node, owners, look);
  node.deleting = object.deleting();
  node.orphaning = node.deleting && has_finalizer(object, "orphan");
  node.foreground = node.deleting && has_finalizer(object, "foregroundDeletion");
  if (node.orphaning || node.foreground) look.push_back(uid);
  if (node.foreground) look.insert(look.end(), node.dependents.begin(), node.dependents.end());
  // Waiting owners count their dependents by who is being deleted in the foreground too.
  return look;
}

void OwnerGraph::link(OwnerNode& node, const std::vector<api::OwnerReference>& owners, std::vector<std::string>& look) {
  std::vector<api::OwnerReference> before = std::exchange(node.owners, owners);
  for (const auto& old : before) {
    auto kept = std::ranges::find(owners, old.uid, &api::OwnerReference::uid);
    auto owner = nodes_.find(old.uid);
    if (owner == nodes_.end()) continue;
    bool unblocked = kept == owners.end() || (old.block_owner_deletion && !kept->block_owner_deletion);
    if (unblocked && owner->second.foreground) look.push_back(old.uid);
    if (kept == owners.end()) {
      owner->second.dependents.erase(node.uid);
      drop_if_unused(old.uid);
    }
  }
  for (const auto& reference : owners) {
    auto [it, is_new] = nodes_.try_emplace(reference.uid);
    OwnerNode& owner = it->second;
    owner.dependents.insert(node.uid);
    if (is_new) {
      owner.uid = reference.uid;
      owner.is_virtual = true;
      owner.name = reference.name;
      if (const KnownResource* known = kind(reference.api_version, reference.kind)) {
        owner.resource = known->resource;
        owner.namespaced = known->namespaced;
        if (known->namespaced) owner.namespace_ = node.namespace_;
      }
    }
    if (owner.is_virtual) look.push_back(owner.uid);
    if (owner.foreground) look.push_back(node.uid);
  }
}

void OwnerGraph::drop_if_unused(const std::string& uid) {
  auto it = nodes_.find(uid);
  if (it != nodes_.end() && it->second.is_virtual && it->second.dependents.empty()) nodes_.erase(it);
}

std::vector<std::string> OwnerGraph::remove(const std::string& uid) {
  std::vector<std::string> look;
  auto it = nodes_.find(uid);
  if (it == nodes_.end()) return look;
  OwnerNode node = std::move(it->second);
  nodes_.erase(it);
  look.assign(node.dependents.begin(), node.dependents.end());
  // Whoever asks for this owner again finds that it is gone.
  for (const auto& reference : node.owners) {
    auto owner = nodes_.find(reference.uid);
    if (owner == nodes_.end()) continue;
    owner->second.dependents.erase(uid);
    if (owner->second.foreground) look.push_back(reference.uid);
    drop_if_unused(reference.uid);
  }
  return look;
}

const OwnerNode* OwnerGraph::find(const std::string& uid) const {
  auto it = nodes_.find(uid);
  return it == nodes_.end() ? nullptr : &it->second;
}

std::vector<std::string> OwnerGraph::blocking(const std::string& uid) const {
  std::vector<std::string> out;
  const OwnerNode* node = find(uid);
  if (node == nullptr) return out;
  for (const std::string& dependent : node->dependents) {
    const OwnerNode* child = find(dependent);
    if (child == nullptr) continue;
    if (std::ranges::any_of(child->owners, [&](const auto& o) { return o.uid == uid && o.block_owner_deletion; })) out.push_back(dependent);
  }
  return out;
}

}  // namespace kcube::controllers
