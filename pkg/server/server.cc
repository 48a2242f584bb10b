#include "pkg/server/server.h"

#include <algorithm>

#include "pkg/apiserver/apiserver.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"
#include "pkg/client/wait.h"
#include "pkg/controllers/set.h"
#include "pkg/http/client.h"
#include "pkg/scheduler/scheduler.h"
#include "pkg/server/addons.h"
#include "pkg/server/encryption.h"
#include "pkg/server/kubeconfig.h"
#include "pkg/server/pki.h"
#include "pkg/store/store.h"

namespace kcube::server {
namespace {

constexpr auto kNodeReadyDeadline = std::chrono::seconds(60);

std::string first_service_address(const std::string& cidr) {
  // "10.43.0.0/16" has "10.43.0.1" first.
  std::string base = cidr.substr(0, cidr.find('/'));
  return base.substr(0, base.rfind('.')) + ".1";
}

class ServerImpl final : public Server {
 public:
  ServerImpl(Options options, Clock& clock) : options_(std::move(options)), clock_(clock) {}
  ~ServerImpl() override { stop(); }

  Result<void> open() {
    for (const char* sub : {"/server", "/server/db"})
      if (auto made = file::make_dirs(options_.data_dir + sub, 0700); !made) return made;
    auto lock = file::lock(options_.data_dir + "/server/lock");
    if (!lock) {
      if (!lock.error().is_conflict()) return fail(lock.error());
      return fail(Status(409, "KC_ALREADY_RUNNING", "a kcube already runs on " + options_.data_dir + ": see `kcube status`, or use --name or --data-dir for another cluster"));
    }
    lock_ = std::move(*lock);
    if (auto done = open_pki_files(); !done) return done;
    if (auto done = open_token(); !done) return done;
    step("certificates");
    auto security = apiserver::read_security_flags(options_.api_flags);
    if (!security) return fail(security.error());
    security_ = std::move(*security);
    auto store = store::open_sqlite({.path = options_.data_dir + "/server/db/state.db"});
    if (!store) return fail(store.error().with_context("open the database"));
    store_ = std::move(*store);
    if (auto done = open_encryption(); !done) return done;
    const std::string& other = security_.service_account_signing_key_pem;
    auto signer = auth::TokenSigner::create(other.empty() ? pki_.service_account_key_pem : other);
    if (!signer) return fail(signer.error().with_context("the service account signing key"));
    signer_ = std::move(*signer);
    return open_api();
  }

  Result<void> start() override {
    if (auto started = api_->start(); !started) return started;
    if (auto written = write_kubeconfig(); !written) return written;
    addons_client_ = client::local_client(api_->local(), "system:kcube-addons", {"system:masters"});
    if (auto made = ensure_addons(*addons_client_, {options_.node.network, token_}); !made) return made;
    step("API server");
    start_control_plane();
    step("controllers and scheduler");
    if (!options_.run_node) return {};
    return start_node();
  }

  void stop() override {
    if (agent_) agent_->stop();
    if (scheduler_) scheduler_->stop();
    if (controllers_) controllers_->stop();
    if (api_) api_->stop();
  }
  void shut_down(std::chrono::milliseconds limit) override {
    if (agent_) agent_->stop_pods(limit);
    stop();
  }

 private:
  void step(std::string_view what) {
    if (options_.progress) options_.progress(what);
  }

  Result<void> open_pki_files() {
    PkiOptions p;
    p.directory = options_.data_dir + "/server/tls";
    p.node_name = options_.node.node_name;
    p.node_ip = options_.node.node_ip;
    const std::string& domain = options_.node.network.cluster_domain;
    p.dns_names = {"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + domain, options_.node.node_name};
    p.ip_addresses = {"127.0.0.1", options_.advertise_address, first_service_address(options_.node.network.service_cidr)};
    for (const std::string& san : options_.tls_sans) {
      bool address = san.find_first_not_of("0123456789.") == std::string::npos || san.find(':') != std::string::npos;
      (address ? p.ip_addresses : p.dns_names).push_back(san);
    }
    auto pki = open_pki(p, clock_);
    if (!pki) return fail(pki.error());
    pki_ = std::move(*pki);
    return {};
  }

  // server/token: what `kcube agent --token` takes.
  Result<void> open_token() {
    const std::string path = options_.data_dir + "/server/token";
    if (auto text = file::read(path)) {
      auto parsed = auth::JoinToken::parse(std::string(trim(*text)));
      if (!parsed) return fail(parsed.error().with_context(path));
      token_ = std::move(*parsed);
      return {};
    }
    auto hash = auth::certificate_hash(pki_.ca.certificate_pem);
    if (!hash) return fail(hash.error());
    token_ = auth::JoinToken::make(*hash);
    return file::write_atomic(path, token_.to_string() + "\n", 0600);
  }

  // Plugins may be started with us: for a moment we wait for them. Then the server starts anyway, is not ready, and fails if
  // there is something that only they can decrypt.
  static void wait_for_plugins(const KmsProviders& providers) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    for (const auto& provider : providers) {
      auto well = provider->check();
      // Nothing tells when a stranger's socket is there; check() itself asks at most every three seconds.
      while (!well && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
        well = provider->check();
      }
      if (!well) log::warn("server", "a KMS plugin is not well", {{"error", well.error()}});
    }
  }

  // What --encryption-provider-config says of the database.
  Result<void> open_encryption() {
    auto flag = [&](const char* name) {
      auto it = options_.api_flags.find(name);
      return it == options_.api_flags.end() || it->second.empty() ? std::string() : it->second.back();
    };
    std::string path = flag("encryption-provider-config");
    if (path.empty()) return {};
    auto text = file::read(path);
    auto encryption = text ? parse_encryption(*text, clock_) : fail(text.error());
    if (!encryption) return fail(encryption.error().with_context("--encryption-provider-config"));
    wait_for_plugins(encryption->kms);
    kms_health_.set(encryption->kms);
    auto encrypted = std::make_unique<store::EncryptedStore>(std::move(store_), std::move(encryption->rules));
    const bool reload = flag("encryption-provider-config-automatic-reload") == "true";
    // A file that is read again may name plugins later.
    if (reload || !encryption->kms.empty()) health_checks_.push_back({"kms-providers", [this] { return kms_health_.check(); }});
    if (reload) {
      auto watcher = EncryptionWatcher::start(path, *encrypted, kms_health_, clock_);
      if (!watcher) return fail(watcher.error());
      encryption_watcher_ = std::move(*watcher);
    }
    store_ = std::move(encrypted);
    return {};
  }

  Result<void> open_api() {
    apiserver::Options a;
    a.security = security_;
    a.health_checks = health_checks_;
    a.address = options_.address;
    a.port = options_.port;
    a.tls = {pki_.api_server.certificate_pem, pki_.api_server.key_pem, pki_.ca.certificate_pem};
    a.ca_pem = pki_.ca.certificate_pem;
    a.kubelet_client = pki_.kubelet_client;
    a.proxy_client = pki_.proxy_client;
    a.proxy_ca_pem = pki_.proxy_ca.certificate_pem;
    a.service_account_key_pem = pki_.service_account_key_pem;
    a.issuer = "https://kubernetes.default.svc." + options_.node.network.cluster_domain;
    a.advertise_address = options_.advertise_address;
    a.service_cidr = options_.node.network.service_cidr;
    a.version = options_.node.version;
    a.admission = options_.admission;
    auto api = apiserver::Server::create(std::move(a), *store_, clock_);
    if (!api) return fail(api.error());
    api_ = std::move(*api);
    return {};
  }

  Result<void> write_kubeconfig() {
    std::string context = options_.name == "kcube" ? "kcube" : "kcube-" + options_.name;
    KubeconfigEntry entry{context, "https://" + options_.advertise_address + ":" + std::to_string(api_->port()), pki_.ca.certificate_pem, pki_.admin};
    return file::write_atomic(options_.data_dir + "/server/kubeconfig.yaml", kubeconfig_text(entry), 0600);
  }

  void start_control_plane() {
    kubelets_ = http::Client::create({.ca_pem = pki_.ca.certificate_pem, .certificate_pem = pki_.kubelet_client.certificate_pem, .key_pem = pki_.kubelet_client.key_pem});
    controllers_client_ = client::local_client(api_->local(), "system:kube-controller-manager", {"system:masters"});
    scheduler_client_ = client::local_client(api_->local(), "system:kube-scheduler", {"system:masters"});
    controllers::Options c;
    c.ca_pem = pki_.ca.certificate_pem;
    c.ca_key_pem = pki_.ca.key_pem;
    c.sign_token = [this](const std::string& claims) { return signer_->sign(claims); };
    c.cluster_cidr = options_.node.network.cluster_cidr;
    c.disabled = options_.disabled_controllers;
    c.local_path_root = options_.data_dir + "/storage";
    c.remove_local_path = [this](const std::string& node, const std::string& path) { return remove_local_path(node, path); };
    controllers_ = controllers::ControllerSet::create(*controllers_client_, clock_, std::move(c));
    controllers_->start();
    if (std::ranges::find(options_.disabled_controllers, "scheduler") != options_.disabled_controllers.end()) return;
    scheduler_ = scheduler::Scheduler::create(*scheduler_client_, clock_, {});
    scheduler_->start();
  }

  // What a volume of the class "local-path" held: here, or by the kubelet of the node where it is.
  Result<void> remove_local_path(const std::string& node, const std::string& path) {
    if (file::exists(path)) return file::remove_tree(path);
    if (options_.run_node && node == options_.node.node_name) return {};
    auto object = addons_client_->get({"", "v1", "nodes"}, "", node);
    if (!object) return object.error().is_not_found() ? Result<void>() : fail(object.error());
    std::string address;
    for (const json::value& a : json::get_array(json::at(&(*object)->value(), {"status", "addresses"})))
      if (json::get_string(a, {"type"}) == "InternalIP") address = json::get_string(a, {"address"});
    int64_t port = json::get_int((*object)->value(), {"status", "daemonEndpoints", "kubeletEndpoint", "Port"}, 10250);
    if (address.empty()) return fail(Status::unavailable("node " + node + " has no address"));
    http::ClientRequest request{.method = "DELETE", .url = "https://" + address + ":" + std::to_string(port) + "/localPath" + path};
    auto response = kubelets_->send(request);
    if (!response) return fail(response.error());
    return response->status == 200 ? Result<void>() : fail(Status::internal("node " + node + ": " + response->body));
  }

  Result<void> start_node() {
    agent::Options n = options_.node;
    n.data_dir = options_.data_dir + "/agent";
    n.kubelet_tls = {pki_.kubelet.certificate_pem, pki_.kubelet.key_pem, pki_.ca.certificate_pem};
    std::string name = n.node_name;
    node_client_ = client::local_client(api_->local(), "system:node:" + name, {"system:nodes", "system:authenticated"});
    auto agent = agent::Agent::create(std::move(n), *node_client_, clock_);
    if (!agent) return fail(agent.error());
    agent_ = std::move(*agent);
    if (auto started = agent_->start(); !started) return started;
    step("node started");
    if (auto ready = wait_ready(name); !ready) return ready;
    // A kubelet may not give itself a role.
    json::object labels{{"node-role.kubernetes.io/control-plane", "true"}};
    auto labelled = addons_client_->patch({"", "v1", "nodes"}, "", name, client::PatchType::merge, json::object{{"metadata", json::object{{"labels", std::move(labels)}}}});
    if (!labelled) return fail(labelled.error());
    step("node ready");
    return {};
  }

  Result<void> wait_ready(const std::string& name) {
    std::string reason = "it has not registered";
    auto ready = [&](const json::value& node) {
      for (const json::value& c : json::get_array(json::at(&node, {"status", "conditions"}))) {
        if (json::get_string(c, {"type"}) != "Ready") continue;
        reason = json::get_string(c, {"message"});
        return json::get_string(c, {"status"}) == "True";
      }
      return false;
    };
    auto node = client::wait_for(*addons_client_, {"", "v1", "nodes"}, "", name, ready, kNodeReadyDeadline, "the node to become Ready");
    if (node) return {};
    return fail(node.error().code() == 504 ? Status::timeout("the node to become Ready: " + reason) : node.error());
  }

  const Options options_;
  Clock& clock_;
  Fd lock_;
  Pki pki_;
  auth::JoinToken token_;
  apiserver::SecurityOptions security_;
  std::unique_ptr<auth::TokenSigner> signer_;
  std::unique_ptr<store::Store> store_;
  KmsHealth kms_health_;
  std::vector<apiserver::HealthCheck> health_checks_;
  std::unique_ptr<EncryptionWatcher> encryption_watcher_;
  std::unique_ptr<apiserver::Server> api_;
  std::unique_ptr<client::Client> addons_client_, controllers_client_, scheduler_client_, node_client_;
  std::unique_ptr<http::Client> kubelets_;
  std::unique_ptr<controllers::ControllerSet> controllers_;
  std::unique_ptr<scheduler::Scheduler> scheduler_;
  std::unique_ptr<agent::Agent> agent_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::create(Options options, Clock& clock) {
  auto server = std::make_unique<ServerImpl>(std::move(options), clock);
  if (auto opened = server->open(); !opened) return fail(opened.error());
  return server;
}

}  // namespace kcube::server
