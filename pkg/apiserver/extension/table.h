// Tables of custom resources: Name, the definition's additionalPrinterColumns, or else Age.
#pragma once

#include <string>
#include <vector>

#include "pkg/apiserver/extension/custom_resource.h"
#include "pkg/apiserver/machinery/table.h"

namespace kcube::apiserver::extension {

std::string table(const CustomVersion& version, const std::vector<ObjectPtr>& items, const json::object& list_metadata,
                  machinery::IncludeObject include, bool with_columns, SystemTime now);

}  // namespace kcube::apiserver::extension
