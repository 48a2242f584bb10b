// What values of flags must look like, checked before anything is started: empty, or what is wrong with the value.
#pragma once

#include <string>

namespace kcube::cli {

std::string check_prefix(const std::string& text);        // 10.42.0.0/16
std::string check_address(const std::string& text);       // 10.43.0.10
std::string check_listen_address(const std::string& text);  // IPv4 or IPv6
std::string check_port(const std::string& text);
std::string check_node_name(const std::string& text);
std::string check_label(const std::string& text);         // KEY=VALUE
std::string check_taint(const std::string& text);         // KEY[=VALUE]:EFFECT
std::string check_domain(const std::string& text);
std::string check_san(const std::string& text);           // a DNS name, maybe with a wildcard, or an address
std::string check_disabled(const std::string& text);      // a controller

}  // namespace kcube::cli
