#include "pkg/controllers/expectations.h"

namespace kcube::controllers {
namespace {
constexpr auto kLapse = std::chrono::minutes(5);
}

void Expectations::expect_creations(const std::string& key, int count) {
  std::lock_guard lock(mutex_);
  Open& open = open_[key];
  open.creations += count;
  open.since = clock_.steady_now();
}

void Expectations::expect_deletions(const std::string& key, std::set<std::string> uids) {
  std::lock_guard lock(mutex_);
  Open& open = open_[key];
  open.deletions.insert(uids.begin(), uids.end());
  open.since = clock_.steady_now();
}

void Expectations::creation_observed(const std::string& key) {
  std::lock_guard lock(mutex_);
  auto it = open_.find(key);
  if (it != open_.end() && it->second.creations > 0) --it->second.creations;
}

void Expectations::deletion_observed(const std::string& key, std::string_view uid) {
  std::lock_guard lock(mutex_);
  auto it = open_.find(key);
  if (it == open_.end()) return;
  if (auto found = it->second.deletions.find(uid); found != it->second.deletions.end()) it->second.deletions.erase(found);
}

bool Expectations::satisfied(const std::string& key) {
  std::lock_guard lock(mutex_);
  auto it = open_.find(key);
  if (it == open_.end()) return true;
  const Open& open = it->second;
  if ((open.creations > 0 || !open.deletions.empty()) && clock_.steady_now() - open.since < kLapse) return false;
  open_.erase(it);
  return true;
}

void Expectations::forget(const std::string& key) {
  std::lock_guard lock(mutex_);
  open_.erase(key);
}

}  // namespace kcube::controllers
