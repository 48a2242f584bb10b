// What claims and slices of devices have in common. Private to machinery.
#pragma once

#include <string_view>

#include "pkg/apiserver/machinery/validation_cursor.h"

namespace kcube::machinery {

// "domain/identifier" or an identifier alone; what is wrong is told at `at`.
void validate_attribute_name(const Cursor& at, std::string_view name);
void validate_taint_effect(const Cursor& effect);

}  // namespace kcube::machinery
