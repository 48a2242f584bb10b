// The warnings of each topic. Private to machinery.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pkg/apiserver/machinery/validation_cursor.h"

namespace kcube::machinery {

using Warnings = std::vector<std::string>;

inline void warn(Warnings& out, const Cursor& at, const std::string& what) { out.push_back(at.path() + ": " + what); }

// A node label that has another name now: what to say of it, or nothing.
std::string_view deprecated_node_label(std::string_view label);
void warn_of_node_terms(Warnings& out, const Cursor& term, bool check_values);
// Bytes that are no whole number.
void warn_of_fraction(Warnings& out, const Cursor& amount);
void warn_of_ip(Warnings& out, const Cursor& ip);
void warn_of_pod_name(Warnings& out, const Cursor& name, std::string_view what);
// A pod, or a template of one: what has metadata and spec.
void warn_of_pod(Warnings& out, const Cursor& pod);

}  // namespace kcube::machinery
