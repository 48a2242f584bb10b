#include "pkg/apiserver/engine.h"

#include <algorithm>
#include <utility>

#include "pkg/api/errors.h"
#include "pkg/api/json_depth.h"
#include "pkg/api/names.h"
#include "pkg/apiserver/admission/admission.h"
#include "pkg/apiserver/conversion.h"
#include "pkg/apiserver/extension/custom_resource.h"
#include "pkg/apiserver/deletion.h"
#include "pkg/apiserver/machinery/apply.h"
#include "pkg/apiserver/machinery/configuration.h"
#include "pkg/apiserver/machinery/defaults.h"
#include "pkg/apiserver/machinery/go_text.h"
#include "pkg/apiserver/machinery/patch.h"
#include "pkg/apiserver/machinery/scale_managers.h"
#include "pkg/apiserver/machinery/unstructured.h"
#include "pkg/apiserver/machinery/validation.h"
#include "pkg/apiserver/machinery/warnings.h"
#include "pkg/apiserver/scale.h"
#include "pkg/apiserver/strategy.h"
#include "pkg/base/go_quoted.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr int kNameAttempts = 8;

machinery::ApplyOptions manager_options(const Call& call, SystemTime now, bool force) {
  std::string sub(call.resource->subresource());
  return {call.field_manager, force, sub, call.resource->main->api_version(), now,
          call.resource->custom == nullptr || call.resource->strategy->has_status, call.resource->strategy->tracks_spec};
}

// A Scale is tracked by itself, and what comes of it is carried over.
machinery::ApplyOptions scale_options(const Call& call, SystemTime now, bool force) {
  return {call.field_manager, force, "scale", "autoscaling/v1", now, true, true};
}

json::value tracked_scale(const Resource& r, const json::value& object) {
  json::value scale = to_scale(r, object);
  if (json::array managers = machinery::managers_of_scale(object, replicas_path(r)); !managers.empty()) metadata_of(scale.get_object())["managedFields"] = std::move(managers);
  return scale;
}

Result<json::value> scaled(const Resource& r, const json::value& object, const json::value& scale) {
  auto made = from_scale(r, object, scale);
  if (!made || json::get_array(json::at(&object, {"metadata", "managedFields"})).empty()) return made;
  json::array managers = machinery::managers_of_scaled(object, scale, replicas_path(r), r.main->api_version());
  json::object& metadata = metadata_of(made->get_object());
  if (managers.empty()) metadata.erase("managedFields");
  else metadata["managedFields"] = std::move(managers);
  return made;
}

// What the server alone decides: taken over from the object as it is.
void keep_system_metadata(json::object& object, const json::object& old) {
  json::object& metadata = metadata_of(object);
  const json::object& before = json::get_object(old.if_contains("metadata"));
  for (std::string_view name : {"uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "name", "namespace"}) {
    // Who would say when an object is gone is refused.
    const bool deletion = name.starts_with("deletion");
    if (deletion && !before.contains(json::key(name)) && metadata.contains(json::key(name))) continue;
    keep_member(metadata, before, name);
  }
  metadata.erase("selfLink");
  const json::value* generate = before.if_contains("generateName");
  if (generate != nullptr && !metadata.contains("generateName")) metadata["generateName"] = *generate;
}

bool spec_differs(const json::object& a, const json::object& b, bool with_status) {
  auto is_spec = [&](std::string_view name) { return name != "metadata" && (with_status || name != "status") && name != "apiVersion" && name != "kind"; };
  auto covers = [&](const json::object& x, const json::object& y) {
    return std::ranges::all_of(x, [&](const auto& m) {
      if (!is_spec(json::view(m.key()))) return true;
      const json::value* other = y.if_contains(m.key());
      return other != nullptr && *other == m.value();
    });
  };
  return !covers(a, b) || !covers(b, a);
}

bool generation_moves(const json::object& a, const json::object& b, const Strategy& strategy) {
  auto differs = [&](std::string_view member) {
    const json::value *x = json::find(a.if_contains("metadata"), member), *y = json::find(b.if_contains("metadata"), member);
    return x == nullptr || y == nullptr ? x != y : *x != *y;
  };
  return spec_differs(a, b, strategy.generation_by_status) || (strategy.generation_by_labels && differs("labels")) ||
         (strategy.generation_by_annotations && differs("annotations"));
}

// The stored object with what a status write may change.
json::value with_status(const json::value& old, json::value fresh, const Strategy& strategy) {
  json::value made = old;
  json::object& object = made.get_object();
  json::object& incoming = fresh.get_object();
  const json::object& before = json::get_object(old.as_object().if_contains("metadata"));
  if (json::value* status = incoming.if_contains("status")) object["status"] = std::move(*status);
  else object.erase("status");
  if (!strategy.metadata_by_status) {
    json::object metadata = before;
    keep_member(metadata, metadata_of(incoming), "managedFields");
    object["metadata"] = std::move(metadata);
    return made;
  }
  json::object metadata = std::move(metadata_of(incoming));
  keep_member(metadata, before, "ownerReferences");
  if (!strategy.labels_by_status) keep_member(metadata, before, "labels");
  object["metadata"] = std::move(metadata);
  return made;
}

Result<void> check_identity(const Call& call, const json::object& object) {
  const json::value* metadata = object.if_contains("metadata");
  std::string_view name = json::get_string(json::find(metadata, "name")), ns = json::get_string(json::find(metadata, "namespace"));
  if (!name.empty() && !call.name.empty() && name != call.name)
    return fail(Status::bad_request("the name of the object (" + std::string(name) + ") does not match the name on the URL (" + call.name + ")"));
  if (!ns.empty() && ns != call.ns && call.resource->namespaced())
    return fail(Status::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
  return {};
}

// An object at a URL says its own name.
Result<void> check_named(const Call& call, const json::object& object) {
  if (call.name.empty() || !json::get_string(json::find(object.if_contains("metadata"), "name")).empty()) return {};
  return fail(Status::bad_request("the name of the object (" + call.name + " based on URL) was undeterminable: name must be provided"));
}

// A configuration is of the very kind, and fits it.
Result<void> check_configuration(const Call& call, const json::value& config) {
  const api::ResourceInfo& info = *call.resource->info;
  if (!config.is_object()) {
    const char* what = config.is_array() ? "array" : config.is_string() ? "string" : config.is_bool() ? "bool" : "number";
    return fail(Status::bad_request("error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal " + std::string(what) + " into Go value of type map[string]interface {}"));
  }
  std::string kind(json::get_string(config, {"kind"})), version(json::get_string(config, {"apiVersion"}));
  std::string shown = (version.find('/') == std::string::npos ? "/" : "") + version + ", Kind=" + kind;
  std::string wanted = info.kind_group.empty() ? std::string(info.kind_version) : std::string(info.kind_group) + "/" + std::string(info.kind_version);
  if (kind != info.kind || version != wanted) return fail(Status::bad_request("invalid object type: " + shown));
  if (call.resource->custom != nullptr) return {};
  std::string problem = machinery::configuration_problem(config, *info.type);
  if (problem.empty()) return {};
  return fail(Status(500, "", "failed to create typed patch object (" + std::string(json::get_string(config, {"metadata", "namespace"})) + "/" +
                                  std::string(json::get_string(config, {"metadata", "name"})) + "; " + shown + "): " + problem));
}

// Optimistic concurrency: what the client read must be what is there.
Result<void> check_preconditions(const Call& call, const api::Object& old, std::string_view uid, std::string_view version) {
  const Resource& r = *call.resource;
  if (!uid.empty() && uid != old.uid())
    return fail(api::conflict(r.group(), r.resource(), old.name(),
                              "StorageError: invalid object, Code: 4, Key: " + r.cache->store_key(old.namespace_(), old.name()) +
                                  ", ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: " + std::string(uid) + ", UID in object meta: " + std::string(old.uid())));
  if (version.empty() || version == "0") return {};
  auto asked = parse_int<uint64_t>(version);
  if (!asked) {
    return fail(Status(500, "", "strconv.ParseUint: parsing \"" + std::string(version) + "\": invalid syntax"));
  }
  if (*asked != old.revision()) return fail(api::modified(r.group(), r.resource(), old.name()));
  return {};
}

}  // namespace

void init_metadata(json::object& object, const Call& call, SystemTime now) {
  json::object& metadata = metadata_of(object);
  for (const char* name : {"selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"}) metadata.erase(name);
  if (!call.ns.empty()) metadata["namespace"] = call.ns;
  else metadata.erase("namespace");
  metadata["uid"] = new_uuid();
  metadata["creationTimestamp"] = format_time(now);
  if (call.resource->strategy->has_generation) metadata["generation"] = 1;
}

Status Engine::missing(const Call& call) const {
  if (call.resource->is("", "componentstatuses")) return api::not_found("", "componentstatus", call.name);
  return api::not_found(call.resource->group(), call.resource->resource(), call.name);
}

Result<void> Engine::check_name(const Call& call) {
  std::string problem = api::check_path_segment(call.name);
  if (problem.empty()) return {};
  return fail(Status::bad_request("Name parameter invalid: " + go_quoted(call.name) + ": " + problem));
}

Result<ObjectPtr> Engine::get(const Call& call) const {
  if (auto done = check_name(call); !done) return fail(done.error());
  if (call.resource->cache == nullptr) return fail(missing(call));
  ObjectPtr object = call.resource->cache->get(call.ns, call.name);
  if (!object) return fail(missing(call));
  if (call.resource->custom != nullptr) return call.resource->custom->read(object);
  return object;
}

namespace {

std::string_view group_of(std::string_view api_version) {
  size_t slash = api_version.find('/');
  return slash == std::string_view::npos ? std::string_view() : api_version.substr(0, slash);
}
std::string_view version_of(std::string_view api_version) { return api_version.substr(api_version.find('/') + 1); }   // npos + 1 is 0

}  // namespace

namespace {

Status cannot_handle(const std::string& kind, std::string_view version, const api::ResourceInfo& info, const std::string& why) {
  return Status::bad_request(kind + " in version \"" + std::string(version) + "\" cannot be handled as a " + std::string(info.kind) + ": " + why);
}

// Another kind is read as such before it is found to be no good.
Status not_convertible(const Call& call, const std::string& kind, std::string_view version, const api::Type* type, const json::value& body) {
  const api::ResourceInfo& info = *call.resource->info;
  if (type != nullptr && !call.deep)
    if (auto checked = machinery::check_types(body, *type, machinery::FieldValidation::ignore); !checked) return cannot_handle(kind, version, info, checked.error().message());
  return cannot_handle(kind, version, info, "converting (" + std::string(version) + "." + kind + ") to (" + call.resource->internal_package() + "." + std::string(info.kind) + "): unknown conversion");
}

// What the body says that it is, filled in where it says nothing, is what the resource takes.
Result<void> settle_kind(const Call& call, json::value& body, const std::string& wanted) {
  const api::ResourceInfo& info = *call.resource->info;
  json::object& object = body.get_object();
  std::string kind(json::get_string(object.if_contains("kind"))), version(json::get_string(object.if_contains("apiVersion")));
  if (version.starts_with('/')) version.erase(0, 1);
  if (kind.empty()) kind = info.kind;
  if (version.empty()) version = wanted;
  const api::Type* type = api::Schema::builtin().find_kind(group_of(version), version_of(version), kind);
  const bool list = kind == "List" && version == "v1", old_eviction = kind == "Eviction" && version == "policy/v1beta1";
  if (type == nullptr && !list && !old_eviction && info.type != nullptr)
    return fail(cannot_handle(kind, version_of(version), info, "no kind \"" + kind + "\" is registered for version \"" + version + "\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""));
  if (kind != info.kind) return fail(not_convertible(call, kind, version_of(version), type, body));
  if (version != wanted && !(old_eviction && info.kind == "Eviction"))
    return fail(Status::bad_request("the API version in the data (" + version + ") does not match the expected API version (" + wanted + ")"));
  object["kind"] = json::key(info.kind);
  object["apiVersion"] = wanted;
  return {};
}

Result<void> settle_custom_kind(const Call& call, json::value& body, const std::string& wanted) {
  const api::ResourceInfo& info = *call.resource->info;
  json::object& object = body.get_object();
  std::string kind(json::get_string(object.if_contains("kind"))), version(json::get_string(object.if_contains("apiVersion")));
  if (!kind.empty() && version != wanted)
    return fail(Status::bad_request("the API version in the data (" + version + ") does not match the expected API version (" + wanted + ")"));
  if (!kind.empty() && kind != info.kind) {
    std::string name(json::get_string(body, {"metadata", "name"}));
    return fail(api::invalid(info.group, kind, name, {api::field_invalid("kind", json::value(kind), "must be " + std::string(info.kind))}));
  }
  if (kind.empty() && !version.empty()) return fail(Status::bad_request("Object 'Kind' is missing in '" + json::serialize(body) + "'"));
  object["kind"] = json::key(info.kind);
  object["apiVersion"] = wanted;
  return {};
}

// Unknown fields and what else is wrong with the text, in the order in which it is told.
std::vector<std::string> all_problems(const Call& call, std::vector<std::string> unknown) {
  if (call.problems_are == Call::Problems::whole) return call.problems;
  unknown.insert(unknown.begin(), call.problems.begin(), call.problems.end());
  return unknown;
}

}  // namespace

Result<json::value> Engine::decode(Call& call, json::value body, machinery::Empty empty) const {
  const api::ResourceInfo& info = *call.resource->info;
  if (!body.is_object()) return fail(Status::bad_request("the body of the request was empty or is no object"));
  std::string wanted = info.kind_group.empty() ? std::string(info.kind_version) : std::string(info.kind_group) + "/" + std::string(info.kind_version);
  const bool custom = call.resource->custom != nullptr && call.resource->subresource() != "scale";
  if (auto done = custom ? settle_custom_kind(call, body, wanted) : settle_kind(call, body, wanted); !done) return fail(done.error());
  if (info.type == nullptr) return body;
  auto too_deep = [&](const json::value& v) { return call.deep && json::is_deeper(v, json::kUsualDepth); };
  if (custom && too_deep(body)) return fail(Status(500, "", "invalid character '{' exceeded max depth"));
  if (custom) return call.resource->custom->decode(call, std::move(body), empty == machinery::Empty::drop);
  if (call.cbor) return decode_typed_cbor(call, std::move(body), empty);
  const bool strict = call.field_validation == machinery::FieldValidation::strict;
  auto checked = machinery::check_types(std::move(body), *info.type, strict ? machinery::FieldValidation::warn : call.field_validation, empty);
  if (!checked) return fail(cannot_handle(std::string(info.kind), info.kind_version, info, checked.error().message()));
  call.emptied = std::move(checked->emptied);
  if (too_deep(checked->value)) return fail(Status(500, "", "invalid character '{' exceeded max depth"));
  if (call.field_validation == machinery::FieldValidation::ignore) return std::move(checked->value);
  std::vector<std::string> problems = all_problems(call, std::move(checked->warnings));
  if (strict && !problems.empty()) return fail(Status::bad_request("strict decoding error: " + join(problems, ", ")));
  for (std::string& text : problems) call.warn(std::move(text));
  return std::move(checked->value);
}

// The decoder of CBOR stops at the first unknown field, and knows it by its place.
Result<json::value> Engine::decode_typed_cbor(Call& call, json::value body, machinery::Empty empty) const {
  const api::ResourceInfo& info = *call.resource->info;
  const bool strict = call.field_validation == machinery::FieldValidation::strict;
  auto checked = machinery::check_types(std::move(body), *info.type, strict ? machinery::FieldValidation::warn : call.field_validation, empty);
  auto refuse = [&](const std::string& why) {
    return fail(Status::bad_request(std::string(info.kind) + " in version \"" + std::string(info.kind_version) + "\" cannot be handled as a " + std::string(info.kind) + ": " + why));
  };
  if (!checked) {
    std::string why = checked.error().message();
    return refuse(why.starts_with("json: ") ? "cbor: " + why.substr(6) : why);
  }
  if (!checked->warnings.empty()) {
    std::string text = "cbor: found unknown field at map element index " + std::to_string(checked->first_unknown);
    if (strict) return refuse("strict decoding error: " + text);
    call.warn(std::move(text));
  }
  call.emptied = std::move(checked->emptied);
  return std::move(checked->value);
}

// --- Writing ----------------------------------------------------------------------------------------------------------

Result<Written> Engine::write(Call& call, const Transform& transform, bool may_create, bool apply) {
  if (auto done = check_name(call); !done) return fail(done.error());
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    ObjectPtr old = call.resource->cache->get(call.ns, call.name);
    if (!old && !may_create) return fail(missing(call));
    ObjectPtr stored = old;
    if (old && call.resource->custom != nullptr) {
      // Everything happens in the version of the request; commit() turns it into the stored one.
      auto served = call.resource->custom->read(old);
      if (!served) return fail(served.error());
      old = std::move(*served);
    }
    size_t warned = call.warnings.size();
    auto fresh = transform(old);
    if (!fresh) return fail(fresh.error());
    auto written = old ? write_once(call, old, stored, std::move(*fresh), apply) : create_named(call, *fresh, apply);
    if (written || written.error().reason() != kRaced) return written;
    call.warnings.resize(warned);
  }
  return fail(api::modified(call.resource->group(), call.resource->resource(), call.name));
}

namespace {

// What was not created has no version.
ObjectPtr without_revision(json::value object) {
  if (json::value* metadata = object.get_object().if_contains("metadata")) metadata->get_object().erase("resourceVersion");
  auto made = api::Object::from_value(std::move(object));
  KCUBE_CHECK(made.has_value());
  return *made;
}

}  // namespace

Result<Written> Engine::commit(Call& call, const json::value& object, uint64_t expected, bool removal) {
  if (call.resource->custom == nullptr) return commit_stored(call, object, expected, removal);
  json::value copy = object;
  if (auto done = call.resource->custom->owner->to_storage(copy); !done) return fail(done.error());
  auto written = commit_stored(call, copy, expected, removal);
  if (!written) return written;
  auto served = call.resource->custom->read(written->object);
  if (!served) return fail(served.error());
  written->object = std::move(*served);
  return written;
}

Result<Written> Engine::commit_stored(Call& call, const json::value& object, uint64_t expected, bool removal) {
  auto text = std::make_shared<const std::string>(api::encode(object));
  if (call.dry_run && expected == 0 && call.resource->cache->get(call.ns, call.name))
    return fail(api::already_exists(call.resource->group(), call.resource->resource(), call.name));
  if (call.dry_run) return Written{expected == 0 ? without_revision(object) : api::Object::make(*text, expected), expected == 0, removal};
  store::Write write{call.resource->cache->store_key(call.ns, call.name), expected, removal, removal ? nullptr : text};
  auto revision = core_.store.commit(std::move(write));
  auto take_back = std::exchange(call.take_back, nullptr);
  if (!revision && take_back) take_back();
  if (revision) {
    // The cache has made the object already, unless another write has replaced it since.
    ObjectPtr made = removal ? nullptr : call.resource->cache->get(call.ns, call.name);
    if (!made || made->revision() != *revision) made = api::Object::make(*text, *revision);
    return Written{std::move(made), expected == 0, removal};
  }
  if (!revision.error().is_conflict()) return fail(revision.error());
  if (expected == 0) return fail(api::already_exists(call.resource->group(), call.resource->resource(), call.name));
  return fail(Status(409, std::string(kRaced), "another write came first"));
}

void Engine::track_fields(Call& call, json::value& object, const json::value* old) const {
  const Resource& r = *call.resource;
  const auto options = manager_options(call, core_.clock.now(), false);
  if (!r.converted) return machinery::update_managed_fields(old, object, *r.stored->type, options);
  // In the version of the request.
  json::value shown = object, before = old == nullptr ? json::value() : *old;
  convert(shown, *r.stored, *r.main);
  if (old != nullptr) convert(before, *r.stored, *r.main);
  machinery::update_managed_fields(old == nullptr ? nullptr : &before, shown, *r.main->type, options);
  keep_member(metadata_of(object.get_object()), metadata_of(shown.get_object()), "managedFields");
}

namespace {

// What the rules of the built-in types say. They judge the object as it will be stored, and show of it what was sent.
std::vector<Cause> broken_rules(const Call& call, const api::ResourceInfo& info, const json::value& object, const json::value* old) {
  auto causes = machinery::validate(info, object, old, *call.resource->info);
  if (causes.empty() || call.emptied.empty()) return causes;
  json::value sent = object;
  machinery::restore_emptied(sent, call.emptied);
  auto shown = machinery::validate(info, sent, old, *call.resource->info);
  const bool alike = std::ranges::equal(shown, causes, [](const Cause& a, const Cause& b) { return a.field == b.field && a.reason == b.reason; });
  for (size_t i = 0; alike && i < causes.size(); ++i)
    if (causes[i].message.find(" value: null") != std::string::npos) causes[i] = std::move(shown[i]);
  return causes;
}

}  // namespace

Result<void> Engine::settle(Call& call, json::value& object, const json::value* old, Operation operation, bool tracked) {
  const Resource& r = *call.resource;
  Admission admission{core_, call, operation, &object, old};
  // Subresources carry the whole object here: scale and status have been merged into it.
  auto apply_defaults = [&] {
    if (r.custom != nullptr) extension::apply_defaults(object, r.custom->schema);
    else machinery::apply_defaults(*r.stored, object);
  };
  apply_defaults();
  if (r.strategy->normalize != nullptr && r.subresource().empty())
    if (auto done = r.strategy->normalize(object.get_object(), old == nullptr); !done) return done;
  // What admission and the strategy change further is nobody's.
  if (!tracked && r.stored->type != nullptr) track_fields(call, object, old);
  if (auto done = mutate(admission); !done) return done;
  Write write{core_, call};
  json::object& o = object.get_object();
  auto abandoned = [&](Status status) -> Result<void> {
    if (r.strategy->abandon != nullptr) r.strategy->abandon(object.get_object(), old == nullptr ? nullptr : &old->get_object(), write);
    return fail(std::move(status));
  };
  bool main = r.subresource().empty();
  const size_t warned = call.warnings.size();   // what is refused is not warned of
  if (old == nullptr && r.strategy->prepare_create != nullptr) {
    if (auto done = r.strategy->prepare_create(o, write); !done) return abandoned(done.error());
  } else if (old != nullptr && main && r.strategy->prepare_update != nullptr) {
    if (auto done = r.strategy->prepare_update(o, old->get_object(), write); !done) return abandoned(done.error());
  }
  apply_defaults();
  if (old != nullptr && r.strategy->has_generation && r.subresource() != "status" && r.subresource() != "binding" && generation_moves(o, old->get_object(), *r.strategy))
    metadata_of(o)["generation"] = json::get_int(*old, {"metadata", "generation"}) + 1;
  auto causes = machinery::validate_metadata(*r.main, object, old);
  for (Cause& cause : broken_rules(call, r.subresource() == "scale" || main ? *r.stored : *r.info, object, old)) causes.push_back(std::move(cause));
  if (r.strategy->validate != nullptr)
    for (Cause& cause : r.strategy->validate(object, old, r.subresource())) causes.push_back(std::move(cause));
  if (r.custom != nullptr)
    for (Cause& cause : r.custom->validate(object, old, r.subresource())) causes.push_back(std::move(cause));
  if (!causes.empty()) call.warnings.resize(warned);
  if (!causes.empty()) return abandoned(api::invalid(r.stored->kind_group, r.stored->kind, call.name, std::move(causes)));
  if (main && r.custom == nullptr && !call.trusted)
    for (std::string& text : machinery::warnings(*r.stored, object, old)) call.warn(std::move(text));
  if (auto done = admit(admission); !done) return abandoned(done.error());
  return {};
}

Result<Written> Engine::write_once(Call& call, const ObjectPtr& old, const ObjectPtr& stored, json::value fresh, bool apply) {
  const Resource& r = *call.resource;
  const json::value& before = old->value();
  json::object* incoming = &fresh.get_object();
  bool tracked = apply || call.admitted;
  const json::value* metadata = incoming->if_contains("metadata");
  auto checked = check_preconditions(call, *old, json::get_string(json::find(metadata, "uid")), json::get_string(json::find(metadata, "resourceVersion")));
  if (!checked) return fail(checked.error());
  if (r.subresource() != "scale" && (r.custom != nullptr || needs_version(*r.stored)) && json::get_string(json::find(metadata, "resourceVersion")).empty())
    return fail(api::invalid(r.group(), r.resource(), call.name, {api::field_invalid("metadata.resourceVersion", json::value(0), "must be specified for an update")}));
  if (r.subresource() == "status") {
    fresh = with_status(before, std::move(fresh), *r.strategy);
  } else if (r.subresource().empty()) {
    if (r.strategy->has_status) keep_member(*incoming, before.get_object(), "status");
  } else if (r.strategy->prepare_subresource != nullptr && r.subresource() != "scale") {
    // What the caller sent is his, also where the subresource leaves it alone.
    json::value sent = fresh;
    if (!tracked && r.stored->type != nullptr) {
      keep_system_metadata(sent.get_object(), before.get_object());
      machinery::apply_defaults(*r.stored, sent);
      track_fields(call, sent, &before);
    }
    Write write{core_, call};
    if (auto done = r.strategy->prepare_subresource(*incoming, before.get_object(), write); !done) return fail(done.error());
    keep_member(metadata_of(fresh.get_object()), metadata_of(sent.get_object()), "managedFields");
    tracked = true;
  }
  json::object& object = fresh.get_object();
  keep_system_metadata(object, before.get_object());
  metadata_of(object)["resourceVersion"] = std::to_string(old->revision());
  if (auto done = settle(call, fresh, &before, Operation::update, tracked); !done) return fail(done.error());
  json::object& settled = fresh.get_object();
  if (ready_to_go(r, settled) && !is_namespace(r)) return commit(call, fresh, old->revision(), true);
  if (is_namespace(r) && r.subresource() == "finalize" && ready_to_go(r, settled)) return commit(call, fresh, old->revision(), true);
  if (fresh == before && (r.custom == nullptr || r.custom->owner->is_current(*stored)) &&
      (call.dry_run || !core_.store.is_stale(call.resource->cache->store_key(call.ns, call.name))))
    return Written{old, false, false};
  auto written = commit(call, fresh, old->revision(), false);
  if ((!written || call.dry_run) && r.strategy->abandon != nullptr) {
    Write write{core_, call};
    r.strategy->abandon(settled, &before.get_object(), write);
  }
  return written;
}

Result<Written> Engine::create_named(Call& call, json::value& object, bool apply) {
  const Resource& r = *call.resource;
  if (const json::value* status = object.get_object().if_contains("status"); r.strategy->has_status && !(r.strategy->status_on_create && status != nullptr)) {
    if (r.strategy->empty_status) object.get_object()["status"] = json::object();  // never absent: JSON patches address what is below it
    else object.get_object().erase("status");
  }
  init_metadata(object.get_object(), call, core_.clock.now());
  if (!call.name.empty()) metadata_of(object.get_object())["name"] = call.name;
  if (auto done = settle(call, object, nullptr, Operation::create, apply); !done) return fail(done.error());
  auto written = commit(call, object, 0, false);
  if ((!written || call.dry_run) && r.strategy->abandon != nullptr) {
    Write write{core_, call};
    r.strategy->abandon(object.get_object(), nullptr, write);
  }
  return written;
}

// A patch is told of the strict error alone.
Result<json::value> Engine::decode_whole(Call& call, json::value body) const {
  auto decoded = decode(call, std::move(body));
  if (decoded || !decoded.error().message().starts_with("strict decoding error")) return decoded;
  const api::ResourceInfo& info = *call.resource->info;
  return fail(Status::bad_request(std::string(info.kind) + " in version \"" + std::string(info.kind_version) + "\" cannot be handled as a " +
                                  std::string(info.kind) + ": " + decoded.error().message()));
}

Result<Written> Engine::create(Call& call, json::value body) {
  auto decoded = decode_whole(call, std::move(body));
  if (!decoded) return fail(decoded.error());
  const Resource& r = *call.resource;
  if (auto done = check_identity(call, decoded->get_object()); !done) return fail(done.error());
  if (r.converted) convert(*decoded, *r.main, *r.stored);
  json::object& metadata = metadata_of(decoded->get_object());
  if (!json::get_string(metadata.if_contains("resourceVersion")).empty() && json::get_string(metadata.if_contains("resourceVersion")) != "0")
    return fail(Status(500, "", "resourceVersion should not be set on objects to be created"));
  if (call.name.empty()) call.name = json::get_string(metadata.if_contains("name"));
  std::string generate(json::get_string(metadata.if_contains("generateName")));
  bool generated = call.name.empty() && !generate.empty();
  for (int attempt = 0;; ++attempt) {
    // A generated name has at most 63 characters.
    if (generated) call.name = r.strategy->extends_names ? generate.substr(0, 58) + random_suffix() : generate;
    json::value object = generated ? *decoded : std::move(*decoded);
    auto written = create_named(call, object, false);
    if (written || !generated || written.error().reason() != "AlreadyExists" || attempt == kNameAttempts) return written;
  }
}

Result<Written> Engine::update(Call& call, json::value body) {
  auto decoded = decode_whole(call, std::move(body));
  if (!decoded) return fail(decoded.error());
  if (auto done = check_named(call, decoded->get_object()); !done) return fail(done.error());
  if (auto done = check_identity(call, decoded->get_object()); !done) return fail(done.error());
  const Resource& r = *call.resource;
  if (r.subresource() == "scale") {
    return write(call, [&](const ObjectPtr& old) {
      json::value scale = *decoded;
      const json::value before = tracked_scale(r, old->value());
      machinery::update_managed_fields(&before, scale, *r.info->type, scale_options(call, core_.clock.now(), false));
      return scaled(r, old->value(), scale);
    }, false, true);
  }
  if (r.converted) convert(*decoded, *r.main, *r.stored);
  bool may_create = r.strategy->creates_on_update && r.subresource().empty();
  return write(call, [&](const ObjectPtr&) -> Result<json::value> { return *decoded; }, may_create, false);
}

Result<Written> Engine::modify(Call& call, const Change& change) {
  return write(call, [&](const ObjectPtr& old) -> Result<json::value> {
    json::value copy = old->value();
    if (auto done = change(copy); !done) return fail(done.error());
    return copy;
  }, false, false);
}

namespace {

// Says the patch as the real server does: the strategic one itself, of others what they made of the object.
Status invalid_patch(client::PatchType type, const json::value& patch, const json::value& patched, const Status& why) {
  std::string message = why.message();
  std::string text = type == client::PatchType::strategic ? machinery::go_text(patch) : json::serialize(patched);
  constexpr std::string_view kCannot = " cannot be handled as a ";
  if (size_t at = message.find(kCannot); at != std::string::npos)
    if (size_t colon = message.find(": ", at); colon != std::string::npos) message.erase(0, colon + 2);
  return api::invalid("", "", "", {api::field_invalid("patch", json::value(text), message)});
}

// Of no version, an object is of the form that kube-apiserver has for itself, which has none of these fields nor a name.
Status versionless(Call& call, const json::value& object) {
  std::vector<std::string> unknown;
  for (const auto& m : object.get_object())
    if (m.key() != "kind" && m.key() != "apiVersion") unknown.push_back("unknown field " + go_quoted(json::view(m.key())));
  std::ranges::sort(unknown);
  if (call.field_validation == machinery::FieldValidation::strict && !unknown.empty()) return Status::bad_request("strict decoding error: " + join(unknown, ", "));
  if (call.field_validation == machinery::FieldValidation::warn)
    for (std::string& text : unknown) call.warn(std::move(text));
  return Status::bad_request("the name of the object (" + call.name + " based on URL) was undeterminable: name must be provided");
}

}  // namespace

Result<Written> Engine::patch(Call& call, client::PatchType type, const json::value& patch, bool force) {
  const Resource& r = *call.resource;
  const api::Type* shape = r.info->type;
  if (type == client::PatchType::apply && shape == nullptr) return fail(api::unsupported_media_type("application/json-patch+json, application/merge-patch+json"));
  const bool scale = r.subresource() == "scale", apply = type == client::PatchType::apply;
  return write(call, [&](const ObjectPtr& old) -> Result<json::value> {
    json::value view = nullptr;
    if (old) view = scale ? tracked_scale(r, old->value()) : old->value();
    if (old && r.converted && !scale) convert(view, *r.stored, *r.main);
    Result<json::value> patched = nullptr;
    switch (type) {
      case client::PatchType::json: patched = machinery::json_patch(view, patch); break;
      case client::PatchType::merge: patched = machinery::merge_patch(view, patch); break;
      case client::PatchType::strategic: patched = machinery::strategic_merge_patch(view, patch, *shape); break;
      case client::PatchType::apply: {
        if (auto done = check_configuration(call, patch); !done) return fail(done.error());
        if (std::string_view uid = json::get_string(patch, {"metadata", "uid"}); !old && !uid.empty())
          return fail(api::conflict(r.group(), r.resource(), call.name, "uid mismatch: the provided object specified uid " + std::string(uid) + ", and no existing object was found"));
        auto config = decode(call, patch, machinery::Empty::keep);
        if (!config) return fail(config.error());
        if (auto done = check_identity(call, config->get_object()); !done) return fail(done.error());
        patched = machinery::apply(old ? &view : nullptr, *config, *shape, scale ? scale_options(call, core_.clock.now(), force) : manager_options(call, core_.clock.now(), force));
        break;
      }
    }
    if (!patched) return fail(patched.error());
    const bool plain = type == client::PatchType::json || type == client::PatchType::merge;
    if (plain && r.custom == nullptr && patched->is_object() && json::get_string(*patched, {"apiVersion"}).empty()) {
      Status status = versionless(call, *patched);
      return fail(status.message().starts_with("strict") ? invalid_patch(type, patch, *patched, status) : status);
    }
    auto decoded = decode(call, *patched);
    // What does not fit its kind is the fault of the patch.
    const bool at_fault = !decoded && r.custom == nullptr && (plain || (type == client::PatchType::strategic && decoded.error().code() == 400));
    if (at_fault && type == client::PatchType::strategic)
      if (std::string problem = machinery::unstructured_problem(*patched, *shape); !problem.empty()) return fail(invalid_patch(type, patch, *patched, Status::bad_request(problem)));
    if (!decoded) return fail(at_fault ? invalid_patch(type, patch, *patched, decoded.error()) : decoded.error());
    if (auto done = check_named(call, decoded->get_object()); !done) return fail(done.error());
    if (std::string_view uid = json::get_string(*decoded, {"metadata", "uid"}); old && !uid.empty() && uid != old->uid()) {
      Cause cause = api::field_invalid("metadata.uid", json::value(json::key(uid)), "field is immutable");
      return fail(api::invalid(r.stored->kind_group, r.stored->kind, call.name, {cause, cause}));
    }
    if (auto done = check_identity(call, decoded->get_object()); !done) return fail(done.error());
    if (scale && !apply) machinery::update_managed_fields(&view, *decoded, *shape, scale_options(call, core_.clock.now(), false));
    if (scale) return scaled(r, old->value(), *decoded);
    if (r.converted) convert(*decoded, *r.main, *r.stored);
    return decoded;
  }, apply && r.subresource().empty(), apply || scale);
}

}  // namespace kcube::apiserver
