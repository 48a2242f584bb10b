// The demo application: a Deployment and a NodePort Service of the image that travels in the binary.
#pragma once

#include <chrono>
#include <string>

#include "cmd/kcube/cluster.h"

namespace kcube::cli {

// Applies it, waits until it answers, and returns its URL. Idempotent.
Result<std::string> deploy_demo(const Cluster& cluster, const std::string& image, std::chrono::seconds deadline);

}  // namespace kcube::cli
