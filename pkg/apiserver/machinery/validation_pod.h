// The rules of a pod's spec, wherever one stands: in a pod, a template, a job's template. Private to machinery.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "pkg/apiserver/machinery/validation_cursor.h"

namespace kcube::machinery {

// What the rules of a container need to know of the rest of the pod.
struct PodContext {
  Cursor spec;
  const json::value* metadata = nullptr;
  bool pod = false;  // not a template
  bool host_users = true;
  std::string_view restart_policy;
  std::set<std::string_view> claims;  // spec.resourceClaims
  std::set<const json::value*> broken_volumes = {};
  // The volume of that name, or null; a broken volume counts as absent.
  const json::value* volume(std::string_view name) const;
};

// spec.template: labels, annotations and spec.
void validate_pod_template(const Cursor& pod_template);
void validate_pod_spec(const Cursor& spec, const json::value* metadata, bool pod);

// Parts, each in its own file.
void validate_containers(const PodContext& pod);
void validate_ephemeral_containers(const PodContext& pod);
void validate_env(const Cursor& env);
void validate_env_from(const Cursor& env_from);
void validate_field_ref(const Cursor& ref, bool volume);
void validate_resource_field_ref(const Cursor& ref, bool volume);
void validate_probes_and_lifecycle(const PodContext& pod, const Cursor& container);
void validate_volumes(PodContext& pod);  // and tells which are broken
void validate_volume_mounts(const PodContext& pod, const Cursor& container);
void validate_resources(const Cursor& resources, const std::set<std::string_view>* claims, bool pod_level = false);
void validate_pod_security(const PodContext& pod);
void validate_container_security(const PodContext& pod, const Cursor& context);
void validate_scheduling(const PodContext& pod);

// Of use elsewhere.
void validate_label_selector(const Cursor& selector, bool check_values = true);
void validate_label_key(const Cursor& key);  // any qualified name
void validate_labels(const Cursor& labels);  // a map of label keys and values
void validate_annotations(const Cursor& annotations);
void validate_node_selector(const Cursor& selector);
void validate_tolerations(const Cursor& tolerations);
void validate_host_path(const Cursor& host_path);
// The sources that pods and PersistentVolumes have in common; false when `source` is none of them.
bool validate_common_volume_source(std::string_view source, const Cursor& at, bool persistent);
void validate_file_mode(const Cursor& mode);
void validate_relative_path(const Cursor& path);  // relative, without ".."
void validate_no_backsteps(const Cursor& path);   // no ".." element
bool valid_ip(std::string_view text);
bool valid_ip_v4(std::string_view text);
bool check_ip(const Cursor& ip);  // true when there is nothing to say of it
void validate_port_or_name(const Cursor& port);
// 0 is a name of the standard resources, an extended one, or hugepages-*.
bool is_hugepages(std::string_view resource);
bool is_standard_resource(std::string_view resource);
bool is_extended_resource(std::string_view resource);
bool is_integer_resource(std::string_view resource);
void validate_resource_name(const Cursor& at, std::string_view name);  // any resource
void validate_quantity(const Cursor& at, std::string_view resource);   // not negative, whole where it must be

}  // namespace kcube::machinery
