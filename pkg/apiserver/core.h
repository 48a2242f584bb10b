// What the parts of the API server share, and the one description of a write that they pass along.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/apiserver/cache.h"
#include "pkg/apiserver/machinery/decode.h"
#include "pkg/apiserver/registry.h"
#include "pkg/auth/auth.h"
#include "pkg/base/clock.h"
#include "pkg/store/store.h"

namespace kcube::apiserver {

class ServiceAllocator;
class Authorizer;
class WebhookClient;
class AdmissionControl;
class ObservedResponder;
namespace audit {
class Record;
}

// Owned by the Server; everything here is thread-safe and outlives every request.
struct Core {
  store::Store& store;
  Cache& cache;
  const Registry& registry;
  Clock& clock;
  ServiceAllocator& services;
  Authorizer& authorizer;
  WebhookClient& webhooks;
  AdmissionControl& admission;

  // The cached object of a stored resource, or null: `get("", "namespaces", "", "default")`.
  ObjectPtr get(std::string_view group, std::string_view resource, std::string_view ns, std::string_view name) const {
    const ResourceCache* c = cache.find(group, resource);
    return c == nullptr ? nullptr : c->get(ns, name);
  }
};

// One authenticated request about one resource.
struct Call {
  auth::User user;
  ResourcePtr resource;
  std::string ns, name;              // `ns` is empty for cluster-scoped resources
  bool dry_run = false;
  bool trusted = false;              // a part of this process: authorization does not apply
  bool admitted = false;             // part of a larger request that has been through admission
  std::string field_manager;
  machinery::FieldValidation field_validation = machinery::FieldValidation::warn;
  std::vector<std::string> warnings; // for Warning headers
  std::map<std::string, std::string> audit_annotations;   // of admission, for the audit log
  std::function<void()> take_back;   // undoes what admission did beside the object, when the write then fails; may be null
  bool cbor = false;                 // the body is CBOR, whose decoder has its own words
  std::vector<machinery::Emptied> emptied;   // of the body, for what the rules say of it
  bool deep = false;                 // the body nests deeper than json::kUsualDepth; what is left of it must not
  // What the text of the body says that its value does not, as it is told or refused: fields that are there twice. It comes
  // before the unknown fields, or with them in the order of the text.
  std::vector<std::string> problems;
  enum class Problems { before, whole } problems_are = Problems::before;

  ObservedResponder* observed = nullptr;                  // who measures the request; null for parts of this process
  std::shared_ptr<audit::Record> audit;                   // null when the request is not recorded

  void warn(std::string text) { warnings.push_back(std::move(text)); }
};

enum class Operation { create, update, remove, connect };

}  // namespace kcube::apiserver
