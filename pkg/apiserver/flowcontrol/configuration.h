// FlowSchemas and PriorityLevelConfigurations as requests meet them: compiled once, immutable, in matching order.
// Pure; any thread. Source: the Kubernetes docs on API Priority and Fairness, the API reference of flowcontrol/v1.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/auth/auth.h"

namespace kcube::flowcontrol {

struct PriorityLevelSpec {
  std::string name, uid;
  bool exempt = false;
  int64_t nominal_shares = 30, lendable_percent = 0;
  std::optional<int64_t> borrowing_limit_percent;
  // Without queues (0) what finds no seat is refused.
  int queues = 0, hand_size = 0, queue_length_limit = 0;

  static PriorityLevelSpec parse(const json::value& object);
  bool operator==(const PriorityLevelSpec&) const = default;
};

class FlowSchema {
 public:
  static FlowSchema parse(const json::value& object);
  // Whether this request is of this schema.
  bool matches(const auth::Attributes& request) const;
  // Which of the schema's flows it belongs to.
  const std::string& flow_of(const auth::Attributes& request) const;

  std::string name, uid, priority_level;
  std::string level_uid;                 // of the level, when that is stored
  int64_t precedence = 1000;

 private:
  enum class Distinguisher { none, by_user, by_namespace };
  struct Subject {
    enum class Kind { user, group, service_account } kind;
    std::string name;                    // "*": all; of service accounts the full user name, or its prefix
    bool all = false;
    bool matches(const auth::User& user) const;
  };
  struct ResourceRule {
    std::vector<std::string> verbs, groups, resources, namespaces;
    bool cluster_scope = false;
    bool matches(const auth::Attributes& request) const;
  };
  struct PathRule {
    std::vector<std::string> verbs, paths;
    bool matches(const auth::Attributes& request) const;
  };
  struct Rule {
    std::vector<Subject> subjects;
    std::vector<ResourceRule> resources;
    std::vector<PathRule> paths;
  };
  Distinguisher distinguisher_ = Distinguisher::none;
  std::vector<Rule> rules_;
};

// What every server has, whatever is stored; the last of it catches all. As objects, for those who store them.
const std::vector<json::value>& mandatory_objects();
// What every server has until somebody changes it.
const std::vector<json::value>& suggested_objects();

}  // namespace kcube::flowcontrol
