// Informers: a local, always current copy of one kind of object, and a call for every change.
//
// An informer lists once and watches from there; after a break or a 410 it lists again and delivers the difference.
// Objects are the shared immutable ones of the client (in process: of the API server's cache). Handlers run one after
// the other on the informer's delivery thread and must not block: they add keys to a WorkQueue.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pkg/base/clock.h"
#include "pkg/client/client.h"

namespace kcube::client {

struct Handlers {
  // `before` is null when the object is new.
  std::function<void(const ObjectPtr& before, const ObjectPtr& now)> changed;
  std::function<void(const ObjectPtr& last)> removed;
};

class Informer {
 public:
  virtual ~Informer() = default;
  // Handlers added after the start get a `changed` for what is there already.
  virtual void add_handlers(Handlers handlers) = 0;
  // An index: `keys` names the buckets of an object, e.g. its node. Add before start.
  virtual void add_index(const std::string& name, std::function<std::vector<std::string>(const api::Object&)> keys) = 0;

  virtual bool synced() const = 0;
  virtual void wait_synced() = 0;

  virtual ObjectPtr get(std::string_view ns, std::string_view name) const = 0;   // null when absent
  virtual ObjectPtr get(std::string_view key) const = 0;                          // "ns/name" or "name"
  virtual std::vector<ObjectPtr> list(std::string_view ns = {}) const = 0;
  virtual std::vector<ObjectPtr> by_index(const std::string& name, std::string_view bucket) const = 0;
  virtual size_t size() const = 0;
};

// Hands out one informer for each resource and selector, so that controllers of one process share them.
class InformerFactory {
 public:
  InformerFactory(Client& client, Clock& clock);
  ~InformerFactory();                      // stops every informer
  // Before or after start(); started at once in the latter case.
  Informer& informer(const GroupVersionResource& resource, std::string_view field_selector = {}, std::string_view ns = {});
  void start();
  void wait_synced();
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The resources that kcube's own parts use, by name.
namespace resources {
inline const GroupVersionResource kPods{"", "v1", "pods"}, kNodes{"", "v1", "nodes"}, kServices{"", "v1", "services"},
    kNamespaces{"", "v1", "namespaces"}, kConfigMaps{"", "v1", "configmaps"}, kSecrets{"", "v1", "secrets"},
    kServiceAccounts{"", "v1", "serviceaccounts"}, kEndpoints{"", "v1", "endpoints"}, kEvents{"", "v1", "events"},
    kPersistentVolumes{"", "v1", "persistentvolumes"}, kPersistentVolumeClaims{"", "v1", "persistentvolumeclaims"},
    kReplicationControllers{"", "v1", "replicationcontrollers"}, kLimitRanges{"", "v1", "limitranges"},
    kResourceQuotas{"", "v1", "resourcequotas"},
    kReplicaSets{"apps", "v1", "replicasets"}, kDeployments{"apps", "v1", "deployments"}, kDaemonSets{"apps", "v1", "daemonsets"},
    kStatefulSets{"apps", "v1", "statefulsets"}, kControllerRevisions{"apps", "v1", "controllerrevisions"},
    kJobs{"batch", "v1", "jobs"}, kCronJobs{"batch", "v1", "cronjobs"},
    kEndpointSlices{"discovery.k8s.io", "v1", "endpointslices"}, kLeases{"coordination.k8s.io", "v1", "leases"},
    kCertificateSigningRequests{"certificates.k8s.io", "v1", "certificatesigningrequests"},
    kPriorityClasses{"scheduling.k8s.io", "v1", "priorityclasses"}, kRuntimeClasses{"node.k8s.io", "v1", "runtimeclasses"},
    kPodDisruptionBudgets{"policy", "v1", "poddisruptionbudgets"};
}  // namespace resources

}  // namespace kcube::client
