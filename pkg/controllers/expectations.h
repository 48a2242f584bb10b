// Expectations: what a controller has asked for and its informers have not shown yet. A key with open expectations is
// not acted upon, so that a lagging cache never leads to creating or deleting twice. They lapse after five minutes.
// Thread-safe. Source: the behaviour of kube-controller-manager's UIDTrackingControllerExpectations.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>

#include "pkg/base/clock.h"

namespace kcube::controllers {

class Expectations {
 public:
  explicit Expectations(Clock& clock) : clock_(clock) {}

  // Before the calls are made.
  void expect_creations(const std::string& key, int count);
  void expect_deletions(const std::string& key, std::set<std::string> uids);
  // Seen, or known not to come because the call failed.
  void creation_observed(const std::string& key);
  void deletion_observed(const std::string& key, std::string_view uid);
  // Nothing is outstanding (or has been for too long).
  bool satisfied(const std::string& key);
  void forget(const std::string& key);

 private:
  struct Open {
    int creations = 0;
    std::set<std::string, std::less<>> deletions;
    SteadyTime since;
  };
  Clock& clock_;
  std::mutex mutex_;
  std::map<std::string, Open> open_;
};

}  // namespace kcube::controllers
