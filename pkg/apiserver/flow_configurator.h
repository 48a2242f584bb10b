// Follows the stored FlowSchemas and PriorityLevelConfigurations: hands them to FlowControl, keeps those that every server
// has as they are to be, and says of each FlowSchema whether its level exists.
//
// Works on an executor's thread when one of them changes, and never otherwise. Source: the Kubernetes docs on API Priority
// and Fairness (mandatory and suggested objects, maintenance); managers and conditions as kube-apiserver writes them.
#pragma once

#include <atomic>

#include "pkg/apiserver/engine.h"
#include "pkg/apiserver/flowcontrol/flow_control.h"
#include "pkg/base/executor.h"

namespace kcube::apiserver {

class FlowConfigurator {
 public:
  FlowConfigurator(Engine& engine, Cache& cache, flowcontrol::FlowControl& flow);
  ~FlowConfigurator() { stop(); }
  // Makes what is missing and takes effect, before requests come; follows from then on.
  void start();
  void stop();
  // The store's writer thread.
  void observe(const Event& event);

 private:
  void follow();
  void maintain();
  void maintain_one(const json::value& wanted, bool mandatory);
  void remove_outdated();
  void report(const api::Object& schema);
  Call call(std::string_view kind, std::string_view name, const char* manager) const;
  const ResourceCache& cache_of(std::string_view kind) const { return kind == "FlowSchema" ? *schemas_ : *levels_; }

  Engine& engine_;
  flowcontrol::FlowControl& flow_;
  const ResourceCache *schemas_ = nullptr, *levels_ = nullptr;
  std::atomic<bool> started_{false}, pending_{false};
  Executor executor_;
};

}  // namespace kcube::apiserver
