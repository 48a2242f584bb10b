#include "pkg/apiserver/fields.h"

#include <algorithm>

#include "pkg/apiserver/extension/custom_resource.h"
#include "pkg/api/scan.h"
#include "pkg/base/go_quoted.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

struct Label {
  std::string_view group, resource, label, path;
  std::string_view absent = "";   // what an absent value is compared as
};

constexpr Label kLabels[] = {
    {"", "pods", "spec.nodeName", "spec.nodeName"},
    {"", "pods", "spec.restartPolicy", "spec.restartPolicy"},
    {"", "pods", "spec.schedulerName", "spec.schedulerName"},
    {"", "pods", "spec.serviceAccountName", "spec.serviceAccountName"},
    {"", "pods", "spec.hostNetwork", "spec.hostNetwork", "false"},
    {"", "pods", "status.phase", "status.phase"},
    {"", "pods", "status.podIP", "status.podIP"},
    {"", "pods", "status.podIPs", "status.podIP"},
    {"", "pods", "status.nominatedNodeName", "status.nominatedNodeName"},
    {"", "events", "involvedObject.kind", "involvedObject.kind"},
    {"", "events", "involvedObject.namespace", "involvedObject.namespace"},
    {"", "events", "involvedObject.name", "involvedObject.name"},
    {"", "events", "involvedObject.uid", "involvedObject.uid"},
    {"", "events", "involvedObject.apiVersion", "involvedObject.apiVersion"},
    {"", "events", "involvedObject.resourceVersion", "involvedObject.resourceVersion"},
    {"", "events", "involvedObject.fieldPath", "involvedObject.fieldPath"},
    {"", "events", "reason", "reason"},
    {"", "events", "reportingComponent", "reportingComponent"},
    {"", "events", "source", "source.component"},
    {"", "events", "type", "type"},
    {"events.k8s.io", "events", "regarding.kind", "involvedObject.kind"},
    {"events.k8s.io", "events", "regarding.namespace", "involvedObject.namespace"},
    {"events.k8s.io", "events", "regarding.name", "involvedObject.name"},
    {"events.k8s.io", "events", "regarding.uid", "involvedObject.uid"},
    {"events.k8s.io", "events", "regarding.apiVersion", "involvedObject.apiVersion"},
    {"events.k8s.io", "events", "regarding.resourceVersion", "involvedObject.resourceVersion"},
    {"events.k8s.io", "events", "regarding.fieldPath", "involvedObject.fieldPath"},
    {"events.k8s.io", "events", "reason", "reason"},
    {"events.k8s.io", "events", "reportingController", "reportingComponent"},
    {"events.k8s.io", "events", "type", "type"},
    {"", "secrets", "type", "type"},
    {"", "nodes", "spec.unschedulable", "spec.unschedulable", "false"},
    {"", "namespaces", "status.phase", "status.phase"},
    {"", "replicationcontrollers", "status.replicas", "status.replicas", "0"},
    {"", "services", "spec.clusterIP", "spec.clusterIP"},
    {"", "services", "spec.type", "spec.type"},
    {"batch", "jobs", "status.successful", "status.succeeded", "0"},
    {"certificates.k8s.io", "certificatesigningrequests", "spec.signerName", "spec.signerName"},
    {"resource.k8s.io", "resourceslices", "spec.driver", "spec.driver"},
    {"resource.k8s.io", "resourceslices", "spec.nodeName", "spec.nodeName"},
};

const Label* find_label(const api::ResourceInfo& resource, std::string_view name) {
  static constexpr Label kName{"", "", "metadata.name", ""}, kNamespace{"", "", "metadata.namespace", ""};
  if (name == kName.label) return &kName;
  // Kinds with labels of their own know of namespaces when they are in one; the others take it in any case.
  const bool own = std::ranges::any_of(kLabels, [&](const Label& l) { return l.group == resource.group && l.resource == resource.resource; });
  if (name == kNamespace.label && (resource.namespaced || !own)) return &kNamespace;
  for (const Label& l : kLabels)
    if (l.group == resource.group && l.resource == resource.resource && l.label == name) return &l;
  return nullptr;
}

// The words depend on whether the kind has labels of its own.
std::string unknown_label(const api::ResourceInfo& resource, const std::string& path) {
  if (resource.resource == "jobs") return "field label " + go_quoted(path) + " not supported for Job";
  if (resource.resource == "resourceslices")
    return "field label not supported for resource.k8s.io/" + std::string(resource.version) + ", Kind=ResourceSlice: " + path;
  for (const Label& l : kLabels)
    if (l.group == resource.group && l.resource == resource.resource) return "field label not supported: " + path;
  return go_quoted(path) + " is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
}

}  // namespace

Result<FieldMatcher> FieldMatcher::create(const Resource& served, std::string_view selector) {
  const api::ResourceInfo& resource = *served.info;
  FieldMatcher matcher;
  if (selector.empty()) return matcher;
  auto parsed = api::FieldSelector::parse(selector);
  if (!parsed) return fail(parsed.error());
  for (const auto& term : parsed->terms()) {
    const Label* label = find_label(resource, term.path);
    if (label == nullptr && served.custom != nullptr && std::ranges::find(served.custom->selectable, term.path) != served.custom->selectable.end()) {
      matcher.terms_.push_back({term.path, term.path, term.value, term.negated, false, ""});
      continue;
    }
    if (label == nullptr && served.custom != nullptr) return fail(Status::bad_request("field label not supported: " + term.path));
    if (label == nullptr) {
      return fail(Status::bad_request(unknown_label(resource, term.path)));
    }
    matcher.terms_.push_back({term.path, std::string(label->path), term.value, term.negated, false, label->absent});
  }
  return matcher;
}

bool FieldMatcher::matches(const api::Object& object) const {
  for (const Term& term : terms_) {
    bool equal;
    if (term.label == "metadata.name") {
      equal = object.name() == term.value;
    } else if (term.label == "metadata.namespace") {
      equal = object.namespace_() == term.value;
    } else {
      std::string value = api::scalar_text(api::scan_dotted(object.bytes(), term.path));
      if (value.empty()) value = term.absent;
      // An event's source is its reporting component when the old field is empty.
      if (term.label == "source" && value.empty()) value = api::scalar_text(api::scan_dotted(object.bytes(), "reportingComponent"));
      equal = value == term.value;
    }
    if (equal == term.negated) return false;
  }
  return true;
}

std::string_view FieldMatcher::bound(std::string_view label) const {
  for (const Term& term : terms_)
    if (term.label == label && !term.negated) return term.value;
  return {};
}

}  // namespace kcube::apiserver
