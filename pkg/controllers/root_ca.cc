// The ConfigMap kube-root-ca.crt of every namespace: how pods know the API server.
#include "pkg/controllers/factories.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using namespace client::resources;

constexpr const char* kName = "kube-root-ca.crt";
constexpr const char* kDescription =
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or "
    "kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

class RootCaController final : public Controller {
 public:
  RootCaController(Context context, std::string ca_pem)
      : Controller(context, "root-ca-certificate-publisher"), ca_pem_(std::move(ca_pem)), namespaces_(follow_own(kNamespaces)),
        maps_(context.informers.informer(kConfigMaps, std::string("metadata.name=") + kName)) {
    auto again = [this](const api::Object& map) {
      if (map.name() == kName) enqueue(std::string(map.namespace_()));
    };
    maps_.add_handlers({.changed = [again](const api::ObjectPtr&, const api::ObjectPtr& now) { again(*now); },
                        .removed = [again](const api::ObjectPtr& last) { again(*last); }});
  }

 private:
  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr ns = namespaces_.get(key);
    if (!ns || ns->deleting()) return {};
    json::object data{{"ca.crt", text(ca_pem_)}};
    api::ObjectPtr current = maps_.get(key, kName);
    Result<api::ObjectPtr> written = current;
    if (!current) {
      json::object metadata{{"name", kName}, {"namespace", text(key)}, {"annotations", json::object{{"kubernetes.io/description", kDescription}}}};
      written = client_.create(kConfigMaps, key,
                               json::object{{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", std::move(metadata)}, {"data", std::move(data)}});
    } else {
      json::value next(current->value());
      next.as_object()["data"] = std::move(data);
      json::ensure_path(next, {"metadata", "annotations"})["kubernetes.io/description"] = kDescription;
      if (equivalent(&next, &current->value())) return {};
      written = client_.update(kConfigMaps, key, kName, next);
    }
    if (written || written.error().reason() == "AlreadyExists") return {};
    if (auto live = client_.get(kNamespaces, "", key); !live || (*live)->deleting()) return {};
    return fail(written.error());
  }

  const std::string ca_pem_;
  client::Informer& namespaces_;
  client::Informer& maps_;
};

}  // namespace

ControllerPtr make_root_ca_controller(Context context, const Options& options) { return std::make_unique<RootCaController>(context, options.ca_pem); }

}  // namespace kcube::controllers
