// A KMS plugin for tests: a gRPC server on a Unix socket over libnghttp2, with a key that the test turns and failures that
// it orders. Sealing is reversing the bytes behind the key's id.
#pragma once

#include <nghttp2/nghttp2.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "pkg/auth/kms_messages.h"
#include "pkg/base/fd.h"

namespace kcube::server {

class KmsDouble {
 public:
  explicit KmsDouble(std::string path) : path_(std::move(path)) { start(); }
  ~KmsDouble() { stop(); }
  void start() {
    listener_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
    ::unlink(path_.c_str());
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(listener_.get(), 16) != 0) std::abort();
    acceptor_ = std::thread([this] {
      while (true) {
        Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!connection.valid()) return;
        std::lock_guard lock(mutex_);
        sockets_.push_back(connection.get());
        connections_.emplace_back([this, fd = std::move(connection)]() mutable { serve(fd.get()); });
      }
    });
  }
  void stop() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    if (acceptor_.joinable()) acceptor_.join();
    for (int fd : sockets_) ::shutdown(fd, SHUT_RDWR);
    for (std::thread& t : connections_) t.join();
    connections_.clear();
    sockets_.clear();
    listener_ = Fd();
    ::unlink(path_.c_str());
  }
  void turn(std::string key_id) {
    std::lock_guard lock(mutex_);
    key_id_ = std::move(key_id);
  }
  void say(std::string health) {
    std::lock_guard lock(mutex_);
    health_ = std::move(health);
  }
  // Status of every call from now on; 0: fine.
  std::atomic<int> grpc_status{0}, statuses{0}, encrypts{0}, decrypts{0};

 private:
  struct Call {
    std::string method, body, answer;
    size_t sent = 0;
    int status = 0;
  };
  struct Session {
    KmsDouble* self;
    int fd;
    std::map<int32_t, Call> calls;
  };

  static void put(std::string& out, int field, const std::string& bytes) {
    out += static_cast<char>(field << 3 | 2);
    for (size_t n = bytes.size(); true; n >>= 7) {
      out += static_cast<char>(n < 0x80 ? n : (n & 0x7f) | 0x80);
      if (n < 0x80) break;
    }
    out += bytes;
  }

  void answer(Call& call) {
    std::lock_guard lock(mutex_);
    call.status = grpc_status;
    std::string message, request = call.body.size() > 5 ? call.body.substr(5) : "";
    std::string first = auth::parse_kms_decrypted(request).value_or("");
    if (call.method.ends_with("/Status")) {
      ++statuses;
      put(message, 1, "v2");
      put(message, 2, health_);
      put(message, 3, key_id_);
    } else if (call.method.ends_with("/Encrypt")) {
      ++encrypts;
      std::ranges::reverse(first);
      put(message, 1, key_id_ + "/" + first);
      put(message, 2, key_id_);
      std::string entry;
      put(entry, 1, "plugin.example.com");
      put(entry, 2, "a note");
      put(message, 3, entry);
    } else if (call.method.ends_with("/Decrypt")) {
      ++decrypts;
      first = first.substr(first.find('/') + 1);
      std::ranges::reverse(first);
      put(message, 1, first);
    } else {
      call.status = 12;
    }
    if (call.status != 0) return;
    call.answer.assign(1, '\0');
    for (int shift = 24; shift >= 0; shift -= 8) call.answer += static_cast<char>(message.size() >> shift & 0xff);
    call.answer += message;
  }

  static nghttp2_nv header(const char* name, const char* value) {
    return {reinterpret_cast<uint8_t*>(const_cast<char*>(name)), reinterpret_cast<uint8_t*>(const_cast<char*>(value)), std::strlen(name), std::strlen(value), NGHTTP2_NV_FLAG_NONE};
  }
  static ssize_t on_read(nghttp2_session* session, int32_t id, uint8_t* buffer, size_t size, uint32_t* flags, nghttp2_data_source*, void* user) {
    Call& call = static_cast<Session*>(user)->calls[id];
    size_t n = std::min(size, call.answer.size() - call.sent);
    std::memcpy(buffer, call.answer.data() + call.sent, n);
    call.sent += n;
    if (call.sent < call.answer.size()) return static_cast<ssize_t>(n);
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    std::string status = std::to_string(call.status);
    nghttp2_nv trailers[] = {header("grpc-status", status.c_str()), header("grpc-message", call.status == 0 ? "" : "as the%20test wants")};
    nghttp2_submit_trailer(session, id, trailers, 2);
    return static_cast<ssize_t>(n);
  }
  static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0 || (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)) return 0;
    auto* s = static_cast<Session*>(user);
    s->self->answer(s->calls[frame->hd.stream_id]);
    nghttp2_nv head[] = {header(":status", "200"), header("content-type", "application/grpc")};
    nghttp2_data_provider body{};
    body.read_callback = on_read;
    nghttp2_submit_response(session, frame->hd.stream_id, head, 2, &body);
    return 0;
  }

  void serve(int fd) {
    Session state{this, fd, {}};
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_send_callback(callbacks, [](nghttp2_session*, const uint8_t* data, size_t size, int, void* user) -> ssize_t {
      ssize_t n = ::send(static_cast<Session*>(user)->fd, data, size, MSG_NOSIGNAL);
      return n < 0 ? ssize_t{NGHTTP2_ERR_CALLBACK_FAILURE} : n;
    });
    nghttp2_session_callbacks_set_on_header_callback(callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size, const uint8_t* value, size_t value_size, uint8_t, void* user) {
      if (std::string(reinterpret_cast<const char*>(name), name_size) == ":path") static_cast<Session*>(user)->calls[frame->hd.stream_id].method.assign(reinterpret_cast<const char*>(value), value_size);
      return 0;
    });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
      static_cast<Session*>(user)->calls[id].body.append(reinterpret_cast<const char*>(data), size);
      return 0;
    });
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session* session = nullptr;
    nghttp2_session_server_new(&session, callbacks, &state);
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, nullptr, 0);
    uint8_t buffer[16384];
    while (nghttp2_session_send(session) == 0) {
      ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
      if (n <= 0 || nghttp2_session_mem_recv(session, buffer, static_cast<size_t>(n)) < 0) break;
    }
    nghttp2_session_del(session);
    nghttp2_session_callbacks_del(callbacks);
  }

  const std::string path_;
  Fd listener_;
  std::thread acceptor_;
  std::mutex mutex_;
  std::string key_id_ = "key-1", health_ = "ok";
  std::list<std::thread> connections_;
  std::vector<int> sockets_;
};

}  // namespace kcube::server
