// CustomResourceDefinitions and APIServices.
#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"
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

bool shapeless(const Cursor& schema) {
  return schema["x-kubernetes-int-or-string"].flag() || schema["x-kubernetes-preserve-unknown-fields"].flag();
}

// Every part of a schema has a type, so that it can be pruned and defaulted.
void validate_schema(const Cursor& schema, std::string_view place) {
  if (!schema.present() || !schema.value()->is_object()) return;
  Cursor type = schema["type"];
  if (place == "root") {
    if (type.empty())
      type.required("must not be empty at the root");
    else if (type.text() != "object")
      type.invalid("must be object at the root");
  } else if (type.empty()) {
    if (!shapeless(schema)) type.required("must not be empty for specified " + std::string(place));
  } else if (!type.in({"array", "boolean", "integer", "number", "object", "string"})) {
    type.not_supported({"array", "boolean", "integer", "number", "object", "string"});
  }
  for (const auto& [name, property] : schema["properties"].members()) validate_schema(property, "object fields");
  if (schema["additionalProperties"].present()) {
    if (!schema["properties"].empty() && schema["additionalProperties"].value()->is_object())
      schema["additionalProperties"].forbidden("additionalProperties and properties are mutual exclusive");
    validate_schema(schema["additionalProperties"], "object fields");
  }
  if (type.text() == "array" && !schema["items"].present()) schema["items"].required("must be specified");
  validate_schema(schema["items"], "array items");
  if (schema["uniqueItems"].flag())
    schema["uniqueItems"].forbidden("uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
  if (schema["$ref"].present()) schema["$ref"].forbidden("$ref is not supported");
}

void validate_column(const Cursor& column) {
  if (column["name"].empty()) column["name"].required();
  if (column["type"].empty())
    column["type"].required("must be one of boolean,date,integer,number,string");
  else if (!column["type"].in({"boolean", "date", "integer", "number", "string"}))
    column["type"].invalid("must be one of boolean,date,integer,number,string");
  if (column["jsonPath"].empty()) column["JSONPath"].required();
}

void validate_scale(const Cursor& scale) {
  if (!scale.present()) return;
  for (std::string_view member : {"specReplicasPath", "statusReplicasPath"})
    if (scale[member].empty()) scale[member].required();
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
}

void validate_versions(const Cursor& spec) {
  std::vector<Cursor> versions = spec["versions"].items();
  if (versions.empty()) return;
  spec["version"].with(versions[0]["name"].value()).check(api::check_dns1035_label(versions[0]["name"].text()));
  bool one_schema = same_in_all(versions, "schema"), one_table = same_in_all(versions, "additionalPrinterColumns");
  bool one_scale = same_in_all(versions, "subresources");
  for (size_t i = 0; i < versions.size(); ++i) {
    const Cursor& version = versions[i];
    validate_version(version);
    if (i == 0 || !one_schema) {
      Cursor schema = version["schema"]["openAPIV3Schema"];
      validate_schema(one_schema ? schema.renamed("spec.validation.openAPIV3Schema") : schema, "root");
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
    if (webhook.present())
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
  if (webhook["conversionReviewVersions"].empty()) conversion["conversionReviewVersions"].required();
}

}  // namespace

void validate_custom_resource_definition(const Validation& v) {
  if (!v.main()) return;
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
  if (v.creating() && storage == 0)
    v["status"]["storedVersions"].invalid(none, "must have at least one stored version");
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
  if (v.creating() && name.text() != wanted)
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
