// The least API server that kubectl exec, attach, cp and port-forward need: discovery, one pod, and commands that run
// as processes of this machine.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>

#include <thread>

#include "pkg/base/process.h"
#include "pkg/http/streams.h"
#include "tests/unit/http/fixture.h"

namespace kcube::http {

inline constexpr const char* kPod =
    R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","namespace":"default","uid":"u"},
"spec":{"containers":[{"name":"c","image":"i","stdin":true,"tty":true}]},"status":{"phase":"Running"}})";
inline constexpr const char* kResources = R"({"kind":"APIResourceList","groupVersion":"v1","resources":[
{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","shortNames":["po"],"verbs":["get","list"]},
{"name":"pods/exec","namespaced":true,"kind":"PodExecOptions","verbs":["create","get"]}]})";

inline std::string exit_status(int code) {
  if (code == 0) return R"({"metadata":{},"status":"Success"})";
  auto text = std::to_string(code);
  return R"({"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: exit status )" +
         text + R"(","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":")" + text +
         R"("}]}})";
}

inline void pump(int fd, Channel& to) {
  char buffer[32768];
  for (ssize_t n; (n = ::read(fd, buffer, sizeof buffer)) > 0;)
    if (!to.write({buffer, static_cast<size_t>(n)})) break;
}

// Runs argv with its standard streams on the channels; the exit code.
inline int run_on_channels(RemoteCommand& remote, const std::vector<std::string>& argv) {
  int in[2], out[2], err[2];
  EXPECT_EQ(::pipe2(in, O_CLOEXEC) + ::pipe2(out, O_CLOEXEC) + ::pipe2(err, O_CLOEXEC), 0);
  Fd in_read(in[0]), in_write(in[1]), out_read(out[0]), out_write(out[1]), err_read(err[0]), err_write(err[1]);
  auto child = process::spawn({.argv = argv, .stdin_fd = in[0], .stdout_fd = out[1], .stderr_fd = err[1]});
  if (!child) return 126;
  in_read.reset();
  out_write.reset();
  err_write.reset();
  std::thread writer([&, fd = std::move(in_write)]() mutable {
    char buffer[32768];
    while (remote.stdin()) {
      auto n = remote.stdin()->read(buffer, sizeof buffer);
      if (!n || *n == 0 || ::write(fd.get(), buffer, *n) < 0) break;
    }
    fd.reset();
  });
  std::thread errors([&] {
    if (remote.stderr()) pump(err_read.get(), *remote.stderr());
  });
  if (remote.stdout()) pump(out_read.get(), *remote.stdout());
  errors.join();
  int status = 0;
  ::waitpid(child->pid, &status, 0);
  if (remote.stdin()) remote.stdin()->reset();
  writer.join();
  return WEXITSTATUS(status);
}

inline void serve_exec(Request& request, std::unique_ptr<Responder> responder) {
  auto is = [&](std::string_view name) { return request.query.get(name) == "true"; };
  auto remote =
      accept_remote_command(request, std::move(responder),
                            {.stdin = is("stdin"), .stdout = is("stdout"), .stderr = is("stderr"), .tty = is("tty")});
  if (!remote) return;
  std::vector<std::string> argv;
  for (auto word : request.query.all("command")) argv.emplace_back(word);
  if (argv.empty()) argv = {"cat"};  // attach
  if (argv[0] == "size") {
    Event sized;
    std::string text;
    (*remote)->on_resize([&](uint16_t width, uint16_t height) {
      text = std::to_string(width) + "x" + std::to_string(height);
      sized.set();
    });
    sized.wait();
    (*remote)->on_resize(nullptr);
    (void)(*remote)->stdout()->write(text);
    return (*remote)->finish(exit_status(0));
  }
  if (argv[0] == "gone") {
    Event gone;
    (*remote)->on_gone([&] { gone.set(); });
    (void)(*remote)->stdout()->write("ready\n");
    gone.wait();
    return;
  }
  (*remote)->finish(exit_status(run_on_channels(**remote, argv)));
}

inline Result<void> connect_local(uint16_t port, Channel& data) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return fail(Status::internal("failed to connect to localhost:" + std::to_string(port) + ": connection refused"));
  std::thread writer([&] {
    char buffer[32768];
    while (true) {
      auto n = data.read(buffer, sizeof buffer);
      if (!n || *n == 0 || ::send(socket.get(), buffer, *n, MSG_NOSIGNAL) < 0) break;
    }
    ::shutdown(socket.get(), SHUT_WR);
  });
  pump(socket.get(), data);
  data.close_write();
  data.reset();
  writer.join();
  return {};
}

inline void serve_kubectl(Request& request, std::unique_ptr<Responder> responder) {
  auto json = [&](std::string body) {
    Headers headers;
    headers.add("Content-Type", "application/json");
    responder->respond(200, std::move(headers), std::move(body));
  };
  if (request.path.ends_with("/exec") || request.path.ends_with("/attach"))
    return serve_exec(request, std::move(responder));
  if (request.path.ends_with("/portforward"))
    return (void)serve_port_forward(request, std::move(responder), connect_local);
  if (request.path == "/log") {
    auto log = accept_message_stream(request, std::move(responder), true);
    if (!log) return;
    (void)(*log)->write("line 1\n");
    (void)(*log)->write("line 2\n");
    if (request.query.has("follow"))
      while ((*log)->write("more\n")) {
      }
    return (*log)->close_write();
  }
  if (request.path == "/api") return json(R"({"kind":"APIVersions","versions":["v1"]})");
  if (request.path == "/apis") return json(R"({"kind":"APIGroupList","apiVersion":"v1","groups":[]})");
  if (request.path == "/api/v1") return json(kResources);
  if (request.path.ends_with("/pods/p")) return json(kPod);
  responder->respond(404, {}, "{}");
}

}  // namespace kcube::http
