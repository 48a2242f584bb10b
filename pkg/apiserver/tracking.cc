#include "pkg/apiserver/tracking.h"

#include "pkg/apiserver/deletion.h"
#include "pkg/apiserver/machinery/scale_managers.h"
#include "pkg/apiserver/scale.h"
#include "pkg/apiserver/strategy.h"

namespace kcube::apiserver {

machinery::ApplyOptions manager_options(const Call& call, SystemTime now, bool force) {
  std::string sub(call.resource->subresource());
  return {call.field_manager, force, sub, call.resource->main->api_version(), now,
          call.resource->custom == nullptr || call.resource->strategy->has_status, call.resource->strategy->tracks_spec};
}

machinery::ApplyOptions scale_options(const Call& call, SystemTime now, bool force) {
  return {call.field_manager, force, "scale", "autoscaling/v1", now, true, true};
}

json::value tracked_scale(const Resource& r, const json::value& object) {
  json::value scale = to_scale(r, object);
  if (json::array managers = machinery::managers_of_scale(object, replicas_path(r)); !managers.empty()) metadata_of(scale.get_object())["managedFields"] = std::move(managers);
  return scale;
}

Result<json::value> scaled(const Resource& r, const json::value& object, const json::value& scale) {
  auto made = from_scale(r, object, scale);
  if (!made || json::get_array(json::at(&object, {"metadata", "managedFields"})).empty()) return made;
  json::array managers = machinery::managers_of_scaled(object, scale, replicas_path(r), r.main->api_version());
  json::object& metadata = metadata_of(made->get_object());
  if (managers.empty()) metadata.erase("managedFields");
  else metadata["managedFields"] = std::move(managers);
  return made;
}

}  // namespace kcube::apiserver
