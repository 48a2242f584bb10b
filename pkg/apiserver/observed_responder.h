// A responder that counts what is answered and gives back the request's seats when that is done.
//
// A watch has its seats while it starts; other streams, proxied answers for example, until they end.
#pragma once

#include <chrono>
#include <memory>

#include "pkg/apiserver/flowcontrol/flow_control.h"
#include "pkg/apiserver/metrics/request_metrics.h"
#include "pkg/http/server.h"

namespace kcube::apiserver {

class ObservedResponder final : public http::Responder {
 public:
  // `inflight` is null for requests that run long by their nature.
  ObservedResponder(std::unique_ptr<http::Responder> inner, RequestSeries& series, Peak* inflight);
  ~ObservedResponder() override;
  // From now on the ticket is this request's; its FlowSchema and level are named in the answer.
  void hold(flowcontrol::Ticket ticket);
  // Time that was not ours: the indicators leave it out.
  void exclude(std::chrono::nanoseconds time) { excluded_ += time; }
  // There was no seat.
  void drop() { count(series_.dropped); }

  RequestSeries& series() const { return series_; }

  void respond(int status, http::Headers headers, std::string body) override;
  void respond_shared(int status, http::Headers headers, std::vector<http::Slice> body) override;
  std::unique_ptr<http::Stream> stream(int status, http::Headers headers) override;
  Result<std::unique_ptr<http::Tunnel>> upgrade(http::Headers headers) override;
  void on_abandoned(std::function<void()> callback) override { inner_->on_abandoned(std::move(callback)); }

 private:
  void name_flow(http::Headers& headers) const;
  void done(int status, uint64_t bytes);

  std::unique_ptr<http::Responder> inner_;
  RequestSeries& series_;
  Peak* inflight_;
  flowcontrol::Ticket ticket_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::nanoseconds excluded_{0};
  bool answered_ = false;
};

}  // namespace kcube::apiserver
