#include "pkg/dns/forwarder.h"

#include "pkg/base/log.h"

namespace kcube::dns {
namespace {

constexpr size_t kMaxEntries = 10000, kMaxCacheBytes = 16 << 20, kMaxPending = 2048, kMaxWaiting = 1024;
constexpr uint16_t kUdpSize = 1232;

}  // namespace

Forwarder::Forwarder(EventLoop& loop, Clock& clock, const std::string& resolv_conf,
                     const std::vector<std::string>& own_addresses)
    : loop_(loop), cache_(clock, kMaxEntries, kMaxCacheBytes), resolv_conf_(resolv_conf, own_addresses) {}

void Forwarder::resolve(const Question& question, bool dnssec_ok, Done done) {
  std::string key = cache_key(question, dnssec_ok);
  if (MessagePtr known = cache_.get(key)) return done(std::move(known));
  if (auto it = pending_.find(key); it != pending_.end()) {
    if (it->second.waiting.size() >= kMaxWaiting) return done(nullptr);
    it->second.waiting.push_back(std::move(done));
    return;
  }
  const ResolvConf& conf = resolv_conf_.current();
  if (conf.servers.empty() || pending_.size() >= kMaxPending) return done(nullptr);
  Pending& p = pending_[key];
  p.waiting.push_back(std::move(done));
  p.servers = conf.servers;
  p.timeout = std::chrono::seconds(conf.timeout_seconds);
  p.tries_left = conf.attempts * static_cast<int>(conf.servers.size());
  p.server = good_ % p.servers.size();
  p.query.questions = {{lower(question.name), question.type, question.klass}};
  p.query.recursion_desired = true;
  p.query.edns = Edns{kUdpSize, 0, dnssec_ok};
  ask(key);
}

void Forwarder::ask(const std::string& key) {
  Pending& p = pending_.at(key);
  if (p.tries_left-- <= 0) return finish(key, p.failure);
  p.query.id = random_id();
  if (!p.edns) p.query.edns.reset();
  p.exchange = std::make_unique<Exchange>(
      loop_, p.servers[p.server], p.query, p.timeout,
      [this, key](Result<Message> answer, size_t bytes) { answered(key, std::move(answer), bytes); });
}

void Forwarder::answered(const std::string& key, Result<Message> answer, size_t bytes) {
  Pending& p = pending_.at(key);
  if (answer && answer->code == rcode::kFormErr && p.edns) {  // an old server: once more without EDNS
    p.edns = false;
    ++p.tries_left;
    return ask(key);
  }
  if (answer && (answer->code == rcode::kNoError || answer->code == rcode::kNxDomain)) {
    good_ = p.server;
    auto message = std::make_shared<const Message>(std::move(*answer));
    cache_.put(key, message, bytes);
    return finish(key, message);
  }
  if (answer)
    p.failure = std::make_shared<const Message>(std::move(*answer));
  else
    log::debug("dns", "no answer", {{"server", p.servers[p.server]}, {"error", answer.error()}});
  p.server = (p.server + 1) % p.servers.size();
  ask(key);
}

void Forwarder::finish(const std::string& key, MessagePtr answer) {
  auto node = pending_.extract(key);
  for (Done& done : node.mapped().waiting) done(answer);
}

}  // namespace kcube::dns
