// The schema: every built-in type, field, resource, Table column and bootstrap role as flat arrays, loaded once from the
// text in pkg/api/schema/ that is embedded in the binary. Defaulting, pruning, validation, patches, server-side apply,
// OpenAPI and protobuf all run on it. Immutable after loading, so every thread may read it. The notation: schema/README.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kcube::api {

enum class FieldKind : uint8_t {
  string, boolean, int32, int64, number, bytes,
  time, micro_time, quantity, int_or_string,
  raw,      // an object of any shape (RawExtension, FieldsV1)
  any,      // any JSON value
  message,  // another type of the schema: Field::type
};

enum class Shape : uint8_t { single, list, map, map_of_list };

enum class ListType : uint8_t { atomic, set, map };

struct Type;

struct Field {
  std::string_view name;
  FieldKind kind = FieldKind::string;
  Shape shape = Shape::single;
  ListType list_type = ListType::atomic;     // of lists
  bool required = false;
  bool omitempty = false;                    // required, and yet not written when it is empty
  bool granular = false;                     // merged member by member even where the type is atomic
  bool atomic = false;                       // one value to server-side apply even where its kind is not: maps of strings
  bool patch_merge = false;                  // strategic merge: lists merge by patch_merge_key, or as sets without one
  bool patch_retain_keys = false;
  bool pointer = false;                      // may be absent in Go: zeros in protobuf were set by someone, structs are not there
  // Protobuf field number, 0 when there is none. A member that stands in a nested message there has the numbers of the
  // whole way, 16 bits each: 2.4 is 2 << 16 | 4.
  uint64_t proto = 0;
  std::string_view patch_merge_key;
  std::span<const std::string_view> list_map_keys;
  std::span<const std::string_view> enum_values;
  std::string_view go_name, inside;          // the Go type and embedded structs, for messages, where names do not tell
  std::string_view default_json;             // empty: none. `""`, `0` and `false` are what Go writes for an absent value
  const Field* element = nullptr;            // of lists and maps whose elements are lists or maps themselves (CRDs alone)
  const Type* type = nullptr;                // with FieldKind::message, raw, any and the scalar types that have a name
};

struct Type {
  std::string_view name;                     // "io.k8s.api.core.v1.PodSpec", its name in OpenAPI
  std::string_view package;                  // "core.v1"
  std::string_view short_name;               // "PodSpec"
  std::string_view discriminator;            // of a union
  bool atomic = false;                       // server-side apply treats it as one value
  bool open = false;                         // members that are no fields are kept, whatever they hold (CRDs alone)
  FieldKind scalar = FieldKind::message;     // other than message: a name for a scalar (Time, Quantity, …), no fields
  std::string_view group, version, kind;     // where it is a kind of its own; all empty otherwise
  std::span<const Field> fields;             // sorted by name
  const Field* field(std::string_view name) const;   // binary search; null when unknown
};

struct Column {
  std::string_view name, type, format;
  int priority = 0;
};

struct ResourceInfo {
  std::string_view group, version, resource, subresource;
  std::string_view kind;                     // of the (sub)resource's body
  std::string_view kind_group, kind_version; // differ from group and version for some subresources (autoscaling/v1 Scale)
  bool namespaced = false;
  bool custom = false;                       // of a CustomResourceDefinition
  std::string_view singular;
  std::string_view stored_version;           // of a custom resource: the version that is stored
  std::vector<std::string_view> short_names, categories, verbs;
  const Type* type = nullptr;                // null for the options kinds of connect subresources
  std::vector<Column> columns;               // empty: Name and Age
  bool has_verb(std::string_view verb) const;
  std::string api_version() const;           // "v1" or "apps/v1"
};

// A role or binding of the bootstrap policy, as text rows.
struct BootstrapRole {
  std::string_view kind, namespace_, name, labels, aggregation_labels;
  struct Rule {
    std::string_view verbs, groups, resources, names, urls;   // comma-separated
    bool has_groups = false;                                  // "" alone is the core group
  };
  std::vector<Rule> rules;
};
struct BootstrapBinding {
  std::string_view kind, namespace_, name, role_kind, role_name;
  std::vector<std::string_view> subjects;                     // "User:NAME", "Group:NAME", "ServiceAccount:NS/NAME"
};

class Schema {
 public:
  // The built-in schema; loaded at the first call (about a millisecond).
  static const Schema& builtin();

  const Type* find_type(std::string_view openapi_name) const;
  const Type* find_kind(std::string_view group, std::string_view version, std::string_view kind) const;
  const ResourceInfo* find_resource(std::string_view group, std::string_view version, std::string_view resource,
                                    std::string_view subresource = {}) const;
  // The resource that serves `kind`.
  const ResourceInfo* resource_of_kind(std::string_view group, std::string_view version, std::string_view kind) const;
  std::span<const ResourceInfo> resources() const { return resources_; }
  std::span<const Type> types() const { return types_; }
  std::span<const BootstrapRole> bootstrap_roles() const { return roles_; }
  std::span<const BootstrapBinding> bootstrap_bindings() const { return bindings_; }

 private:
  friend class SchemaLoader;
  std::vector<Type> types_;                  // sorted by name
  std::vector<Field> fields_;
  std::vector<std::string_view> strings_;    // list_map_keys and enum_values point here
  std::vector<ResourceInfo> resources_;      // subresources follow their resource
  std::vector<BootstrapRole> roles_;
  std::vector<BootstrapBinding> bindings_;
};

}  // namespace kcube::api
