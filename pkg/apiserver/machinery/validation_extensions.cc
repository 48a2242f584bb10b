// CustomResourceDefinitions and APIServices.
#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
#include "pkg/apiserver/machinery/validation_schema.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

void validate_names(const Cursor& names) {
  for (std::string_view member : {"plural", "singular", "kind", "listKind"})
    if (names[member].empty()) names[member].required();
  auto check = [](const Cursor& at) {
    if (!at.empty()) at.check(api::check_dns1035_label(at.text()));
  };
  check(names["plural"]);
  check(names["singular"]);
  for (std::string_view member : {"kind", "listKind"}) {
    Cursor at = names[member];
    if (std::string problem = api::check_dns1035_label(to_lower(at.text())); !at.empty() && !problem.empty())
      at.invalid("may have mixed case, but should otherwise match: " + problem);
  }
  for (const Cursor& name : names["shortNames"].items()) name.check(api::check_dns1035_label(name.text()));
  for (const Cursor& name : names["categories"].items()) name.check(api::check_dns1035_label(name.text()));
  if (!names["kind"].empty() && names["kind"].text() == names["listKind"].text())
    names["listKind"].invalid("kind and listKind may not be the same");
}

// Paths in the definition are dotted and begin with a dot.
bool simple_path(const Cursor& at) {
  if (at.text().starts_with('.') && at.text().size() > 1) return true;
  at.invalid("must be a simple json path starting with .");
  return false;
}

void validate_column(const Cursor& column) {
  if (column["name"].empty()) column["name"].required();
  if (column["type"].empty())
    column["type"].required("must be one of boolean,date,integer,number,string");
  else if (!column["type"].in({"boolean", "date", "integer", "number", "string"}))
    column["type"].invalid("must be one of boolean,date,integer,number,string");
  if (!column["format"].empty() &&
      !column["format"].in({"byte", "date", "date-time", "double", "float", "int32", "int64", "password"}))
    column["format"].invalid("must be one of byte,date,date-time,double,float,int32,int64,password");
  Cursor path = column["jsonPath"].renamed(column.path() + ".JSONPath");
  if (path.empty())
    path.required();
  else
    simple_path(path);
}

void check_scale_path(const Cursor& at, std::initializer_list<std::string_view> roots, std::string_view detail) {
  if (at.empty() || !simple_path(at)) return;
  for (std::string_view root : roots)
    if (at.text().starts_with(root) && at.text().size() > root.size()) return;
  at.invalid(detail);
}

void validate_scale(const Cursor& scale) {
  if (!scale.present()) return;
  for (std::string_view member : {"specReplicasPath", "statusReplicasPath"})
    if (scale[member].empty()) scale[member].required();
  check_scale_path(scale["specReplicasPath"], {".spec."}, "should be a json path under .spec");
  check_scale_path(scale["statusReplicasPath"], {".status."}, "should be a json path under .status");
  check_scale_path(scale["labelSelectorPath"], {".spec.", ".status."}, "should be a json path under either .spec or .status");
}

// The schema at a path of members, or null.
const json::value* schema_at(const json::value* schema, std::string_view path) {
  for (std::string_view name : split(path.substr(1), '.')) schema = json::find(json::find(schema, "properties"), name);
  return schema;
}

void validate_selectable(const Cursor& fields, const json::value* schema) {
  std::set<std::string_view> seen;
  if (fields.size() > 8) fields.too_many(8);
  for (const Cursor& field : fields.items()) {
    Cursor path = field["jsonPath"];
    if (path.empty()) {
      path.required();
      continue;
    }
    const json::value* found = path.text().starts_with('.') ? schema_at(schema, path.text()) : nullptr;
    std::string_view type = json::get_string(json::find(found, "type"));
    if (found == nullptr || path.text().starts_with(".metadata"))
      path.invalid("is an invalid path: does not refer to a valid field");
    else if (type != "string" && type != "boolean" && type != "integer")
      path.invalid("must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.");
    if (!seen.insert(path.text()).second) path.duplicate();
  }
}

// Whether all versions have the same there: the real server then speaks of it as of one thing above them.
bool same_in_all(const std::vector<Cursor>& versions, std::string_view member) {
  for (const Cursor& version : versions)
    if (!same(version[member].value(), versions[0][member].value())) return false;
  return true;
}

void validate_version(const Cursor& version) {
  version["name"].check(api::check_dns1035_label(version["name"].text()));
  Cursor schema = version["schema"]["openAPIV3Schema"];
  if (!schema.present()) schema.required();
  Cursor warning = version["deprecationWarning"];
  if (warning.present() && !version["deprecated"].flag())
    warning.invalid("can only be set for deprecated versions");
  else if (warning.present() && warning.empty())
    warning.invalid("must not be an empty string");
  else if (warning.text().size() > 256)
    warning.invalid("must be <= 256 characters long");
  size_t at = 0;
  for (unsigned char c : warning.text()) {
    if (c < 0x20 || c == 0x7f) {
      warning.invalid("must only contain printable UTF-8 characters; non-printable character found at index " + std::to_string(at));
      break;
    }
    ++at;
  }
}

void validate_versions(const Cursor& spec) {
  std::vector<Cursor> versions = spec["versions"].items();
  if (versions.empty()) return;
  spec["version"].with(versions[0]["name"].value()).check(api::check_dns1035_label(versions[0]["name"].text()));
  bool one_schema = same_in_all(versions, "schema"), one_table = same_in_all(versions, "additionalPrinterColumns");
  bool one_scale = same_in_all(versions, "subresources"), one_selection = same_in_all(versions, "selectableFields");
  for (size_t i = 0; i < versions.size(); ++i) {
    const Cursor& version = versions[i];
    validate_version(version);
    if (i == 0 || !one_schema) {
      Cursor schema = version["schema"]["openAPIV3Schema"];
      validate_structural_schema(one_schema ? schema.renamed("spec.validation.openAPIV3Schema") : schema);
    }
    if (i == 0 || !one_selection) {
      Cursor fields = version["selectableFields"];
      validate_selectable(one_selection ? fields.renamed("spec.selectableFields") : fields, version["schema"]["openAPIV3Schema"].value());
    }
    if (i == 0 || !one_table) {
      Cursor columns = version["additionalPrinterColumns"];
      for (const Cursor& column : (one_table ? columns.renamed("spec.additionalPrinterColumns") : columns).items())
        validate_column(column);
    }
    if (i == 0 || !one_scale) {
      Cursor scale = version["subresources"]["scale"];
      validate_scale(one_scale ? scale.renamed("spec.subresources.scale") : scale);
    }
  }
}

bool established(const Validation& v) {
  for (const json::value& c : json::get_array(v.before({"status", "conditions"})))
    if (json::get_string(c, {"type"}) == "Established") return json::get_string(c, {"status"}) == "True";
  return false;
}

void validate_conversion(const Cursor& conversion) {
  if (!conversion.present()) return;
  conversion["strategy"].one_of({"None", "Webhook"});
  Cursor webhook = conversion["webhook"];
  if (conversion["strategy"].text() != "Webhook") {
    if (!webhook["conversionReviewVersions"].empty())
      conversion["conversionReviewVersions"].forbidden("should not be set when strategy is not set to Webhook");
    if (webhook["clientConfig"].present())
      webhook.renamed(conversion.path() + ".webhookClientConfig")
          .forbidden("should not be set when strategy is not set to Webhook");
    return;
  }
  // Paths as the real server keeps them inside.
  Cursor client = webhook["clientConfig"].renamed(conversion.path() + ".webhookClientConfig");
  if (!client.present())
    client.required("required when strategy is set to Webhook");
  else
    validate_webhook_client(client);
  Cursor reviews = webhook["conversionReviewVersions"].renamed(conversion.path() + ".conversionReviewVersions");
  if (reviews.empty()) return reviews.required();
  std::set<std::string_view> seen;
  bool known = false;
  for (const Cursor& version : reviews.items()) {
    if (!seen.insert(version.text()).second) version.invalid("duplicate version");
    version.check(api::check_dns1035_label(version.text()));
    known |= version.text() == "v1" || version.text() == "v1beta1";
  }
  if (!known) reviews.invalid("must include at least one of v1, v1beta1");
}

// Groups of the Kubernetes project. Source: KEP-1111.
bool is_protected(std::string_view group) {
  return group == "k8s.io" || group == "kubernetes.io" || group.ends_with(".k8s.io") || group.ends_with(".kubernetes.io");
}

void validate_approval(const Validation& v) {
  constexpr std::string_view kName = "api-approved.kubernetes.io";
  if (!is_protected(v["spec"]["group"].text())) return;
  Cursor annotation = v["metadata"]["annotations"].entry(kName);
  std::string_view text = annotation.text();
  if (!v.creating() && same(annotation.value(), v.before({"metadata", "annotations", kName}))) return;
  std::string rule = "protected groups must have approval annotation \"" + std::string(kName) + "\"";
  std::string link = ", see https://github.com/kubernetes/enhancements/pull/1111";
  if (text.empty())
    annotation.required(rule + link);
  else if (!text.starts_with("unapproved") && text.find("://") == std::string_view::npos)
    annotation.invalid(rule + " with either a URL or a reason starting with \"unapproved\"" + link);
}

// Versions that objects may be stored in cannot go, and the one they are stored in now is among them.
void validate_stored_versions(const Validation& v) {
  Cursor stored = v["status"]["storedVersions"];
  std::set<std::string_view> names;
  std::string_view storage;
  for (const Cursor& version : v["spec"]["versions"].items()) {
    names.insert(version["name"].text());
    if (version["storage"].flag()) storage = version["name"].text();
  }
  if (stored.empty()) {
    // The main resource leaves the list to the server.
    if (!v.main()) stored.invalid(json::array(), "must have at least one stored version");
    return;
  }
  bool has_storage = false;
  for (const Cursor& name : stored.items()) {
    has_storage |= name.text() == storage;
    if (!names.contains(name.text())) name.invalid("missing from spec.versions; " + std::string(name.text()) +
        " was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in " +
        std::string(name.text()) + " and removes " + std::string(name.text()) + " from status.storedVersions");
  }
  if (!has_storage && !storage.empty()) stored.invalid("must have the storage version " + std::string(storage));
}

}  // namespace

void validate_custom_resource_definition(const Validation& v) {
  if (!v.main()) {
    if (v.subresource == "status") validate_stored_versions(v);
    return;
  }
  Cursor spec = v["spec"], group = spec["group"], versions = spec["versions"];
  Cursor name = v["metadata"]["name"];
  std::string wanted = std::string(spec["names"]["plural"].text()) + "." + std::string(group.text());
  if (v.creating() && name.text() != wanted) name.invalid("must be spec.names.plural+\".\"+spec.group");
  if (group.empty())
    group.required();
  else if (std::string problem = api::check_dns1123_subdomain(group.text()); !problem.empty())
    group.invalid(problem);
  else if (group.text().find('.') == std::string_view::npos)
    group.invalid("should be a domain with at least one dot");
  spec["scope"].one_of({"Cluster", "Namespaced"});
  validate_versions(spec);
  std::set<std::string_view> names;
  size_t storage = 0;
  bool unique = true;
  for (const Cursor& version : versions.items()) {
    unique = names.insert(version["name"].text()).second && unique;
    storage += version["storage"].flag();
  }
  const json::value none(nullptr);
  const json::value& shown = versions.present() ? *versions.value() : none;
  if (!unique) versions.invalid(shown, "must contain unique version names");
  if (storage != 1) versions.invalid(shown, "must have exactly one version marked as storage version");
  if (v.creating() && storage == 0) v["status"]["storedVersions"].invalid(none, "must have at least one stored version");
  else validate_stored_versions(v);
  if (spec["preserveUnknownFields"].flag())
    spec["preserveUnknownFields"].invalid("cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead");
  validate_approval(v);
  validate_names(spec["names"]);
  validate_conversion(spec["conversion"]);
  if (v.creating() || !established(v)) return;
  spec["scope"].unchanged(v.before({"spec", "scope"}));
  spec["names"]["kind"].unchanged(v.before({"spec", "names", "kind"}));
  group.unchanged(v.before({"spec", "group"}));
  spec["names"]["plural"].unchanged(v.before({"spec", "names", "plural"}));
}

void validate_api_service(const Validation& v) {
  if (!v.main()) return;
  Cursor spec = v["spec"], group = spec["group"], version = spec["version"], service = spec["service"],
         name = v["metadata"]["name"];
  std::string wanted = std::string(version.text()) + "." + std::string(group.text());
  Cursor prefix = v["metadata"]["generateName"];
  if (!prefix.empty() && prefix.text() != wanted)
    prefix.invalid("must be `spec.version+\".\"+spec.group`: \"" + wanted + "\"");
  if (!name.empty() && name.text() != wanted)
    name.invalid("must be `spec.version+\".\"+spec.group`: \"" + wanted + "\"");
  if (group.empty() && version.text() != "v1")
    group.required("only v1 may have an empty group and it better be legacy kube");
  if (!group.empty()) group.check(api::check_dns1123_subdomain(group.text()));
  version.check(api::check_dns1035_label(version.text()));
  int64_t least = spec["groupPriorityMinimum"].number(), priority = spec["versionPriority"].number();
  if (least <= 0 || least > 20000)
    spec["groupPriorityMinimum"].invalid(json::value(least), "must be positive and less than 20000");
  if (priority <= 0 || priority > 1000)
    spec["versionPriority"].invalid(json::value(priority), "must be positive and less than 1000");
  Cursor bundle = spec["caBundle"], insecure = spec["insecureSkipTLSVerify"];
  if (!service.present()) {
    if (!bundle.empty())
      bundle.invalid_text(std::to_string(base64_decode(bundle.text()).value_or("").size()) + " bytes",
                          "local APIServices may not have a caBundle");
    if (insecure.flag()) insecure.invalid("local APIServices may not have insecureSkipTLSVerify");
    return;
  }
  for (std::string_view member : {"namespace", "name"})
    if (service[member].empty()) service[member].required();
  int64_t port = service["port"].number(443);
  if (port < 1 || port > 65535) service["port"].invalid("port is not valid: must be between 1 and 65535, inclusive");
  if (insecure.flag() && !bundle.empty()) insecure.invalid("may not be true if caBundle is present");
}

}  // namespace kcube::machinery
