#include "pkg/apiserver/extension/custom_resource.h"

#include <cmath>
#include <limits>

#include "pkg/api/errors.h"
#include "pkg/apiserver/extension/values.h"
#include "pkg/apiserver/strategy.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver::extension {
namespace {

const Strategy kCustom{.has_generation = true, .generation_by_status = true, .empty_status = false};
const Strategy kCustomWithStatus{.has_status = true, .has_generation = true, .empty_status = false, .metadata_by_status = false};

constexpr std::string_view kMainVerbs[] = {"delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"};
constexpr std::string_view kPartVerbs[] = {"get", "patch", "update"};

// ".spec.replicas" as the accessors take it.
std::string dotted(std::string_view path) { return std::string(path.starts_with('.') ? path.substr(1) : path); }

const api::Type& metadata_type() {
  static const api::Type& type = *api::Schema::builtin().find_type("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
  return type;
}

// Metadata is typed, wherever it stands. Unknown members are named beneath `path`.
Result<void> decode_metadata(json::object& object, const std::string& path, std::vector<std::string>& unknown) {
  json::value* metadata = object.if_contains("metadata");
  if (metadata == nullptr) return {};
  if (metadata->is_null()) {
    object.erase("metadata");
    return {};
  }
  auto checked = machinery::check_types(std::move(*metadata), metadata_type(), machinery::FieldValidation::warn);
  if (!checked) return fail(checked.error());
  *metadata = std::move(checked->value);
  for (const std::string& text : checked->warnings) {
    size_t quote = text.find('"');
    unknown.push_back(path + "metadata." + text.substr(quote + 1, text.size() - quote - 2));
  }
  return {};
}

Result<void> decode_embedded(json::value& value, const Structural& schema, const std::string& path, std::vector<std::string>& unknown) {
  if (value.is_array() && schema.items) {
    size_t i = 0;
    for (json::value& item : value.get_array())
      if (auto done = decode_embedded(item, *schema.items, path + "[" + std::to_string(i++) + "]", unknown); !done) return done;
    return {};
  }
  if (!value.is_object()) return {};
  std::string prefix = path.empty() ? "" : path + ".";
  if (schema.embedded)
    if (auto done = decode_metadata(value.get_object(), prefix, unknown); !done) return done;
  for (auto& m : value.get_object()) {
    const Structural* part = schema.member(json::view(m.key()));
    if (part == nullptr) continue;
    if (auto done = decode_embedded(m.value(), *part, prefix + std::string(m.key()), unknown); !done) return done;
  }
  return {};
}

// What does not fit 64 bits with sign is a floating-point number, as to Go. 2.0 is 2: clients read whole numbers as integers, and Go writes them so.
void make_whole(json::value& v) {
  constexpr double kExact = 9007199254740992.0;   // 2^53
  if (v.is_uint64() && v.get_uint64() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) v = static_cast<double>(v.get_uint64());
  if (v.is_double() && v.get_double() == std::floor(v.get_double()) && std::abs(v.get_double()) < kExact) v = static_cast<int64_t>(v.get_double());
  if (v.is_array())
    for (json::value& item : v.get_array()) make_whole(item);
  if (v.is_object())
    for (auto& m : v.get_object()) make_whole(m.value());
}

// As the real server prints a value in such a message.
std::string shown(const json::value& v) {
  if (v.is_string()) return "string";
  return "&value.valueUnstructured{Value:" + json::serialize(v) + "}";
}

// Where the kind of a value is another than the schema's.
void find_mismatches(const json::value& v, const Structural& s, const std::string& path, std::vector<std::string>& problems) {
  if (v.is_null() || s.int_or_string) return;
  auto expect = [&](bool fits, std::string_view what) {
    if (!fits) problems.push_back(path + ": expected " + std::string(what) + ", got " + shown(v));
    return fits;
  };
  if (s.type == "string") expect(v.is_string(), "string");
  if (s.type == "boolean") expect(v.is_bool(), "boolean");
  if (s.type == "integer" || s.type == "number") expect(v.is_number(), "numeric (int or float)");
  if (s.type == "array" && expect(v.is_array(), "list") && s.items) {
    size_t i = 0;
    for (const json::value& item : v.get_array()) find_mismatches(item, *s.items, path + "[" + std::to_string(i++) + "]", problems);
  }
  if (s.type != "object" || !expect(v.is_object(), "map")) return;
  for (const auto& m : v.get_object())
    if (const Structural* part = s.member(json::view(m.key()))) find_mismatches(m.value(), *part, path + "." + std::string(m.key()), problems);
}

}  // namespace

void CustomVersion::add_infos(std::vector<const api::ResourceInfo*>& infos) const {
  infos.push_back(&info);
  if (has_status) infos.push_back(&status_info);
  if (has_scale) infos.push_back(&scale_info);
}

Result<json::value> CustomVersion::decode(Call& call, json::value body, bool with_defaults) const {
  std::string cannot = std::string(info.kind) + " in version \"" + name + "\" cannot be handled as a " + std::string(info.kind) + ": ";
  std::vector<std::string> unknown, pruned, embedded;
  make_whole(body);
  if (auto done = decode_metadata(body.get_object(), "", unknown); !done) return fail(Status::bad_request(cannot + done.error().message()));
  prune(body, schema, true, &pruned);
  if (auto done = decode_embedded(body, schema, "", embedded); !done) return fail(Status::bad_request(cannot + done.error().message()));
  for (auto* more : {&pruned, &embedded}) {
    std::ranges::sort(*more);
    unknown.insert(unknown.end(), more->begin(), more->end());
  }
  if (!with_defaults) {
    std::vector<std::string> problems;
    for (const std::string& field : unknown) problems.push_back("." + field + ": field not declared in schema");
    find_mismatches(body, schema, "", problems);
    if (!problems.empty()) return fail(untyped(call.name, problems));
  }
  if (call.field_validation != machinery::FieldValidation::ignore) {
    std::vector<std::string> texts;
    for (const std::string& text : call.problems) texts.push_back(text);
    for (const std::string& field : unknown) texts.push_back("unknown field \"" + field + "\"");
    if (call.field_validation == machinery::FieldValidation::strict && !texts.empty()) return fail(Status::bad_request(cannot + "strict decoding error: " + join(texts, ", ")));
    for (std::string& text : texts) call.warn(std::move(text));
  }
  if (with_defaults) apply_defaults(body, schema);
  return body;
}

Result<void> CustomVersion::adopt(json::value& object) const {
  if (!object.is_object()) return fail(Status::internal("expected an object, got " + json::serialize(object)));
  std::vector<std::string> unknown;
  make_whole(object);
  if (auto done = decode_metadata(object.get_object(), "", unknown); !done) return done;
  prune(object, schema, true, nullptr);
  if (auto done = decode_embedded(object, schema, "", unknown); !done) return done;
  apply_defaults(object, schema);
  return {};
}

Result<void> CustomVersion::convert(json::value& object) const {
  if (auto done = owner->convert({&object}, *this); !done) return done;
  prune(object, schema, true, nullptr);
  apply_defaults(object, schema);
  return {};
}

const Resource* CustomVersion::part(std::string_view subresource) const {
  if (subresource.empty()) return &main;
  if (subresource == "status") return has_status ? &status : nullptr;
  return subresource == "scale" && has_scale ? &scaled : nullptr;
}

// A configuration to apply has to fit the schema, or nobody could own its fields.
Status CustomVersion::untyped(const std::string& object, const std::vector<std::string>& problems) const {
  std::string text = "failed to create typed patch object (/" + object + "; " + api_version + ", Kind=" + std::string(info.kind) + "): ";
  if (problems.size() == 1) return {500, "", text + problems.front()};
  text += "errors:";
  for (const std::string& problem : problems) text += "\n  " + problem;
  return {500, "", text};
}

ObjectPtr ReadMemory::find(uint64_t revision) const {
  std::lock_guard lock(mutex_);
  auto it = objects_.find(revision);
  return it == objects_.end() ? nullptr : it->second;
}

void ReadMemory::keep(uint64_t revision, ObjectPtr object) {
  constexpr size_t kLimit = 1024;
  std::lock_guard lock(mutex_);
  if (objects_.size() >= kLimit) objects_.clear();
  objects_[revision] = std::move(object);
}

Result<ObjectPtr> CustomVersion::read(const ObjectPtr& stored) const {
  std::vector<ObjectPtr> one{stored};
  if (auto done = read_all(one); !done) return fail(done.error());
  return std::move(one.front());
}

Result<void> CustomVersion::read_all(std::vector<ObjectPtr>& objects) const {
  struct Work {
    ObjectPtr* place;
    json::value copy;
  };
  std::deque<Work> works;
  std::vector<json::value*> copies;
  for (ObjectPtr& object : objects) {
    // Written under this very schema, and in this version: encode() writes apiVersion first.
    if (object->revision() > owner->since() && object->bytes().starts_with(head)) continue;
    if (ObjectPtr known = memory.find(object->revision())) {
      object = std::move(known);
      continue;
    }
    Work& work = works.emplace_back(Work{&object, object->value()});
    copies.push_back(&work.copy);
  }
  if (works.empty()) return {};
  if (auto done = owner->convert(copies, *this); !done) return done;
  for (Work& work : works) {
    ObjectPtr stored = *work.place;
    prune(work.copy, schema, true, nullptr);
    apply_defaults(work.copy, schema);
    if (!(work.copy == stored->value())) *work.place = api::Object::make(api::encode(work.copy), stored->revision());
    // A dry run's object has no revision of its own.
    if (owner->cache()->is_at(*stored)) memory.keep(stored->revision(), *work.place);
  }
  return {};
}

std::vector<Cause> CustomVersion::validate(const json::value& object, const json::value* old, std::string_view subresource) const {
  return validate_values(*this, object, old, subresource);
}

// --- The whole definition ---------------------------------------------------------------------------------------------

std::shared_ptr<const CustomResource> CustomResource::create(const json::value& definition, ResourceCache* cache, uint64_t since, WebhookClient& webhooks) {
  std::shared_ptr<CustomResource> made(new CustomResource());
  made->name_ = json::get_string(definition, {"metadata", "name"});
  made->uid_ = json::get_string(definition, {"metadata", "uid"});
  made->spec_ = *json::at(&definition, {"spec"});
  if (const json::value* conversion = json::at(&definition, {"spec", "conversion"})) made->conversion_ = *conversion;
  made->webhooks_ = &webhooks;
  made->accepted_ = *json::at(&definition, {"status", "acceptedNames"});
  made->terminating_ = json::at(&definition, {"metadata", "deletionTimestamp"}) != nullptr;
  made->group_ = json::get_string(definition, {"spec", "group"});
  made->plural_ = json::get_string(definition, {"spec", "names", "plural"});
  made->cache_ = cache;
  made->since_ = since;
  for (const json::value& version : json::get_array(json::at(&definition, {"spec", "versions"}))) made->add_version(definition, version);
  for (const auto& version : made->versions_) version->info.stored_version = made->storage_->name;
  return made;
}

void CustomResource::add_version(const json::value& definition, const json::value& version) {
  CustomVersion& v = *versions_.emplace_back(std::make_unique<CustomVersion>());
  v.owner = this;
  v.name = json::get_string(version, {"name"});
  v.api_version = group_ + "/" + v.name;
  v.head = "{\"apiVersion\":\"" + v.api_version + "\"";
  v.served = json::get_bool(version, {"served"});
  v.storage = json::get_bool(version, {"storage"});
  if (v.storage) storage_ = &v;
  const json::value& names = *json::at(&definition, {"status", "acceptedNames"});
  std::string_view kind = keep(std::string(json::get_string(names, {"kind"})));
  if (json::get_bool(version, {"deprecated"})) {
    v.warning = json::get_string(version, {"deprecationWarning"});
    if (v.warning.empty()) v.warning = v.api_version + " " + std::string(kind) + " is deprecated";
  }
  if (const json::value* schema = json::at(&version, {"schema", "openAPIV3Schema"})) v.open_api = *schema;
  v.schema = Structural::from_json(v.open_api);
  if (json::get_bool(definition, {"spec", "preserveUnknownFields"})) v.schema.preserve_unknown = true;
  v.rules = Rules::compile(v.schema, true);
  for (const json::value& c : json::get_array(json::find(&version, "additionalPrinterColumns"))) {
    auto text = [&](std::string_view member) { return std::string(json::get_string(json::find(&c, member))); };
    v.columns.push_back({text("name"), text("type"), text("format"), text("description"), text("jsonPath"), static_cast<int>(json::get_int(c, {"priority"}))});
  }
  for (const json::value& f : json::get_array(json::find(&version, "selectableFields"))) v.selectable.push_back(dotted(json::get_string(f, {"jsonPath"})));
  v.has_status = json::at(&version, {"subresources", "status"}) != nullptr;
  if (const json::value* scale = json::at(&version, {"subresources", "scale"})) {
    v.has_scale = true;
    v.scale = {dotted(json::get_string(*scale, {"specReplicasPath"})), dotted(json::get_string(*scale, {"statusReplicasPath"})), dotted(json::get_string(*scale, {"labelSelectorPath"}))};
  }

  api::ResourceInfo& info = v.info;
  info.group = group_;
  info.version = v.name;
  info.resource = plural_;
  info.kind = kind;
  info.kind_group = group_;
  info.kind_version = v.name;
  info.namespaced = json::get_string(definition, {"spec", "scope"}) == "Namespaced";
  info.custom = true;
  info.singular = keep(std::string(json::get_string(names, {"singular"})));
  for (const json::value& s : json::get_array(json::find(&names, "shortNames"))) info.short_names.push_back(keep(std::string(json::get_string(&s))));
  for (const json::value& s : json::get_array(json::find(&names, "categories"))) info.categories.push_back(keep(std::string(json::get_string(&s))));
  info.verbs.assign(std::begin(kMainVerbs), std::end(kMainVerbs));
  info.type = v.types.build(v.schema);
  const Strategy* strategy = v.has_status ? &kCustomWithStatus : &kCustom;
  v.main = {.info = &v.info, .main = &v.info, .stored = &v.info, .cache = cache_, .strategy = strategy, .custom = &v};

  v.status_info = info;
  v.status_info.subresource = "status";
  v.status_info.singular = {};
  v.status_info.short_names.clear();
  v.status_info.categories.clear();
  v.status_info.verbs.assign(std::begin(kPartVerbs), std::end(kPartVerbs));
  v.status = v.main;
  v.status.info = &v.status_info;

  v.scale_info = v.status_info;
  v.scale_info.subresource = "scale";
  v.scale_info.kind = "Scale";
  v.scale_info.kind_group = "autoscaling";
  v.scale_info.kind_version = "v1";
  v.scale_info.type = api::Schema::builtin().find_type("io.k8s.api.autoscaling.v1.Scale");
  v.scaled = v.main;
  v.scaled.info = &v.scale_info;
}

void CustomResource::add_to(Registry::Dynamic& resources, const std::shared_ptr<const CustomResource>& self) const {
  auto add = [&](const Resource& resource, std::string_view version, std::string_view subresource) {
    resources[Registry::name_of(group_, version, plural_, subresource)] = ResourcePtr(self, &resource);
  };
  for (const auto& version : versions_) {
    if (!version->served) continue;
    add(version->main, version->name, "");
    if (version->has_status) add(version->status, version->name, "status");
    if (version->has_scale) add(version->scaled, version->name, "scale");
  }
  add(storage_->main, "", "");
}

bool CustomResource::is_of(const json::value& definition) const {
  return terminating_ == (json::at(&definition, {"metadata", "deletionTimestamp"}) != nullptr) && serves(definition);
}

bool CustomResource::serves(const json::value& definition) const {
  return uid_ == json::get_string(definition, {"metadata", "uid"}) && spec_ == *json::at(&definition, {"spec"}) &&
         accepted_ == *json::at(&definition, {"status", "acceptedNames"});
}

bool CustomResource::is_current(const api::Object& stored) const { return stored.bytes().starts_with(storage_->head); }

}  // namespace kcube::apiserver::extension
