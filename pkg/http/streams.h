// Channels over an upgraded connection, for exec, attach and port-forward: SPDY/3.1 and WebSocket look the same above.
//
// Sources: Kubernetes' remotecommand protocol (`v4.channel.k8s.io`, `v5.channel.k8s.io`: channels 0 stdin, 1 stdout,
// 2 stderr, 3 error as metav1.Status, 4 resize as {"Width":…,"Height":…}, v5 adds the CLOSE signal 255,channel),
// `portforward.k8s.io` over SPDY and `SPDY/3.1+portforward.k8s.io` tunnelled through WebSocket (KEP-4006), RFC 6455,
// the SPDY/3.1 draft with its zlib dictionary.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pkg/http/server.h"

namespace kcube::http {

// One byte stream. Blocking; one reader and one writer at a time.
class Channel {
 public:
  virtual ~Channel() = default;
  virtual Result<size_t> read(char* buffer, size_t size) = 0;  // 0 at the end
  virtual Result<void> write(std::string_view bytes) = 0;
  virtual void close_write() = 0;
  virtual void reset() = 0;
};

struct RemoteCommandOptions {
  bool stdin = false, stdout = false, stderr = false, tty = false;
};

// The server's side of exec and attach.
class RemoteCommand {
 public:
  virtual ~RemoteCommand() = default;
  virtual Channel* stdin() = 0;  // null when not asked for
  virtual Channel* stdout() = 0;
  virtual Channel* stderr() = 0;  // null with a tty
  // Called for each resize, on a thread of this object.
  virtual void on_resize(std::function<void(uint16_t width, uint16_t height)> callback) = 0;
  // Sends the final status on the error channel (`status_json` is a metav1.Status; v1–v3 clients get plain text),
  // flushes and closes everything.
  virtual void finish(const std::string& status_json) = 0;
  // Waits until the client is gone; for attach without output.
  virtual void on_gone(std::function<void()> callback) = 0;
};

// True when the request asks for an upgrade this room speaks.
bool wants_upgrade(const Request& request);

// Negotiates (WebSocket or SPDY by the request's headers), upgrades and waits for the streams that `options` names.
// 400 with the reason when the client offers nothing we speak.
Result<std::unique_ptr<RemoteCommand>> accept_remote_command(const Request& request,
                                                             std::unique_ptr<Responder> responder,
                                                             const RemoteCommandOptions& options);

// A one-way flow of messages over WebSocket, for clients that ask for logs or a watch that way: each write() is one
// message; a write fails once the client is gone. `text` is what the messages are when the client names no subprotocol
// (JSON events); "binary.k8s.io" and "base64.binary.k8s.io" are the others. Closing: reset() or destruction, after a
// clean close_write(). Holds one thread.
Result<std::unique_ptr<Channel>> accept_message_stream(const Request& request, std::unique_ptr<Responder> responder,
                                                       bool text);

// The server's side of port-forward: `connect` is called for every data stream with the port asked for, on a thread of
// its own, and copies; a failure's message goes to the stream's error stream.
Result<void> serve_port_forward(const Request& request, std::unique_ptr<Responder> responder,
                                std::function<Result<void>(uint16_t port, Channel& data)> connect);

}  // namespace kcube::http
