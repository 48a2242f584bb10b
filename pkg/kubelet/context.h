// What the parts of the kubelet share. Internal to the room.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "pkg/base/executor.h"
#include "pkg/client/informer.h"
#include "pkg/client/recorder.h"
#include "pkg/kubelet/admission.h"
#include "pkg/kubelet/image_manager.h"
#include "pkg/kubelet/kubelet.h"
#include "pkg/kubelet/object_cache.h"
#include "pkg/kubelet/status_manager.h"
#include "pkg/kubelet/user_namespaces.h"
#include "pkg/kubelet/volumes.h"

namespace kcube::kubelet {

struct Context {
  Options options;
  client::Client& client;
  runtime::PodRuntime& runtime;
  runtime::ImageStore& images;
  Clock& clock;
  uint64_t memory_bytes = 0;
  uint64_t cpu_millis = 0;

  client::EventRecorder recorder;
  VolumeManager volumes;
  UserNamespaces user_namespaces;
  ImageManager image_manager;
  ObjectCache objects;
  StatusManager status;
  // Pod work blocks on pulls, hooks and grace periods, so there may be many threads; idle ones leave.
  Executor workers{{.name = "pod-worker", .max_threads = 256}};
  Executor probes{{.name = "probe", .max_threads = 64}};
  client::Informer* services = nullptr;
  // Set by the kubelet, which knows all pods: why a running pod cannot have what it asks for now; and word that room was made.
  std::function<std::optional<Rejection>(const core::v1::Pod&)> check_resize;
  std::function<void()> room_made;

  Context(Options o, client::Client& c, runtime::PodRuntime& r, runtime::ImageStore& i, Clock& k)
      : options(std::move(o)), client(c), runtime(r), images(i), clock(k), recorder(c, k, "kubelet", options.node_name),
        volumes(c, options.data_dir + "/pods"), user_namespaces(options.data_dir + "/pods"), image_manager(i, k), objects(c), status(c, k) {}

  EnvironmentSources sources(const core::v1::Pod& pod);
};

}  // namespace kcube::kubelet
