// One CustomResourceDefinition as it is served: its resources in every version, and what the engine asks of their kind.
//
// Made by the controller whenever the definition's spec changes, immutable afterwards, held by the registry and by every
// request and watch that found a resource of it. Any thread may use it.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "pkg/apiserver/core.h"
#include "pkg/apiserver/extension/conversion.h"
#include "pkg/apiserver/extension/field_types.h"
#include "pkg/apiserver/extension/rules.h"
#include "pkg/apiserver/extension/structural.h"

namespace kcube::apiserver::extension {

class CustomResource;

struct PrinterColumn {
  std::string name, type, format, description, path;
  int priority = 0;
};

struct ScalePaths {
  std::string spec_replicas, status_replicas, selector;   // in dots: "spec.replicas"; selector may be empty
};

// Objects as one version shows them, by the revision that they were written at: whoever reads an old object again does not
// convert it again. Bounded.
class ReadMemory {
 public:
  ObjectPtr find(uint64_t revision) const;
  void keep(uint64_t revision, ObjectPtr object);

 private:
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, ObjectPtr> objects_;
};

// One version of it.
struct CustomVersion {
  const CustomResource* owner = nullptr;
  std::string name, api_version;
  std::string head;                        // what the text of its objects starts with
  bool served = false, storage = false;
  std::string warning;                     // of a deprecated version, with every answer
  Structural schema;
  json::value open_api;                    // openAPIV3Schema as written
  std::vector<PrinterColumn> columns;
  std::vector<std::string> selectable;     // "spec.color"
  bool has_status = false, has_scale = false;
  ScalePaths scale;
  std::unique_ptr<const Rules> rules;      // x-kubernetes-validations; null when there are none
  mutable ReadMemory memory;
  FieldTypes types;
  api::ResourceInfo info, status_info, scale_info;
  Resource main, status, scaled;

  // Of the resource and its subresources.
  void add_infos(std::vector<const api::ResourceInfo*>& infos) const;
  // The body of a request, with apiVersion and kind: what the schema does not know is reported as `call` wants it and
  // dropped, defaults are set unless it is a configuration to apply.
  Result<json::value> decode(Call& call, json::value body, bool with_defaults) const;
  // What someone on the way made of an object of this version: metadata is typed, what the schema does not know goes,
  // defaults are set. In place.
  Result<void> adopt(json::value& object) const;
  // From another version of the definition to this one, pruned and defaulted. In place.
  Result<void> convert(json::value& object) const;
  // The resource itself, "status" or "scale"; null when this version has no such subresource.
  const Resource* part(std::string_view subresource) const;
  Status untyped(const std::string& object, const std::vector<std::string>& problems) const;
  // A stored object as this version shows it: converted, pruned and defaulted where it was written under another schema.
  Result<ObjectPtr> read(const ObjectPtr& stored) const;
  // Of many, in at most one call of a conversion webhook. In place.
  Result<void> read_all(std::vector<ObjectPtr>& objects) const;
  // What is wrong with it. `old` is null for a creation.
  std::vector<Cause> validate(const json::value& object, const json::value* old, std::string_view subresource) const;
};

class CustomResource {
 public:
  // `definition` is a CustomResourceDefinition that has its names and is established; objects written after `since` have
  // been through its schema.
  // `webhooks` outlives it.
  static std::shared_ptr<const CustomResource> create(const json::value& definition, ResourceCache* cache, uint64_t since, WebhookClient& webhooks);

  const std::string& name() const { return name_; }            // of the definition
  const std::string& group() const { return group_; }
  std::string_view plural() const { return plural_; }
  std::string_view list_kind() const { return json::get_string(accepted_, {"listKind"}); }
  const std::string& uid() const { return uid_; }
  // Whether it was made from this state of the definition, as far as that matters here.
  bool is_of(const json::value& definition) const;
  // The same but for its end being near or not: what is being watched stays as it was.
  bool serves(const json::value& definition) const;
  bool terminating() const { return terminating_; }            // nothing may be created any more
  const std::vector<std::unique_ptr<CustomVersion>>& versions() const { return versions_; }
  const CustomVersion& storage() const { return *storage_; }
  ResourceCache* cache() const { return cache_; }
  // What requests find, under their names; each entry holds `self`.
  void add_to(Registry::Dynamic& resources, const std::shared_ptr<const CustomResource>& self) const;
  uint64_t since() const { return since_; }

  // Whether it lies in the store as it would be written now, in the storage version.
  bool is_current(const api::Object& stored) const;
  // From whatever version each is of, by the strategy of the definition. In place.
  Result<void> convert(std::vector<json::value*> objects, const CustomVersion& to) const { return convert_objects(conversion_, std::move(objects), to, *webhooks_); }
  // What is stored for `object`, which is of some version.
  Result<void> to_storage(json::value& object) const { return convert({&object}, *storage_); }
  bool converts_by_webhook() const { return json::get_string(conversion_, {"strategy"}) == "Webhook"; }

 private:
  CustomResource() = default;
  void add_version(const json::value& definition, const json::value& version);
  std::string_view keep(std::string text) { return strings_.emplace_back(std::move(text)); }

  std::string name_, group_, uid_, plural_;
  json::value spec_, accepted_, conversion_;
  WebhookClient* webhooks_ = nullptr;
  bool terminating_ = false;
  ResourceCache* cache_ = nullptr;
  uint64_t since_ = 0;
  std::deque<std::string> strings_;        // what the views in ResourceInfo point to
  std::vector<std::unique_ptr<CustomVersion>> versions_;
  const CustomVersion* storage_ = nullptr;
};

using CustomResources = std::vector<std::shared_ptr<const CustomResource>>;

}  // namespace kcube::apiserver::extension
