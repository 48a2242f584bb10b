// Audit: who did what, a JSON event a stage, to a file and to a webhook. There is no Auditor when nothing is recorded, so
// that a request then pays nothing. Thread-safe. Source: the Kubernetes docs on auditing; events observed from
// kube-apiserver.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pkg/api/json.h"
#include "pkg/apiserver/audit/policy.h"
#include "pkg/apiserver/request_info.h"
#include "pkg/apiserver/security_options.h"
#include "pkg/base/clock.h"
#include "pkg/http/server.h"

namespace kcube::apiserver::audit {

// Where events go. log() must not lose an event that it could keep, nor wait for a network.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void log(const json::object& event) = 0;
};
// Lines of a file that is rotated by size. Fails when it cannot be opened.
Result<std::unique_ptr<Sink>> make_log_sink(const AuditLogOptions& options, Clock& clock);
// Batches for a webhook, sent by a thread of its own; when the buffer is full the newest are dropped, which is logged. In
// blocking mode each event is sent before the request goes on.
std::unique_ptr<Sink> make_webhook_sink(const AuditWebhookOptions& options);

class Auditor;

// The events of one request. Its stages come from one thread at a time.
class Record {
 public:
  Record(const Auditor& auditor, Decision decision, json::object event) : auditor_(auditor), decision_(decision), event_(std::move(event)) {}
  // Seen in the events of later stages.
  void annotate(std::string_view key, std::string_view value);
  void impersonate(const auth::User& user);
  void stage(Stage stage);
  // What was answered; `body` is kept when the level asks for it.
  void answered(int code, std::string_view content_type, std::string_view body);
  // Null when there is no body; of a failure its Status.
  void answered(int code, json::value answer);
  Level level() const { return decision_.level; }
  const std::string& id() const { return id_; }

 private:
  friend class Auditor;
  const Auditor& auditor_;
  const Decision decision_;
  std::mutex mutex_;
  json::object event_, annotations_;
  std::string id_;
};

// Where a request came from.
struct Origin {
  std::string uri, user_agent;
  std::vector<std::string> addresses;
  std::string audit_id;                // the client's, may be empty
};

class Auditor {
 public:
  // Null when the options record nothing.
  static Result<std::unique_ptr<Auditor>> create(const SecurityOptions& options, Clock& clock);
  // How many events there have been.
  uint64_t events() const { return events_.load(std::memory_order_relaxed); }
  // Null when the policy says nothing of this request. Otherwise its first event is recorded, and `responder` becomes one
  // that records the answer.
  std::shared_ptr<Record> begin(const auth::Attributes& attributes, const http::Request& request, std::unique_ptr<http::Responder>& responder) const;
  // Likewise of a request that is none of HTTP; `body` is asked for when it is needed, and null when there is none.
  std::shared_ptr<Record> begin(const auth::Attributes& attributes, Origin origin, const std::function<json::value()>& body) const;

 private:
  friend class Record;
  Auditor(std::shared_ptr<const Policy> policy, Clock& clock) : policy_(std::move(policy)), clock_(clock) {}
  void send(const json::object& event) const;

  const std::shared_ptr<const Policy> policy_;
  Clock& clock_;
  std::vector<std::unique_ptr<Sink>> sinks_;
  mutable std::atomic<uint64_t> events_{0};
};

}  // namespace kcube::apiserver::audit
