// Rules of metadata, common to every kind.
#include <arpa/inet.h>

#include <algorithm>
#include <set>

#include "pkg/api/errors.h"
#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation.h"

namespace kcube::machinery {
namespace {

using api::ResourceInfo;

constexpr size_t kAnnotationsLimit = 256 * 1024;

using NameRule = std::string (*)(std::string_view);

std::string check_ip_name(std::string_view name) {
  const std::string text(name);
  char bytes[16], canonical[INET6_ADDRSTRLEN];
  const int family = text.find(':') == std::string::npos ? AF_INET : AF_INET6;
  const bool sound = inet_pton(family, text.c_str(), bytes) == 1 && inet_ntop(family, bytes, canonical, sizeof(canonical)) != nullptr && text == canonical;
  return sound ? std::string() : "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
}

std::string check_name_bytes(std::string_view name) {
  return name.size() > 253 ? "must be no more than 253 bytes" : api::check_dns1123_subdomain(name);
}

// What the registry alone looks at, and no rules of the resource.
struct PlainMetadata {
  std::string_view group, resource;   // "" for all of the group
  bool finalizer_names;               // need no domain
  bool new_finalizers;                // are refused once, not twice
};
constexpr PlainMetadata kPlainMetadata[] = {
    {"", "events", true, true},
    {"", "limitranges", false, true},
    {"", "persistentvolumes", false, true},
    {"admissionregistration.k8s.io", "", true, true},
    {"apiextensions.k8s.io", "", true, false},
    {"apiregistration.k8s.io", "", true, false},
    {"coordination.k8s.io", "", true, false},
    {"discovery.k8s.io", "", false, true},
    {"flowcontrol.apiserver.k8s.io", "", false, true},
    {"node.k8s.io", "", true, false},
    {"policy", "", true, true},
    {"storage.k8s.io", "csinodes", false, true},
    {"storage.k8s.io", "volumeattachments", false, true},
};

const PlainMetadata& plain_metadata(const ResourceInfo& r) {
  static constexpr PlainMetadata kNone{}, kCustom{"", "", true, false};
  if (r.custom) return kCustom;
  for (const PlainMetadata& p : kPlainMetadata)
    if (p.group == r.group && (p.resource.empty() || p.resource == r.resource)) return p;
  return kNone;
}

// Most names are DNS subdomains; these are not.
NameRule name_rule(const ResourceInfo& r) {
  struct Exception {
    std::string_view group, resource;
    NameRule rule;
  };
  static constexpr Exception kExceptions[] = {
      {"", "namespaces", api::check_dns1123_label},
      {"apps", "statefulsets", api::check_dns1123_label},
      {"", "services", api::check_dns1123_label},
      {"rbac.authorization.k8s.io", "roles", api::check_path_segment},
      {"rbac.authorization.k8s.io", "rolebindings", api::check_path_segment},
      {"rbac.authorization.k8s.io", "clusterroles", api::check_path_segment},
      {"rbac.authorization.k8s.io", "clusterrolebindings", api::check_path_segment},
      {"apiregistration.k8s.io", "apiservices", api::check_path_segment},
      {"certificates.k8s.io", "certificatesigningrequests", api::check_path_segment},
      {"policy", "poddisruptionbudgets", api::check_path_segment},
      {"", "events", api::check_path_segment},
      {"networking.k8s.io", "ipaddresses", check_ip_name},
      // Rules that are generated count bytes.
      {"", "replicationcontrollers", check_name_bytes},
      {"resource.k8s.io", "deviceclasses", check_name_bytes},
  };
  for (const Exception& e : kExceptions)
    if (e.group == r.group && e.resource == r.resource) return e.rule;
  return api::check_dns1123_subdomain;
}

json::value shown(std::string_view text) { return json::value(json::key(text)); }

void check_name(const ResourceInfo& r, const json::value* metadata, std::vector<Cause>& causes) {
  std::string_view name = json::get_string(json::find(metadata, "name"));
  std::string_view generate = json::get_string(json::find(metadata, "generateName"));
  if (!generate.empty()) {
    // A prefix may end in '-'; what follows is made by us.
    std::string probe(generate);
    while (probe.ends_with('-')) probe.back() = 'a';
    if (std::string problem = name_rule(r)(probe); !problem.empty())
      causes.push_back(api::field_invalid("metadata.generateName", shown(generate), problem));
  }
  if (name.empty()) {
    if (generate.empty()) causes.push_back(api::field_required("metadata.name", "name or generateName is required"));
    return;
  }
  if (std::string problem = name_rule(r)(name); !problem.empty())
    causes.push_back(api::field_invalid("metadata.name", shown(name), problem));
}

void check_labels(const json::value* labels, const std::string& path, std::vector<Cause>& causes) {
  for (const auto& m : json::get_object(labels)) {
    std::string_view key = json::view(m.key()), value = json::get_string(&m.value());
    if (std::string problem = api::check_qualified_name(key); !problem.empty())
      causes.push_back(api::field_invalid(path, shown(key), problem));
    if (std::string problem = api::check_label_value(value); !problem.empty())
      causes.push_back(api::field_invalid(path, shown(value), problem));
  }
}

void check_annotations(const json::value* annotations, std::vector<Cause>& causes) {
  size_t total = 0;
  for (const auto& m : json::get_object(annotations)) {
    std::string lower(m.key());
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (std::string problem = api::check_qualified_name(lower); !problem.empty())
      causes.push_back(api::field_invalid("metadata.annotations", shown(json::view(m.key())), problem));
    total += m.key().size() + json::get_string(&m.value()).size();
  }
  if (total > kAnnotationsLimit) causes.push_back(api::field_too_long("metadata.annotations", kAnnotationsLimit));
}

void check_owners(const json::value* metadata, std::vector<Cause>& causes) {
  std::string controller;
  for (const json::value& owner : json::get_array(json::find(metadata, "ownerReferences"))) {
    // The real server does not say which of them.
    std::string path = "metadata.ownerReferences";
    auto text = [&](std::string_view name) { return json::get_string(json::find(&owner, name)); };
    if (text("apiVersion").empty())
      causes.push_back(api::field_invalid(path + ".apiVersion", shown(""), "version must not be empty"));
    if (text("kind").empty()) causes.push_back(api::field_invalid(path + ".kind", shown(""), "must not be empty"));
    if (text("name").empty()) causes.push_back(api::field_invalid(path + ".name", shown(""), "must not be empty"));
    if (text("uid").empty()) causes.push_back(api::field_invalid(path + ".uid", shown(""), "must not be empty"));
    if (!json::get_bool(json::find(&owner, "controller"))) continue;
    std::string name = std::string(text("kind")) + "/" + std::string(text("name"));
    if (!controller.empty())
      causes.push_back(
          api::field_invalid("metadata.ownerReferences", *json::find(metadata, "ownerReferences"),
                             "Only one reference can have Controller set to true. Found \"true\" in references for " +
                                 controller + " and " + name));
    controller = name;
  }
}

void check_finalizers(const ResourceInfo& r, const json::value* metadata, std::vector<Cause>& causes) {
  bool orphan = false, foreground = false;
  const json::array& finalizers = json::get_array(json::find(metadata, "finalizers"));
  for (const json::value& f : finalizers)
    if (std::string problem = api::check_qualified_name(json::get_string(&f)); !problem.empty())
      causes.push_back(api::field_invalid("metadata.finalizers", f, problem));
  size_t i = 0;
  for (const json::value& f : finalizers) {
    std::string_view name = json::get_string(&f);
    std::string path = "metadata.finalizers[" + std::to_string(i++) + "]";
    if (name.find('/') == std::string_view::npos && name != "orphan" && name != "foregroundDeletion" &&
        name != "kubernetes" && !plain_metadata(r).finalizer_names) {
      causes.push_back(
          api::field_invalid(path, f, "name is neither a standard finalizer name nor is it fully qualified"));
    }
    orphan = orphan || name == "orphan";
    foreground = foreground || name == "foregroundDeletion";
  }
  if (orphan && foreground)
    causes.push_back(api::field_invalid("metadata.finalizers", *json::find(metadata, "finalizers"),
                                        "finalizer orphan and foregroundDeletion cannot be both set"));
}

void check_update(const ResourceInfo& r, const json::value* now, const json::value* before, std::vector<Cause>& causes) {
  for (std::string_view name : {"name", "namespace", "uid", "creationTimestamp"}) {
    const json::value* a = json::find(now, name);
    const json::value* b = json::find(before, name);
    if (json::get_string(a) != json::get_string(b))
      causes.push_back(api::field_invalid("metadata." + std::string(name), a == nullptr ? json::value("") : *a,
                                          "field is immutable"));
  }
  for (const char* name : {"deletionTimestamp", "deletionGracePeriodSeconds"}) {
    const json::value* a = json::find(now, name);
    if (const json::value* b = json::find(before, name); a != nullptr && (b == nullptr || *a != *b))
      causes.push_back(api::field_invalid("metadata." + std::string(name), *a, "field is immutable"));
  }
  // An object on its way out takes no new finalizers.
  if (json::get_string(json::find(before, "deletionTimestamp")).empty()) return;
  std::set<std::string_view> old;
  for (const json::value& f : json::get_array(json::find(before, "finalizers"))) old.insert(json::get_string(&f));
  std::string added;
  for (const json::value& f : json::get_array(json::find(now, "finalizers")))
    if (!old.contains(json::get_string(&f)))
      added += (added.empty() ? "\"" : ", \"") + std::string(json::get_string(&f)) + "\"";
  if (added.empty()) return;
  // Most say it twice: the strategy and the registry both look.
  for (int i = plain_metadata(r).new_finalizers ? 1 : 0; i < 2; ++i)
    causes.push_back(api::field_forbidden(
        "metadata.finalizers",
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{" + added + "}"));
}

}  // namespace

std::vector<Cause> validate_embedded_metadata(const json::value& object) {
  std::vector<Cause> causes;
  const json::value* metadata = json::find(&object, "metadata");
  ResourceInfo any;
  any.custom = true;
  if (!json::get_string(json::find(metadata, "name")).empty()) check_name(any, metadata, causes);
  check_labels(json::find(metadata, "labels"), "metadata.labels", causes);
  check_annotations(json::find(metadata, "annotations"), causes);
  check_owners(metadata, causes);
  check_finalizers(any, metadata, causes);
  return causes;
}

std::vector<Cause> validate_metadata(const ResourceInfo& resource, const json::value& object, const json::value* old) {
  std::vector<Cause> causes;
  const json::value* metadata = json::find(&object, "metadata");
  if (old == nullptr) check_name(resource, metadata, causes);
  if (resource.namespaced && json::get_string(json::find(metadata, "namespace")).empty())
    causes.push_back(api::field_required("metadata.namespace"));
  if (!resource.namespaced && !json::get_string(json::find(metadata, "namespace")).empty())
    causes.push_back(api::field_forbidden("metadata.namespace", "not allowed on this type"));
  check_labels(json::find(metadata, "labels"), "metadata.labels", causes);
  check_annotations(json::find(metadata, "annotations"), causes);
  check_owners(metadata, causes);
  check_finalizers(resource, metadata, causes);
  if (old != nullptr) check_update(resource, metadata, json::find(old, "metadata"), causes);
  return causes;
}

}  // namespace kcube::machinery
