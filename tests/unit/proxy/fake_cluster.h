// An API server in memory for tests of parts that only read: lists and watches of what put() and remove() were told.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "pkg/client/client.h"

namespace kcube::test {

class FakeCluster final : public client::Client {
 public:
  // `text` is an object as JSON; its resource follows from its kind.
  void put(const std::string& text);
  void remove(const std::string& resource, const std::string& key);

  Result<api::ObjectPtr> get(const api::GroupVersionResource& resource, std::string_view ns,
                             std::string_view name) override;
  Result<client::ObjectList> list(const api::GroupVersionResource& resource, std::string_view ns,
                                  const client::ListOptions& options) override;
  Result<api::ObjectPtr> create(const api::GroupVersionResource&, std::string_view, const json::value&,
                                std::string_view, std::string_view) override;
  Result<api::ObjectPtr> update(const api::GroupVersionResource&, std::string_view, std::string_view,
                                const json::value&, std::string_view) override;
  Result<api::ObjectPtr> patch(const api::GroupVersionResource&, std::string_view, std::string_view, client::PatchType,
                               const json::value&, std::string_view) override;
  Result<void> remove(const api::GroupVersionResource&, std::string_view, std::string_view,
                      const client::DeleteOptions&) override;
  Result<std::unique_ptr<client::Watch>> watch(const api::GroupVersionResource& resource, std::string_view ns,
                                               const client::ListOptions& options,
                                               std::function<void(const client::WatchEvent&)> sink) override;

 private:
  struct Watcher;
  struct Registration;
  void tell(const std::string& resource, client::WatchEvent event);

  std::mutex mutex_;
  uint64_t revision_ = 0;
  std::map<std::string, std::map<std::string, api::ObjectPtr>> objects_;  // resource -> key -> object
  std::map<std::string, std::list<client::WatchEvent>> log_;
  std::list<std::shared_ptr<Watcher>> watchers_;
};

}  // namespace kcube::test
