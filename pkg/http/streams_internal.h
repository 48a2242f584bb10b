// Shared by remote command and port-forward: what an upgrade request offers, and refusals. Private.
#pragma once

#include <string>
#include <vector>

#include "pkg/http/streams.h"

namespace kcube::http {

bool wants_spdy(const Request& request);
// X-Stream-Protocol-Version, each value and each comma-separated part.
std::vector<std::string> offered_stream_protocols(const Request& request);
// Answers with `status` as JSON and returns it as a failure.
std::unexpected<Status> refuse_upgrade(Responder& responder, Status status, Headers headers = {});
// Answers 101 for SPDY with the protocol chosen.
Result<std::unique_ptr<Tunnel>> accept_spdy(std::unique_ptr<Responder> responder, const std::string& protocol);

// Both for one upgraded connection kind; see streams.h.
Result<std::unique_ptr<RemoteCommand>> websocket_remote_command(const Request& request,
                                                                std::unique_ptr<Responder> responder,
                                                                const RemoteCommandOptions& options);
Result<std::unique_ptr<RemoteCommand>> spdy_remote_command(const Request& request, std::unique_ptr<Responder> responder,
                                                           const RemoteCommandOptions& options);
using Connect = std::function<Result<void>(uint16_t port, Channel& data)>;
Result<void> websocket_port_forward(const Request& request, std::unique_ptr<Responder> responder, Connect connect);

// What a client of the protocols before v4 gets in place of a metav1.Status: nothing on success, else the message.
std::string plain_outcome(const std::string& status_json);
// Finds {"Width":W,"Height":H} objects in a stream of them.
class ResizeReader {
 public:
  explicit ResizeReader(std::function<void(uint16_t, uint16_t)> callback) : callback_(std::move(callback)) {}
  void feed(std::string_view bytes);

 private:
  std::function<void(uint16_t, uint16_t)> callback_;
  std::string rest_;
};

}  // namespace kcube::http
