#include "pkg/controllers/revisions.h"

#include <algorithm>
#include <map>

#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using client::resources::kControllerRevisions;

int64_t number_of(const api::ObjectPtr& revision) { return json::get_int(revision->value(), {"revision"}); }

// Members by name, as clients marshal it: kubectl and others find the revision in use by comparing bytes.
json::value sorted(const json::value& value) {
  if (const json::array* list = value.if_array()) {
    json::array out;
    for (const json::value& item : *list) out.push_back(sorted(item));
    return out;
  }
  const json::object* object = value.if_object();
  if (object == nullptr) return value;
  std::map<std::string_view, const json::value*> members;
  for (const auto& m : *object) members[json::view(m.key())] = &m.value();
  json::object out;
  for (const auto& [name, member] : members) out[json::key(name)] = sorted(*member);
  return out;
}

}  // namespace

json::value revision_data(const json::value& owner) {
  json::value pod_template = json::at(&owner, {"spec", "template"}) ? *json::at(&owner, {"spec", "template"}) : json::value(json::object());
  pod_template.as_object()["$patch"] = "replace";
  return sorted(json::object{{"spec", json::object{{"template", std::move(pod_template)}}}});
}

json::value template_of_revision(const json::value& revision) {
  const json::value* kept = json::at(&revision, {"data", "spec", "template"});
  json::value out = kept && kept->is_object() ? *kept : json::value(json::object());
  out.as_object().erase("$patch");
  return out;
}

Result<api::ObjectPtr> Revisions::create(const api::Object& owner, int64_t number) {
  const json::value& value = owner.value();
  std::string hash = template_hash(*json::at(&value, {"spec", "template"}), json::at(&value, {"status", "collisionCount"}));
  std::string name = std::string(owner.name()) + "-" + hash;
  json::object labels = json::get_object(json::at(&value, {"spec", "template", "metadata", "labels"}));
  labels[kRevisionHash] = text(hash);
  json::object metadata{{"name", text(name)}, {"namespace", text(owner.namespace_())}, {"labels", std::move(labels)},
                        {"ownerReferences", json::array{api::controller_reference(value)}}};
  json::object annotations = json::get_object(json::at(&value, {"metadata", "annotations"}));
  annotations.erase("kubectl.kubernetes.io/last-applied-configuration");
  if (!annotations.empty()) metadata["annotations"] = std::move(annotations);
  json::object revision{{"apiVersion", "apps/v1"}, {"kind", "ControllerRevision"}, {"metadata", std::move(metadata)}, {"data", revision_data(value)}, {"revision", number}};
  auto made = client_.create(kControllerRevisions, owner.namespace_(), revision);
  if (made || made.error().reason() != "AlreadyExists") return made;
  auto existing = client_.get(kControllerRevisions, owner.namespace_(), name);
  if (!existing) return existing;
  json::value data = revision_data(value);
  if (equivalent(json::find(&(*existing)->value(), "data"), &data) && api::controller_of((*existing)->value()).uid == owner.uid()) return existing;
  json::value next(value);
  json::object& status = json::ensure_path(next, {"status"});
  status["collisionCount"] = json::get_int(value, {"status", "collisionCount"}) + 1;
  auto written = client_.update(owner_resource_, owner.namespace_(), owner.name(), next, "status");
  if (!written) return written;
  return fail(Status(409, "Conflict", "two templates of " + owner.key() + " have the same hash"));
}

Result<History> Revisions::sync(const api::Object& owner) {
  auto selector = api::LabelSelector::from_json(json::at(&owner.value(), {"spec", "selector"}));
  if (!selector) return fail(selector.error());
  auto claimed = claim_children(client_, informer_, kControllerRevisions, owner, owner_resource_, *selector);
  if (!claimed) return fail(claimed.error());
  History history{std::move(*claimed)};
  std::ranges::sort(history.all, {}, [](const auto& r) { return std::tuple(number_of(r), creation_time(r->value()), r->name()); });
  int64_t newest = history.all.empty() ? 0 : number_of(history.all.back());
  json::value data = revision_data(owner.value());
  auto same = std::ranges::find_if(history.all.rbegin(), history.all.rend(), [&](const auto& r) { return equivalent(json::find(&r->value(), "data"), &data); });
  if (same == history.all.rend()) {
    auto made = create(owner, newest + 1);
    if (!made) return fail(made.error());
    history.current = *made;
    history.all.push_back(*made);
    return history;
  }
  history.current = *same;
  if (number_of(history.current) == newest) return history;
  // Back to an old template: it becomes the newest revision.
  json::value next(history.current->value());
  next.as_object()["revision"] = newest + 1;
  auto written = client_.update(kControllerRevisions, owner.namespace_(), history.current->name(), next);
  if (!written) return fail(written.error());
  std::erase(history.all, history.current);
  history.current = *written;
  history.all.push_back(*written);
  return history;
}

Result<void> Revisions::truncate(const api::Object& owner, const History& history, const std::set<std::string>& live) {
  int64_t limit = json::get_int(owner.value(), {"spec", "revisionHistoryLimit"}, 10);
  std::vector<api::ObjectPtr> unused;
  for (const auto& r : history.all)
    if (r->uid() != history.current->uid() && !live.contains(std::string(r->name())) && !live.contains(std::string(r->label(kRevisionHash)))) unused.push_back(r);
  for (size_t i = 0; i + static_cast<size_t>(std::max<int64_t>(limit, 0)) < unused.size(); ++i) {
    auto r = client_.remove(kControllerRevisions, owner.namespace_(), unused[i]->name(), {.uid = std::string(unused[i]->uid())});
    if (!r && !r.error().is_not_found()) return r;
  }
  return {};
}

}  // namespace kcube::controllers
