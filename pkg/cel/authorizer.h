// The `authorizer` variable: expressions build a question step by step, the caller answers it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pkg/cel/type.h"
#include "pkg/cel/value.h"

namespace kcube::cel {

struct SelectorRequirement {
  std::string key, op;                       // In, NotIn, Exists, DoesNotExist; fields know = (In) and != (NotIn) only
  std::vector<std::string> values;
};

struct AccessQuestion {
  bool resource_request = false;
  std::string path;                          // of a request that is none for a resource
  std::string verb, group, version = "*", resource, subresource, namespace_, name;
  // Parsed selectors; a selector that cannot be parsed leaves its error and no requirements.
  std::vector<SelectorRequirement> field_requirements, label_requirements;
  std::string field_selector_error, label_selector_error;
  // Of authorizer.serviceAccount(namespace, name): ask for that user instead of the request's.
  std::string service_account_namespace, service_account_name;
};

struct AccessAnswer {
  bool allowed = false;
  std::string reason;
  std::optional<std::string> error;
};

// Called by the thread that evaluates; must live longer than the evaluation.
class AccessSource {
 public:
  virtual ~AccessSource() = default;
  virtual AccessAnswer check(const AccessQuestion& question) const = 0;
};

const TypeRef& authorizer_type();            // of `authorizer`
const TypeRef& resource_check_type();        // of `authorizer.requestResource`
Value authorizer_value(const AccessSource& source);
// A check with the request's own group, resource, … filled in.
Value resource_check_value(const AccessSource& source, AccessQuestion question);

}  // namespace kcube::cel
