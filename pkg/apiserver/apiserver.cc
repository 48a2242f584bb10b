#include "pkg/apiserver/apiserver.h"

#include "pkg/apiserver/admission/control.h"
#include "pkg/apiserver/bootstrap.h"
#include "pkg/apiserver/extension/definitions.h"
#include "pkg/apiserver/flow_configurator.h"
#include "pkg/apiserver/local_backend.h"
#include "pkg/apiserver/router.h"
#include "pkg/apiserver/service_allocator.h"
#include "pkg/apiserver/webhook_client.h"
#include "pkg/base/log.h"

namespace kcube::apiserver {
namespace {

class ServerImpl final : public Server {
 public:
  ServerImpl(Options options, store::Store& store, Clock& clock, std::unique_ptr<auth::TokenSigner> signer)
      : options_(settled(std::move(options))),
        registry_(api::Schema::builtin(), cache_),
        allocator_(options_.service_cidr, options_.node_port_first, options_.node_port_last),
        authorizer_(cache_),
        core_{store, cache_, registry_, clock, allocator_, authorizer_, webhooks_, admission_},
        webhooks_(core_),
        admission_(core_),
        engine_(core_),
        signer_(std::move(signer)),
        connector_(core_, {options_.ca_pem, options_.kubelet_client.certificate_pem, options_.kubelet_client.key_pem, "", true}),
        aggregator_(engine_, connector_.forwarder(), options_.proxy_client),
        definitions_(engine_, cache_, webhooks_, {[this](const extension::CustomResources& all) { serve_custom(all); }, [this](const ResourceCache& cache) { end_watches(cache); }}) {}
  ~ServerImpl() override { stop(); }

  Result<void> open() {
    if (auto done = admission_.configure(options_.admission); !done) return done;
    auto authenticator = Authenticator::create(cache_, core_.clock, *signer_, options_.security);
    if (!authenticator) return fail(authenticator.error());
    authenticator_ = std::move(*authenticator);
    authorizer_.configure(options_.security.authorizers, core_.clock);
    auto auditor = audit::Auditor::create(options_.security, core_.clock);
    if (!auditor) return fail(auditor.error());
    auditor_ = std::move(*auditor);
    reviews_ = std::make_unique<Reviews>(engine_, *authenticator_);
    documents_ = std::make_unique<Documents>(api::Schema::builtin(), *authenticator_, aggregator_, options_.version, options_.ca_pem, options_.health_checks);
    http::ServerOptions http;
    http.address = options_.address;
    http.port = options_.port;
    http.tls_options = trusting(options_.tls);
    // Threads are made when handlers block; the bound has to be above what flow control lets in.
    http.max_threads += static_cast<size_t>(gateway().max_requests + gateway().max_mutating_requests);
    auto server = http::Server::create(std::move(http), [this](http::Request& request, std::unique_ptr<http::Responder> responder) { router_->handle(request, std::move(responder)); });
    if (!server) return fail(server.error());
    http_ = std::move(*server);
    services_ = cache_.find("", "services");
    if (gateway().priority_and_fairness) {
      flow_ = std::make_unique<flowcontrol::FlowControl>(flowcontrol::FlowControlOptions{gateway().max_requests + gateway().max_mutating_requests}, core_.clock, [this](std::function<void()> task) { http_->run(std::move(task)); });
      flow_configurator_ = std::make_unique<FlowConfigurator>(engine_, cache_, *flow_);
    }
    auto loaded = cache_.load(core_.store, [this](std::vector<EventPtr> events) { on_events(std::move(events)); });
    if (!loaded) return fail(loaded.error());
    allocator_.load(*services_);
    {
      std::lock_guard lock(hubs_mutex_);
      local_hub_ = std::make_unique<Hub>("watch-local", cache_, core_.store);
      http_hub_ = std::make_unique<Hub>("watch-http", cache_, core_.store);
      converting_hub_ = std::make_unique<Hub>("watch-convert", cache_, core_.store);
    }
    local_ = make_local_backend(engine_, *reviews_, *local_hub_, auditor_.get());
    diagnostics_ = std::make_unique<Diagnostics>(Diagnostics::Sources{registry_, cache_, core_.clock, gateway(), metrics_, admission_, allocator_, core_.store, flow_.get(), [this] { return auditor_ ? auditor_->events() : 0; }, options_.security.gates, options_.version});
    router_ = std::make_unique<Router>(Services{core_, engine_, *http_hub_, *converting_hub_, *reviews_, connector_, aggregator_, *authenticator_, authorizer_, *documents_, auditor_.get(), metrics_, flow_.get(), gateway(), *diagnostics_, options_.security.gates});
    definitions_.start();
    if (auto done = bootstrap(engine_, {options_.ca_pem, options_.security.request_header, options_.advertise_address, http_->port()}); !done) return done;
    if (flow_configurator_) flow_configurator_->start();
    return {};
  }

  Result<void> start() override {
    http_->start();
    aggregator_.start();
    return {};
  }
  void stop() override {
    if (flow_configurator_) flow_configurator_->stop();
    if (http_) http_->stop(std::chrono::milliseconds(500));
    if (flow_) flow_->stop();
    aggregator_.stop();
    connector_.stop();
    definitions_.stop();
    admission_.stop();
    if (http_hub_) http_hub_->stop();
    if (converting_hub_) converting_hub_->stop();
    if (local_hub_) local_hub_->stop();
  }
  client::LocalBackend& local() override { return *local_; }
  uint16_t port() const override { return http_->port(); }
  Result<void> set_certificate(const http::TlsOptions& tls) override { return http_->set_certificate(trusting(tls)); }

 private:
  const GatewayOptions& gateway() const { return options_.security.gateway; }

  void serve_custom(const extension::CustomResources& all) {
    auto resources = std::make_shared<Registry::Dynamic>();
    for (const auto& one : all) one->add_to(*resources, one);
    registry_.set_dynamic(std::move(resources));
    documents_->set_custom(all);
  }

  void end_watches(const ResourceCache& cache) {
    http_hub_->end_watches(cache);
    converting_hub_->end_watches(cache);
  }

  // What the flags leave open.
  static Options settled(Options o) {
    SecurityOptions& s = o.security;
    if (s.service_account_issuers.empty()) s.service_account_issuers = {o.issuer};
    if (s.api_audiences.empty()) s.api_audiences = s.service_account_issuers;
    if (s.jwks_uri.empty()) s.jwks_uri = s.service_account_issuers[0] + "/openid/v1/jwks";
    if (s.proxy_client) o.proxy_client = *s.proxy_client;
    if (s.request_header.ca_pem.empty() && !o.proxy_ca_pem.empty())
      s.request_header = {o.proxy_ca_pem, {"front-proxy-client"}, {"X-Remote-User"}, {"X-Remote-Uid"}, {"X-Remote-Group"}, {"X-Remote-Extra-"}};
    s.service_account_keys_pem.insert(s.service_account_keys_pem.begin(), o.service_account_key_pem);
    return o;
  }
  // Clients' certificates may be by any of these; who they are then is the authenticator's.
  http::TlsOptions trusting(http::TlsOptions tls) const {
    tls.client_ca_pem += options_.security.client_ca_pem + options_.security.request_header.ca_pem;
    return tls;
  }
  // The store's writer thread.
  void on_events(std::vector<EventPtr> events) {
    for (const EventPtr& event : events) {
      if (event->cache == services_) allocator_.observe(*event);
      definitions_.observe(*event);
      aggregator_.observe(*event);
      if (flow_configurator_) flow_configurator_->observe(*event);
    }
    auto shared = std::make_shared<const std::vector<EventPtr>>(std::move(events));
    std::lock_guard lock(hubs_mutex_);
    if (local_hub_) local_hub_->publish(shared);
    if (http_hub_) http_hub_->publish(shared);
    if (converting_hub_ && !converting_hub_->idle()) converting_hub_->publish(shared);
  }

  const Options options_;
  Cache cache_;
  Registry registry_;
  ServiceAllocator allocator_;
  Authorizer authorizer_;
  Core core_;
  WebhookClient webhooks_;
  AdmissionControl admission_;
  Engine engine_;
  std::unique_ptr<auth::TokenSigner> signer_;
  std::unique_ptr<Authenticator> authenticator_;
  std::unique_ptr<audit::Auditor> auditor_;
  std::unique_ptr<Reviews> reviews_;
  Connector connector_;
  Aggregator aggregator_;
  std::unique_ptr<Documents> documents_;
  extension::Definitions definitions_;
  const ResourceCache* services_ = nullptr;
  std::mutex hubs_mutex_;
  std::unique_ptr<Hub> local_hub_, http_hub_, converting_hub_;
  std::unique_ptr<client::LocalBackend> local_;
  RequestMetrics metrics_;
  std::unique_ptr<flowcontrol::FlowControl> flow_;                 // null: switched off
  std::unique_ptr<FlowConfigurator> flow_configurator_;
  std::unique_ptr<Diagnostics> diagnostics_;
  std::unique_ptr<Router> router_;
  std::unique_ptr<http::Server> http_;   // last: its threads end before what they use
};

}  // namespace

Result<std::unique_ptr<Server>> Server::create(Options options, store::Store& store, Clock& clock) {
  std::string own_key = options.service_account_key_pem;
  if (!options.security.service_account_signing_key_pem.empty()) {
    // Tokens made before are good until they end.
    options.security.service_account_keys_pem.push_back(std::move(own_key));
    own_key = options.service_account_key_pem = options.security.service_account_signing_key_pem;
  }
  auto signer = auth::TokenSigner::create(own_key);
  if (!signer) return fail(signer.error().with_context("the service account signing key"));
  auto server = std::make_unique<ServerImpl>(std::move(options), store, clock, std::move(*signer));
  if (auto opened = server->open(); !opened) return fail(opened.error());
  return server;
}

}  // namespace kcube::apiserver
