// Name rules. Each returns the empty string when `text` is fine, else the sentence that the real server gives.
// Source: RFC 1123, RFC 1035, the Kubernetes docs on object names and labels.
#pragma once

#include <string>
#include <string_view>

namespace kcube::api {

std::string check_dns1123_label(std::string_view text);
std::string check_dns1123_subdomain(std::string_view text);
std::string check_dns1035_label(std::string_view text);
std::string check_path_segment(std::string_view text);       // RBAC names
std::string check_qualified_name(std::string_view text);     // label and annotation keys
std::string check_label_value(std::string_view text);
std::string check_env_var_name(std::string_view text);
std::string check_config_map_key(std::string_view text);
std::string check_port_name(std::string_view text);          // IANA_SVC_NAME

}  // namespace kcube::api
