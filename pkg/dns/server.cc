#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "pkg/base/event_loop.h"
#include "pkg/base/executor.h"
#include "pkg/base/log.h"
#include "pkg/client/informer.h"
#include "pkg/dns/dns.h"
#include "pkg/dns/forwarder.h"
#include "pkg/dns/listener.h"
#include "pkg/dns/service_records.h"
#include "pkg/dns/zone.h"

namespace kcube::dns {
namespace {

constexpr std::string_view kServiceLabel = "kubernetes.io/service-name";
constexpr uint16_t kMinUdp = 512, kMaxUdp = 1232;  // what passes everywhere unfragmented, DNS flag day 2020

std::string service_key(const api::Object& slice) {
  return api::object_key(slice.namespace_(), slice.label(kServiceLabel));
}

class ServerImpl final : public Server {
 public:
  ServerImpl(client::Client& client, Clock& clock, Options options, std::unique_ptr<EventLoop> loop)
      : options_(std::move(options)),
        clock_(clock),
        zone_(options_.domain, options_.listen, options_.node_ip),
        informers_(client, clock),
        loop_(std::move(loop)) {}
  ~ServerImpl() override { stop(); }

  Result<void> start() override {
    forwarder_ = std::make_unique<Forwarder>(*loop_, clock_, options_.resolv_conf, options_.listen);
    listener_ = std::make_unique<Listener>(
        *loop_, [this](std::string_view query, bool tcp, Respond respond) { handle(query, tcp, std::move(respond)); });
    for (const std::string& address : options_.listen)
      if (auto r = listener_->open(address, options_.port); !r) return r;
    follow();
    thread_ = std::thread([this] {
      set_thread_name("dns");
      loop_->run();
    });
    return {};
  }

  void stop() override {
    if (std::exchange(stopped_, true)) return;
    informers_.stop();
    loop_->stop();
    if (thread_.joinable()) thread_.join();
    forwarder_.reset();  // who waits for it hears nothing more
    listener_.reset();
  }

 private:
  void follow() {
    services_ = &informers_.informer(client::resources::kServices);
    slices_ = &informers_.informer(client::resources::kEndpointSlices);
    slices_->add_index("service",
                       [](const api::Object& slice) { return std::vector<std::string>{service_key(slice)}; });
    services_->add_handlers(
        {.changed = [this](const api::ObjectPtr&, const api::ObjectPtr& now) { refresh(now->key()); },
         .removed = [this](const api::ObjectPtr& last) { refresh(last->key()); }});
    slices_->add_handlers({.changed =
                               [this](const api::ObjectPtr& before, const api::ObjectPtr& now) {
                                 if (before && service_key(*before) != service_key(*now)) refresh(service_key(*before));
                                 refresh(service_key(*now));
                               },
                           .removed = [this](const api::ObjectPtr& last) { refresh(service_key(*last)); }});
    informers_.start();
  }

  // What is known now, whoever calls: the last of two at the same time sees both changes.
  void refresh(const std::string& key) {
    std::lock_guard lock(refresh_mutex_);
    api::ObjectPtr service = services_->get(key);
    zone_.set(key, service ? service_records(*service, slices_->by_index("service", key), zone_.domain())
                           : std::vector<Record>());
  }

  // Until everything is known, "no such name" would be a lie that clients remember.
  bool ready() {
    if (ready_) return true;
    if (!services_->synced() || !slices_->synced()) return false;
    for (const api::ObjectPtr& service : services_->list()) refresh(service->key());
    return ready_ = true;
  }

  void handle(std::string_view bytes, bool tcp, Respond respond) {
    if (bytes.size() < kHeaderBytes || (static_cast<uint8_t>(bytes[2]) & 0x80) != 0)
      return;  // an answer: two servers must not talk for ever
    auto query = parse(bytes);
    Message reply;
    reply.response = reply.recursion_available = true;
    if (!query) {
      reply.id = static_cast<uint16_t>(uint8_t(bytes[0]) << 8 | uint8_t(bytes[1]));
      reply.opcode = static_cast<uint8_t>(bytes[2]) >> 3 & 15;
      reply.code = rcode::kFormErr;
      return respond(encode(reply));
    }
    reply.id = query->id;
    reply.opcode = query->opcode;
    reply.recursion_desired = query->recursion_desired;
    reply.checking_disabled = query->checking_disabled;
    reply.questions = query->questions;
    size_t limit = tcp ? kMaxMessage : kMinUdp;
    if (query->edns) {
      reply.edns = Edns{kMaxUdp, 0, query->edns->dnssec_ok};
      if (!tcp) limit = std::clamp(query->edns->udp_size, kMinUdp, kMaxUdp);
    }
    if (auto code = refusal(*query)) {
      reply.code = *code;
      if (*code == rcode::kFormErr) reply.questions.clear();
      return respond(encode(reply, limit));
    }
    resolve(std::move(reply), limit, std::move(respond));
  }

  static std::optional<uint16_t> refusal(const Message& query) {
    if (query.edns && query.edns->version != 0) return rcode::kBadVers;
    if (query.opcode != 0) return rcode::kNotImp;
    if (query.questions.size() != 1) return rcode::kFormErr;
    const Question& q = query.questions[0];
    bool transfer = q.type == type::kAxfr || q.type == type::kIxfr;
    if (transfer || (q.klass != kClassIn && q.klass != kClassAny) || q.type == type::kOpt) return rcode::kRefused;
    return std::nullopt;
  }

  void resolve(Message reply, size_t limit, Respond respond) {
    std::string name = lower(reply.questions[0].name);
    if (is_within(name, zone_.domain()) && !ready()) {
      reply.code = rcode::kServFail;
      return respond(encode(reply, limit));
    }
    ZoneAnswer local = zone_.lookup(name, reply.questions[0].type);
    if (local.kind == ZoneAnswer::Kind::not_ours)
      return forward(std::move(reply), reply.questions[0].name, limit, std::move(respond));
    reply.authoritative = true;
    reply.answers = std::move(local.answers);
    reply.additionals = std::move(local.additionals);
    if (!local.continue_at.empty()) return forward(std::move(reply), local.continue_at, limit, std::move(respond));
    if (local.kind == ZoneAnswer::Kind::no_name) reply.code = rcode::kNxDomain;
    if (local.kind != ZoneAnswer::Kind::found) reply.authorities.push_back(zone_.soa(local.soa_of));
    respond(encode(reply, limit));
  }

  // Adds what others know of `name` to the answer.
  void forward(Message reply, std::string name, size_t limit, Respond respond) {
    Question question{std::move(name), reply.questions[0].type, kClassIn};
    bool dnssec_ok = reply.edns && reply.edns->dnssec_ok;
    forwarder_->resolve(
        question, dnssec_ok,
        [reply = std::move(reply), limit, respond = std::move(respond)](const MessagePtr& answer) mutable {
          if (!answer) {
            reply.code = rcode::kServFail;
            return respond(encode(reply, limit));
          }
          reply.code = answer->code;
          reply.authentic = answer->authentic && reply.answers.empty();
          reply.answers.insert(reply.answers.end(), answer->answers.begin(), answer->answers.end());
          reply.authorities = answer->authorities;
          reply.additionals = answer->additionals;
          respond(encode(reply, limit));
        });
  }

  const Options options_;
  Clock& clock_;
  Zone zone_;
  std::mutex refresh_mutex_;
  client::InformerFactory informers_;
  client::Informer *services_ = nullptr, *slices_ = nullptr;
  bool ready_ = false;  // loop thread
  bool stopped_ = false;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Forwarder> forwarder_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::create(client::Client& client, Clock& clock, Options options) {
  if (auto domain = to_name(options.domain); !domain || domain->size() <= 1 || options.domain.size() > 180)
    return fail(Status::bad_request("cluster domain \"" + options.domain + "\" is no domain name"));
  if (options.listen.empty()) return fail(Status::bad_request("the DNS server needs an address to listen on"));
  auto loop = EventLoop::create();
  if (!loop) return fail(loop.error());
  return std::make_unique<ServerImpl>(client, clock, std::move(options), std::move(*loop));
}

}  // namespace kcube::dns
