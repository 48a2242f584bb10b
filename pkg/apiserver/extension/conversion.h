// Conversion of custom resources between the versions of their definition: by name alone, or by a webhook.
// Source: ConversionReview in the API reference of apiextensions.k8s.io/v1; the Kubernetes docs on versions of CRDs.
#pragma once

#include <vector>

#include "pkg/api/json.h"

namespace kcube::apiserver {
class WebhookClient;
}

namespace kcube::apiserver::extension {

struct CustomVersion;

// Makes each of `objects` one of version `to`, in place. `conversion` is spec.conversion. A webhook is called once, and only
// for those that are of another version. 500 with what kube-apiserver says when it fails.
Result<void> convert_objects(const json::value& conversion, std::vector<json::value*> objects, const CustomVersion& to, WebhookClient& webhooks);

}  // namespace kcube::apiserver::extension
