// OciContainer: one container of the command line, found again by every invocation. Private to oci/.
//
// Layout: <root>/<id>/bundle (the bundle's path), container (the runtime's id), state/ and data/ (the runtime's).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/image_store.h"
#include "runtime/oci/bundle.h"
#include "runtime/runtime_impl.h"

namespace kcube::runtime::oci {

struct State {
  std::string id, status, bundle;  // status: "created", "running" or "stopped"
  int pid = 0;
  int exit_code = 0;
  Labels annotations;
};

class OciContainer {
 public:
  // Makes everything but does not start it. On failure nothing stays. Must run before the process has other threads:
  // it enters the container's namespaces.
  static Result<OciContainer> create(const std::string& root, const std::string& id, const Bundle& bundle);
  // 404 when there is none.
  static Result<OciContainer> open(const std::string& root, const std::string& id);

  Result<State> state();
  Result<void> start();
  Result<void> kill(int signal);
  // Ends what runs and removes all of it.
  Result<void> remove();
  RuntimeImpl& runtime() { return *runtime_; }
  const std::string& container_id() const { return container_id_; }

 private:
  Result<void> open_runtime(bool own_stdio);
  Result<void> fill(const Bundle& bundle);
  Result<void> run_hooks(const std::vector<Hook>& hooks);

  std::string directory_, id_, bundle_, sandbox_id_, container_id_;
  std::unique_ptr<ImageStore> images_;
  std::unique_ptr<RuntimeImpl> runtime_;
};

// As the specification's state object.
std::string to_json(const State& state);
bool valid_id(const std::string& id);

}  // namespace kcube::runtime::oci
