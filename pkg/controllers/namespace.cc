// Namespaces that are being deleted: empties them, pods first, says in conditions what is still in the way, and gives up
// the finalizer "kubernetes" when nothing is left.
#include <algorithm>
#include <map>

#include "pkg/controllers/factories.h"
#include "pkg/controllers/resource_list.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

constexpr std::string_view kFinalizer = "kubernetes";
// Where no event tells of progress (custom resources).
constexpr auto kLookAgain = std::chrono::seconds(2);

// What is left in a namespace after everything was asked to go.
struct Remaining {
  std::map<std::string, size_t> instances;    // "pods." or "deployments.apps": how many
  std::map<std::string, size_t> finalizers;
  std::vector<std::string> failures;
};

std::string list_text(const std::map<std::string, size_t>& counts, const char* between, const char* after) {
  std::string out;
  for (const auto& [name, count] : counts) out += (out.empty() ? "" : ", ") + name + between + std::to_string(count) + after;
  return out;
}

class NamespaceController final : public Controller {
 public:
  explicit NamespaceController(Context context)
      : Controller(context, "namespace", 8), namespaces_(follow_own(kNamespaces)), definitions_(context.informers.informer(kCustomResourceDefinitions)) {
    auto gone = [this](const api::ObjectPtr& last) {
      api::ObjectPtr ns = namespaces_.get(last->namespace_());
      if (ns && ns->deleting()) enqueue(std::string(last->namespace_()));
    };
    for (const KnownResource& known : builtin_resources())
      if (known.namespaced && known.resource != kEvents) context.informers.informer(known.resource).add_handlers({.removed = gone});
  }

 private:
  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr cached = namespaces_.get(key);
    if (!cached || !cached->deleting()) return {};
    auto live = client_.get(kNamespaces, "", key);
    if (!live) return live.error().is_not_found() ? Result<void>() : fail(live.error());
    if (!(*live)->deleting() || !waits_for_us((*live)->value())) return {};

    Remaining left;
    empty(key, kPods, left);
    // What else is there may be needed by pods that are stopping (ConfigMaps, RoleBindings, NetworkPolicies).
    if (left.instances.empty() && left.failures.empty())
      for (const KnownResource& known : resources())
        if (known.namespaced && known.resource != kPods) empty(key, known.resource, left);
    auto written = write_conditions(**live, left);
    if (!written) return fail(written.error());
    if (left.instances.empty() && left.failures.empty()) return finalize(key);
    enqueue_after(key, kLookAgain);
    return {};
  }

  static bool waits_for_us(const json::value& ns) {
    return std::ranges::any_of(json::get_array(json::at(&ns, {"spec", "finalizers"})),
                               [](const json::value& f) { return json::get_string(&f) == kFinalizer; });
  }

  std::vector<KnownResource> resources() const {
    std::vector<KnownResource> out = builtin_resources();
    for (const auto& definition : definitions_.list())
      for (KnownResource& known : custom_resource(*definition)) out.push_back(std::move(known));
    return out;
  }

  void empty(const std::string& ns, const client::GroupVersionResource& resource, Remaining& left) {
    auto list = client_.list(resource, ns);
    if (!list) {
      // A CRD that goes at the same time takes its objects along.
      if (!list.error().is_not_found()) left.failures.push_back(list.error().message());
      return;
    }
    std::string name = resource.resource + "." + resource.group;
    size_t remaining = 0;
    for (const auto& object : list->items) {
      Result<void> gone;
      if (!object->deleting()) gone = client_.remove(resource, ns, object->name(), {.propagation = "Background"});
      if (!gone && !gone.error().is_not_found()) left.failures.push_back(gone.error().message());
      if (!gone && gone.error().is_not_found()) continue;
      ++remaining;
    }
    if (remaining == 0) return;
    // Most are gone at once; what stays has a grace period or finalizers.
    auto after = client_.list(resource, ns);
    if (!after) return;
    for (const auto& object : after->items)
      for (const json::value& f : json::get_array(json::at(&object->value(), {"metadata", "finalizers"})))
        ++left.finalizers[std::string(json::get_string(&f))];
    if (!after->items.empty()) left.instances[name] = after->items.size();
  }

  Result<void> write_conditions(const api::Object& ns, const Remaining& left) {
    SystemTime now = clock_.now();
    json::value next(ns.value());
    json::object& status = json::ensure_path(next, {"status"});
    status["phase"] = "Terminating";
    json::array& conditions = json::ensure_array(status, "conditions");
    set_condition(conditions, {"NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"}, now);
    set_condition(conditions, {"NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions", "All legacy kube types successfully parsed"}, now);
    if (left.failures.empty()) {
      set_condition(conditions, {"NamespaceDeletionContentFailure", "False", "ContentDeleted", "All content successfully deleted, may be waiting on finalization"}, now);
    } else {
      std::string message = "Failed to delete all resource types, " + std::to_string(left.failures.size()) + " remaining: " + left.failures.front();
      set_condition(conditions, {"NamespaceDeletionContentFailure", "True", "ContentDeletionFailed", message}, now);
    }
    if (left.instances.empty()) {
      set_condition(conditions, {"NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed"}, now);
    } else {
      std::string message = "Some resources are remaining: " + list_text(left.instances, " has ", " resource instances");
      set_condition(conditions, {"NamespaceContentRemaining", "True", "SomeResourcesRemain", message}, now);
    }
    if (left.finalizers.empty()) {
      set_condition(conditions, {"NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", "All content-preserving finalizers finished"}, now);
    } else {
      std::string message = "Some content in the namespace has finalizers remaining: " + list_text(left.finalizers, " in ", " resource instances");
      set_condition(conditions, {"NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", message}, now);
    }
    if (equivalent(json::find(&next, "status"), json::find(&ns.value(), "status"))) return {};
    auto written = client_.update(kNamespaces, "", ns.name(), next, "status");
    if (!written && !written.error().is_not_found()) return fail(written.error());
    return {};
  }

  Result<void> finalize(const std::string& name) {
    auto live = client_.get(kNamespaces, "", name);
    if (!live) return live.error().is_not_found() ? Result<void>() : fail(live.error());
    json::value next((*live)->value());
    json::array rest;
    for (const json::value& f : json::get_array(json::at(&next, {"spec", "finalizers"})))
      if (json::get_string(&f) != kFinalizer) rest.push_back(f);
    json::ensure_path(next, {"spec"})["finalizers"] = std::move(rest);
    auto written = client_.update(kNamespaces, "", name, next, "finalize");
    if (!written && !written.error().is_not_found()) return fail(written.error());
    return {};
  }

  client::Informer& namespaces_;
  client::Informer& definitions_;
};

}  // namespace

ControllerPtr make_namespace_controller(Context context) { return std::make_unique<NamespaceController>(context); }

}  // namespace kcube::controllers
