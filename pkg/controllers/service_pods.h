// What Endpoints and EndpointSlices have in common: which pods stand behind a service, with which addresses and ports.
// Internal to the room.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pkg/api/object.h"
#include "pkg/client/informer.h"

namespace kcube::controllers {

// The service has a selector and is no ExternalName: its endpoints are ours to write.
bool selects_pods(const json::value& service);
bool is_headless(const json::value& service);
std::vector<api::ObjectPtr> selected_pods(const client::Informer& pods, const api::Object& service);
// Keys of the services whose selector matches one of the two states of a pod (`before` may be null). Empty when nothing
// that endpoints show has changed.
std::vector<std::string> affected_services(const client::Informer& services, const api::Object* before, const api::Object& now);

// Has an address and is not over; one being deleted only with `include_terminating`.
bool has_endpoint(const api::Object& pod, bool include_terminating);
// status.podIPs of "IPv4" or "IPv6".
std::string pod_address(const api::Object& pod, std::string_view family);
// The families of a service, the first first.
std::vector<std::string> ip_families(const json::value& service);
// [{name, port, protocol, appProtocol}] for this pod: named target ports are looked up in its containers.
json::array endpoint_ports(const json::value& service, const api::Object& pod);
// spec.hostname where the pod is in the service's subdomain, so that DNS gives it a name.
std::string endpoint_hostname(const json::value& service, const api::Object& pod);
json::object pod_reference(const api::Object& pod);

}  // namespace kcube::controllers
