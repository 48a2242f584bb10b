// One function for each controller of the set. Each class stays in its own file.
#pragma once

#include <memory>

#include "pkg/controllers/controller.h"
#include "pkg/controllers/set.h"

namespace kcube::controllers {

using ControllerPtr = std::unique_ptr<Controller>;

ControllerPtr make_replica_set_controller(Context context);
ControllerPtr make_replication_controller(Context context);
ControllerPtr make_deployment_controller(Context context);
ControllerPtr make_endpoints_controller(Context context);
ControllerPtr make_endpoint_slice_controller(Context context);
ControllerPtr make_endpoint_slice_mirroring_controller(Context context);
ControllerPtr make_namespace_controller(Context context);
ControllerPtr make_service_account_controller(Context context);
ControllerPtr make_root_ca_controller(Context context, const Options& options);

}  // namespace kcube::controllers
