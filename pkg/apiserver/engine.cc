#include "pkg/apiserver/engine.h"

#include <algorithm>
#include <utility>

#include "pkg/api/errors.h"
#include "pkg/api/names.h"
#include "pkg/apiserver/admission/admission.h"
#include "pkg/apiserver/conversion.h"
#include "pkg/apiserver/extension/custom_resource.h"
#include "pkg/apiserver/decoding.h"
#include "pkg/apiserver/deletion.h"
#include "pkg/apiserver/machinery/apply.h"
#include "pkg/apiserver/machinery/defaults.h"
#include "pkg/apiserver/machinery/validation.h"
#include "pkg/apiserver/machinery/warnings.h"
#include "pkg/apiserver/scale.h"
#include "pkg/apiserver/strategy.h"
#include "pkg/apiserver/tracking.h"
#include "pkg/base/go_quoted.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

constexpr int kNameAttempts = 8;

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
  if (r.strategy->validate != nullptr) r.strategy->validate(object, old, write, causes);
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

}  // namespace kcube::apiserver
