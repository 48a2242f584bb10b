// The schemas of custom resources as the OpenAPI documents publish them.
#pragma once

#include "pkg/apiserver/extension/custom_resource.h"
#include "pkg/apiserver/machinery/openapi.h"

namespace kcube::apiserver::extension {

// Of all served versions. `v2` leaves out what Swagger 2.0 and old kubectls do not know.
machinery::CustomSchemas open_api(const CustomResources& resources, bool v2);

}  // namespace kcube::apiserver::extension
