// The cells of each resource's Table columns. Internal to the machinery.
#pragma once

#include <string_view>

#include "pkg/api/json.h"
#include "pkg/base/clock.h"

namespace kcube::machinery {

using Cell = json::value (*)(const json::value& object, SystemTime now);

// The rule for one column of one resource; null when there is none (Name, Age and Created At are common to all).
Cell find_cell(std::string_view group, std::string_view resource, std::string_view column);

// Shared by the files of rules.
struct CellRule {
  std::string_view group, resource, column;
  Cell cell;
};
json::value text_cell(std::string_view text);
json::value age_of(std::string_view time, SystemTime now);
std::string joined_map(const json::value* map);                  // "a=b,c=d", "<none>" when empty
std::string container_names(const json::value* pod_spec);
std::string container_images(const json::value* pod_spec);
std::string selector_text(const json::value* label_selector);    // "<none>" when empty
std::string or_none(std::string_view text);

}  // namespace kcube::machinery
