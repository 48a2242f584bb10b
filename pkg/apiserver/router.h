// The way of one HTTP request: who, may he, what, then the engine or one of the documents beside the resources.
#pragma once

#include <memory>
#include <string>

#include "pkg/apiserver/aggregator.h"
#include "pkg/apiserver/audit/auditor.h"
#include "pkg/apiserver/authenticator.h"
#include "pkg/apiserver/authorizer.h"
#include "pkg/apiserver/connect.h"
#include "pkg/apiserver/diagnostics.h"
#include "pkg/apiserver/discovery.h"
#include "pkg/apiserver/documents.h"
#include "pkg/apiserver/engine.h"
#include "pkg/apiserver/flowcontrol/flow_control.h"
#include "pkg/apiserver/hub.h"
#include "pkg/apiserver/observed_responder.h"
#include "pkg/apiserver/output.h"
#include "pkg/apiserver/request_info.h"
#include "pkg/apiserver/reviews.h"

namespace kcube::apiserver {

// Everything a request may need; owned by the server.
struct Services {
  Core& core;
  Engine& engine;
  Hub& hub;
  Hub& converting;      // of watches that a conversion webhook may hold up
  Reviews& reviews;
  Connector& connector;
  Aggregator& aggregator;
  const Authenticator& authenticator;
  const Authorizer& authorizer;
  const Documents& documents;
  const audit::Auditor* auditor;       // null: nothing is recorded
  RequestMetrics& metrics;
  flowcontrol::FlowControl* flow;      // null: requests at a time have one limit for reads and one for writes
  const GatewayOptions& gateway;
  const Diagnostics& diagnostics;
  FeatureGates gates;
};

class Router {
 public:
  explicit Router(Services services) : s_(services) {}
  // Any thread of the connection room.
  void handle(http::Request& request, std::unique_ptr<http::Responder> responder);

 private:
  // A request whose user is known, on its way to an answer.
  struct Pending {
    http::Request* request;
    RequestInfo info;
    auth::User user;
    ResourcePtr resource;                           // null: no such, or not about resources
    std::shared_ptr<audit::Record> record;
    std::unique_ptr<ObservedResponder> responder;
  };
  void admit(Pending pending);
  void park(flowcontrol::Ticket ticket, Pending pending);
  void take_seat(flowcontrol::Ticket ticket, Pending pending);
  void proceed(const auth::Attributes& attributes, Pending pending);
  flowcontrol::Work list_work(const Pending& pending, int widest) const;
  flowcontrol::Work write_work(const Pending& pending, int widest) const;
  static auth::Attributes attributes_of(const auth::User& user, const RequestInfo& info, const http::Request& request);
  Result<void> authorize(const auth::Attributes& attributes, audit::Record* record) const;
  Result<auth::User> impersonated(const auth::User& user, const http::Request& request) const;
  void not_served(const http::Request& request, http::Responder& responder) const;
  void resource(Call call, const RequestInfo& info, http::Request& request, std::unique_ptr<http::Responder> responder);
  void read(const Call& call, const RequestInfo& info, http::Request& request, std::unique_ptr<http::Responder> responder);
  void write(Call& call, const RequestInfo& info, http::Request& request, http::Responder& responder);
  void remove(Call& call, const RequestInfo& info, http::Request& request, http::Responder& responder);

  Services s_;
};

}  // namespace kcube::apiserver
