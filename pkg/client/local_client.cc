#include "pkg/client/client.h"

namespace kcube::client {
namespace {

class LocalClient final : public Client {
 public:
  LocalClient(LocalBackend& backend, std::string user, std::vector<std::string> groups)
      : backend_(backend), user_(std::move(user)), groups_(std::move(groups)) {}

  Result<ObjectPtr> get(const GroupVersionResource& resource, std::string_view ns, std::string_view name) override {
    return backend_.get(call(resource, ns, name));
  }
  Result<ObjectList> list(const GroupVersionResource& resource, std::string_view ns, const ListOptions& options) override {
    return backend_.list(call(resource, ns), options);
  }
  Result<ObjectPtr> create(const GroupVersionResource& resource, std::string_view ns, const json::value& object,
                           std::string_view subresource, std::string_view name) override {
    return backend_.create(call(resource, ns, name, subresource), object);
  }
  Result<ObjectPtr> update(const GroupVersionResource& resource, std::string_view ns, std::string_view name, const json::value& object,
                           std::string_view subresource) override {
    return backend_.update(call(resource, ns, name, subresource), object);
  }
  Result<ObjectPtr> patch(const GroupVersionResource& resource, std::string_view ns, std::string_view name, PatchType type,
                          const json::value& patch, std::string_view subresource) override {
    return backend_.patch(call(resource, ns, name, subresource), type, patch);
  }
  Result<void> remove(const GroupVersionResource& resource, std::string_view ns, std::string_view name,
                      const DeleteOptions& options) override {
    return backend_.remove(call(resource, ns, name), options);
  }
  Result<std::unique_ptr<Watch>> watch(const GroupVersionResource& resource, std::string_view ns, const ListOptions& options,
                                       std::function<void(const WatchEvent&)> sink) override {
    return backend_.watch(call(resource, ns), options, std::move(sink));
  }

 private:
  LocalCall call(const GroupVersionResource& resource, std::string_view ns, std::string_view name = {}, std::string_view subresource = {}) {
    return {user_, groups_, resource, std::string(ns), std::string(name), std::string(subresource)};
  }

  LocalBackend& backend_;
  std::string user_;
  std::vector<std::string> groups_;
};

}  // namespace

std::unique_ptr<Client> local_client(LocalBackend& backend, std::string user, std::vector<std::string> groups) {
  return std::make_unique<LocalClient>(backend, std::move(user), std::move(groups));
}

}  // namespace kcube::client
