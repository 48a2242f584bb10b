// Asks the host's resolvers what is not the cluster's: in turn until one answers, the same question once for all who
// ask at the same time, answers kept while they live. Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pkg/base/event_loop.h"
#include "pkg/dns/cache.h"
#include "pkg/dns/resolv_conf.h"
#include "pkg/dns/upstream.h"

namespace kcube::dns {

class Forwarder {
 public:
  // Null when no server answered.
  using Done = std::function<void(MessagePtr answer)>;
  Forwarder(EventLoop& loop, Clock& clock, const std::string& resolv_conf,
            const std::vector<std::string>& own_addresses);
  // `done` may be called at once.
  void resolve(const Question& question, bool dnssec_ok, Done done);

 private:
  struct Pending {
    std::vector<Done> waiting;
    std::vector<std::string> servers;
    Duration timeout;
    int tries_left = 0;
    size_t server = 0;  // the one that is asked
    bool edns = true;
    Message query;
    MessagePtr failure;  // the last refusal, when nobody knows better
    std::unique_ptr<Exchange> exchange;
  };
  void ask(const std::string& key);
  void answered(const std::string& key, Result<Message> answer, size_t bytes);
  void finish(const std::string& key, MessagePtr answer);

  EventLoop& loop_;
  Cache cache_;
  ResolvConfFile resolv_conf_;
  size_t good_ = 0;  // the server that answered last
  std::map<std::string, Pending> pending_;
};

}  // namespace kcube::dns
