#include "pkg/apiserver/observed_responder.h"

namespace kcube::apiserver {
namespace {

// One that is under way, for as long as it is.
class LongRunning {
 public:
  explicit LongRunning(RequestSeries& series) : series_(series) { series_.long_running.fetch_add(1, std::memory_order_relaxed); }
  ~LongRunning() { series_.long_running.fetch_sub(1, std::memory_order_relaxed); }

 protected:
  RequestSeries& series_;
};

class ObservedStream final : public http::Stream, LongRunning {
 public:
  ObservedStream(std::unique_ptr<http::Stream> inner, RequestSeries& series, flowcontrol::Ticket ticket)
      : LongRunning(series), inner_(std::move(inner)), ticket_(std::move(ticket)), watch_(series.verb == "WATCH") {}
  bool write(std::shared_ptr<const std::string> piece) override {
    if (watch_) series_.watch_sizes.observe(static_cast<double>(piece->size()));
    return inner_->write(std::move(piece));
  }
  void on_close(std::function<void()> callback) override { inner_->on_close(std::move(callback)); }
  void close() override { inner_->close(); }

 private:
  std::unique_ptr<http::Stream> inner_;
  flowcontrol::Ticket ticket_;
  const bool watch_;
};

class ObservedTunnel final : public http::Tunnel, LongRunning {
 public:
  ObservedTunnel(std::unique_ptr<http::Tunnel> inner, RequestSeries& series) : LongRunning(series), inner_(std::move(inner)) {}
  Result<size_t> read(char* buffer, size_t size) override { return inner_->read(buffer, size); }
  Result<void> write(std::string_view bytes) override { return inner_->write(bytes); }
  void close_write() override { inner_->close_write(); }
  void close() override { inner_->close(); }

 private:
  std::unique_ptr<http::Tunnel> inner_;
};

}  // namespace

ObservedResponder::ObservedResponder(std::unique_ptr<http::Responder> inner, RequestSeries& series, Peak* inflight)
    : inner_(std::move(inner)), series_(series), inflight_(inflight) {
  if (inflight_ != nullptr) inflight_->enter();
}

ObservedResponder::~ObservedResponder() {
  if (!answered_) done(500, 0);
}

void ObservedResponder::hold(flowcontrol::Ticket ticket) {
  ticket_ = std::move(ticket);
  const flowcontrol::Execution& e = ticket_.execution();
  if (e.started_seconds > e.arrived_seconds) exclude(std::chrono::nanoseconds(static_cast<int64_t>((e.started_seconds - e.arrived_seconds) * 1e9)));
}

void ObservedResponder::name_flow(http::Headers& headers) const {
  if (!ticket_) return;
  headers.add("X-Kubernetes-Pf-Flowschema-Uid", ticket_.schema_uid());
  headers.add("X-Kubernetes-Pf-Prioritylevel-Uid", ticket_.level_uid());
}

void ObservedResponder::done(int status, uint64_t bytes) {
  answered_ = true;
  if (inflight_ != nullptr) inflight_->leave();
  const auto took = std::chrono::steady_clock::now() - start_;
  auto seconds = [](std::chrono::nanoseconds t) { return std::chrono::duration<double>(t).count(); };
  series_.answered(status, seconds(took), seconds(took - excluded_), bytes);
}

void ObservedResponder::respond(int status, http::Headers headers, std::string body) {
  name_flow(headers);
  done(status, body.size());
  inner_->respond(status, std::move(headers), std::move(body));
  ticket_.release();
}

void ObservedResponder::respond_shared(int status, http::Headers headers, std::vector<http::Slice> body) {
  name_flow(headers);
  uint64_t bytes = 0;
  for (const http::Slice& piece : body) bytes += piece.bytes.size();
  done(status, bytes);
  inner_->respond_shared(status, std::move(headers), std::move(body));
  ticket_.release();
}

std::unique_ptr<http::Stream> ObservedResponder::stream(int status, http::Headers headers) {
  name_flow(headers);
  done(status, 0);
  if (series_.verb == "WATCH") ticket_.release();
  return std::make_unique<ObservedStream>(inner_->stream(status, std::move(headers)), series_, std::move(ticket_));
}

Result<std::unique_ptr<http::Tunnel>> ObservedResponder::upgrade(http::Headers headers) {
  name_flow(headers);
  done(101, 0);
  ticket_.release();
  auto tunnel = inner_->upgrade(std::move(headers));
  if (!tunnel) return tunnel;
  return std::make_unique<ObservedTunnel>(std::move(*tunnel), series_);
}

}  // namespace kcube::apiserver
