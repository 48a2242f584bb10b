#include "pkg/kubelet/server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <thread>

#include "pkg/api/errors.h"
#include "pkg/base/file.h"
#include "pkg/base/strings.h"
#include "pkg/http/streams.h"
#include "pkg/kubelet/logs.h"

namespace kcube::kubelet {
namespace {


http::Headers text_headers(std::string_view type) {
  http::Headers h;
  h.set("Content-Type", std::string(type));
  return h;
}

void answer(http::Responder& responder, const Status& status) { responder.respond(status.code(), text_headers("text/plain; charset=utf-8"), status.message()); }

json::value str(std::string_view s) { return json::value(json::key(s)); }

// metav1.Status of a finished command, as remotecommand clients read it.
std::string command_status(const Result<int>& result) {
  json::object status{{"metadata", json::object()}};
  if (result && *result == 0) {
    status["status"] = "Success";
  } else if (result) {
    std::string code = std::to_string(*result);
    status["status"] = "Failure";
    status["message"] = str("command terminated with non-zero exit code: command terminated with exit code " + code);
    status["reason"] = "NonZeroExitCode";
    status["details"] = json::object{{"causes", json::array{json::object{{"reason", "ExitCode"}, {"message", str(code)}}}}};
  } else {
    status["status"] = "Failure";
    status["message"] = str("Internal error occurred: error executing command in container: " + result.error().message());
    status["reason"] = "InternalError";
    status["details"] = json::object{{"causes", json::array{json::object{{"message", str(result.error().message())}}}}};
    status["code"] = 500;
  }
  return json::serialize(status);
}

void copy_in(http::Channel& from, Fd to) {
  char buffer[32768];
  while (true) {
    auto n = from.read(buffer, sizeof buffer);
    if (!n || *n == 0) return;
    for (size_t done = 0; done < *n;) {
      ssize_t w = ::write(to.get(), buffer + done, *n - done);
      if (w < 0 && errno == EINTR) continue;
      if (w <= 0) return;
      done += static_cast<size_t>(w);
    }
  }
}

// Until the end of `from`, or until `gone` can be read: a silent command must not keep us once its client has left.
void copy_out(const Fd& from, http::Channel& to, const Fd& gone) {
  char buffer[32768];
  while (true) {
    pollfd waiting[2] = {{from.get(), POLLIN, 0}, {gone.get(), POLLIN, 0}};
    if (::poll(waiting, gone ? 2 : 1, -1) < 0 && errno != EINTR) return;
    if (waiting[1].revents != 0) return;
    if (waiting[0].revents == 0) continue;
    ssize_t n = ::read(from.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    // EIO is how a pseudo terminal says that its other end is closed.
    if (n <= 0) return;
    if (!to.write({buffer, static_cast<size_t>(n)})) return;
  }
}

// The directory of a volume of the class "local-path" whose claim is gone. Only what such a directory is called.
Result<void> remove_local_path(const std::string& path) {
  const std::string_view name = std::string_view(path).substr(path.rfind('/') + 1);
  if (!path.starts_with('/') || !name.starts_with("pvc-") || name.find('_') == std::string_view::npos || path.find("/..") != std::string::npos)
    return fail(Status::bad_request(path + " is not the directory of a local-path volume"));
  return file::remove_tree(path);
}

}  // namespace

Endpoint::Endpoint(Context& context, FindPod find, ListPods list) : context_(context), find_(std::move(find)), list_(std::move(list)) {}
Endpoint::~Endpoint() { stop(); }

Result<std::unique_ptr<Endpoint>> Endpoint::create(Context& context, FindPod find, ListPods list) {
  std::unique_ptr<Endpoint> endpoint(new Endpoint(context, std::move(find), std::move(list)));
  http::ServerOptions options;
  options.address = context.options.listen_address;
  options.port = context.options.port;
  options.tls_options = context.options.tls;
  options.max_threads = 32;
  auto server = http::Server::create(std::move(options), [raw = endpoint.get()](http::Request& request, std::unique_ptr<http::Responder> responder) {
    raw->handle(request, std::move(responder));
  });
  if (!server) return fail(server.error());
  endpoint->server_ = std::move(*server);
  return endpoint;
}

void Endpoint::start() { server_->start(); }
void Endpoint::stop() {
  if (server_) server_->stop(std::chrono::milliseconds(200));
  streams_.stop();
}
uint16_t Endpoint::port() const { return server_->port(); }
Result<void> Endpoint::set_certificate(const http::TlsOptions& tls) { return server_->set_certificate(tls); }

Result<void> Endpoint::authorize(const http::Request& request) {
  std::string user(request.peer_common_name);
  std::vector<std::string> groups = request.peer_organizations;
  if (user.empty()) {
    std::string_view header = request.headers.get("Authorization");
    if (!header.starts_with("Bearer ")) return fail(api::unauthorized());
    json::object review{{"apiVersion", "authentication.k8s.io/v1"}, {"kind", "TokenReview"}, {"metadata", json::object()},
                        {"spec", json::object{{"token", str(header.substr(7))}}}};
    auto r = context_.client.create({"authentication.k8s.io", "v1", "tokenreviews"}, "", review);
    if (!r || !json::get_bool((*r)->value(), {"status", "authenticated"})) return fail(api::unauthorized());
    user = json::get_string((*r)->value(), {"status", "user", "username"});
    for (const json::value& g : json::get_array(json::at(&(*r)->value(), {"status", "user", "groups"}))) groups.emplace_back(json::get_string(&g));
  }
  for (const std::string& g : groups)
    if (g == "system:masters") return {};
  std::string_view subresource = request.path.starts_with("/stats") ? "stats" : request.path.starts_with("/metrics") ? "metrics" : request.path.starts_with("/logs") ? "log" : "proxy";
  std::string_view verb = request.method == "POST" ? "create" : request.method == "PUT" ? "update" : request.method == "DELETE" ? "delete" : "get";
  json::array group_values;
  for (const std::string& g : groups) group_values.push_back(str(g));
  json::object review{{"apiVersion", "authorization.k8s.io/v1"}, {"kind", "SubjectAccessReview"}, {"metadata", json::object()},
                      {"spec", json::object{{"user", str(user)}, {"groups", std::move(group_values)},
                                            {"resourceAttributes", json::object{{"verb", str(verb)}, {"version", "v1"}, {"resource", "nodes"}, {"subresource", str(subresource)},
                                                                                {"name", str(context_.options.node_name)}}}}}};
  auto r = context_.client.create({"authorization.k8s.io", "v1", "subjectaccessreviews"}, "", review);
  if (r && json::get_bool((*r)->value(), {"status", "allowed"})) return {};
  return fail(Status(403, "Forbidden", "Forbidden (user=" + user + ", verb=" + std::string(verb) + ", resource=nodes, subresource=" + std::string(subresource) + ")"));
}

void Endpoint::handle(http::Request& request, std::unique_ptr<http::Responder> responder) {
  if (request.path == "/healthz") return responder->respond(200, text_headers("text/plain"), "ok");
  if (auto r = authorize(request); !r) return answer(*responder, r.error());
  std::vector<std::string> parts;
  for (std::string_view part : split(request.path, '/'))
    if (!part.empty()) parts.emplace_back(part);
  if (parts.empty()) return answer(*responder, Status::not_found("404 page not found"));
  const std::string& verb = parts[0];
  if (verb == "containerLogs" && parts.size() == 4) return logs(request, std::move(responder), parts);
  if ((verb == "exec" || verb == "attach") && parts.size() >= 4) return command(request, std::move(responder), parts, verb == "attach");
  if (verb == "portForward" && parts.size() >= 3) return port_forward(request, std::move(responder), parts);
  if (verb == "localPath" && request.method == "DELETE") {
    auto removed = remove_local_path(request.path.substr(sizeof "/localPath" - 1));
    return removed ? responder->respond(200, text_headers("text/plain"), "removed") : answer(*responder, removed.error());
  }
  if (verb == "pods" || verb == "runningpods") {
    std::string body = R"({"kind":"PodList","apiVersion":"v1","metadata":{},"items":[)";
    bool first = true;
    for (const api::ObjectPtr& pod : list_()) {
      if (!first) body += ',';
      first = false;
      body += pod->bytes();
    }
    return responder->respond(200, text_headers("application/json"), body + "]}");
  }
  answer(*responder, Status::not_found("404 page not found"));
}

void Endpoint::logs(const http::Request& request, std::unique_ptr<http::Responder> responder, const std::vector<std::string>& parts) {
  auto worker = find_(parts[1], parts[2], {});
  if (!worker) return answer(*responder, Status::not_found("pod \"" + parts[2] + "\" not found"));
  const http::Query& q = request.query;
  LogOptions options;
  options.follow = q.flag("follow");
  options.timestamps = q.flag("timestamps");
  if (auto n = parse_int<int64_t>(q.get("tailLines"))) options.tail_lines = *n;
  if (auto n = parse_int<int64_t>(q.get("limitBytes"))) options.limit_bytes = *n;
  if (auto n = parse_int<int64_t>(q.get("sinceSeconds"))) options.since = context_.clock.now() - std::chrono::seconds(*n);
  SystemTime since;
  if (parse_time(q.get("sinceTime"), since)) options.since = since;
  options.stream = q.get("stream");
  std::string container = parts[3];
  bool previous = q.flag("previous");
  std::string path = worker->log_path(container, previous);
  if (path.empty() || ::access(path.c_str(), R_OK) != 0) {
    std::string message = previous ? "previous terminated container \"" + container + "\" in pod \"" + parts[2] + "\" not found"
                                   : "container \"" + container + "\" in pod \"" + parts[2] + "\" is waiting to start: ContainerCreating";
    return answer(*responder, Status::bad_request(message));
  }
  auto head = text_headers("text/plain");
  if (!options.follow) {
    std::string body;
    (void)read_log(path, options, [&](std::string_view piece) {
      body += piece;
      return true;
    }, [] { return true; });
    return responder->respond(200, std::move(head), std::move(body));
  }
  auto stream = std::shared_ptr<http::Stream>(responder->stream(200, std::move(head)));
  auto closed = std::make_shared<std::atomic<bool>>(false);
  stream->on_close([closed] { *closed = true; });
  std::string id = worker->container_id(container);
  streams_.submit([stream, closed, path, options, worker, container, id] {
    (void)read_log(path, options, [&](std::string_view piece) { return !*closed && stream->write(std::make_shared<const std::string>(piece)); },
                   [&] { return *closed || !worker->container_running(container) || worker->container_id(container) != id; });
    stream->close();
  });
}

void Endpoint::command(const http::Request& request, std::unique_ptr<http::Responder> responder, const std::vector<std::string>& parts, bool attach) {
  // /exec/NS/POD/CONTAINER or /exec/NS/POD/UID/CONTAINER.
  auto worker = find_(parts[1], parts[2], parts.size() > 4 ? parts[3] : std::string());
  if (!worker) return answer(*responder, Status::not_found("pod does not exist"));
  std::string container = parts.back(), id = worker->container_id(container);
  if (id.empty() || !worker->container_running(container))
    return answer(*responder, Status::internal("container not found (\"" + container + "\")"));
  const http::Query& q = request.query;
  http::RemoteCommandOptions wanted{q.flag("input") || q.flag("stdin"), q.flag("output") || q.flag("stdout"), q.flag("error") || q.flag("stderr"), q.flag("tty")};
  std::vector<std::string> argv;
  for (std::string_view word : q.all("command")) argv.emplace_back(word);
  if (!attach && argv.empty()) return answer(*responder, Status::bad_request("you must specify at least 1 command for the container"));
  if (!wanted.stdin && !wanted.stdout && !wanted.stderr) return answer(*responder, Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
  auto accepted = http::accept_remote_command(request, std::move(responder), wanted);
  if (!accepted) return;  // answered already
  std::shared_ptr<http::RemoteCommand> remote = std::move(*accepted);
  streams_.submit([this, remote, id, argv, wanted, attach] {
    runtime::StreamOptions options{wanted.stdin, wanted.stdout, wanted.stderr, wanted.tty};
    auto session = attach ? context_.runtime.attach(id, options) : context_.runtime.exec(id, argv, options);
    if (!session) return remote->finish(command_status(fail(session.error())));
    if (session->resize)
      remote->on_resize([resize = session->resize](uint16_t width, uint16_t height) { resize({width, height}); });
    auto gone = std::make_shared<Fd>(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    remote->on_gone([gone] { (void)::eventfd_write(gone->get(), 1); });
    std::vector<std::thread> outputs;
    // Input is copied on a thread that ends when the client closes it or goes; nobody waits for it.
    if (wanted.stdin && remote->stdin() != nullptr && session->in)
      std::thread([remote, in = std::move(session->in)]() mutable { copy_in(*remote->stdin(), std::move(in)); }).detach();
    else session->in.reset();
    if (remote->stdout() != nullptr && session->out) outputs.emplace_back([&] { copy_out(session->out, *remote->stdout(), *gone); });
    if (remote->stderr() != nullptr && session->err) outputs.emplace_back([&] { copy_out(session->err, *remote->stderr(), *gone); });
    for (std::thread& t : outputs) t.join();
    // A command that still writes after its client has gone must find its pipes broken, or it and this thread wait for ever.
    session->out.reset();
    session->err.reset();
    remote->finish(command_status(session->wait()));
  });
}

void Endpoint::port_forward(const http::Request& request, std::unique_ptr<http::Responder> responder, const std::vector<std::string>& parts) {
  auto worker = find_(parts[1], parts[2], parts.size() > 3 ? parts[3] : std::string());
  if (!worker) return answer(*responder, Status::not_found("pod does not exist"));
  auto* shared = responder.release();
  http::Request copy = request;
  streams_.submit([this, worker, copy = std::move(copy), shared] {
    (void)http::serve_port_forward(copy, std::unique_ptr<http::Responder>(shared), [this, worker](uint16_t port, http::Channel& data) -> Result<void> {
      auto fd = context_.runtime.dial(worker->sandbox_id(), port);
      if (!fd) return fail(fd.error());
      Fd reader(::dup(fd->get())), writer(std::move(*fd));
      int raw = writer.get();
      std::thread in([&data, &writer, raw] {
        copy_in(data, Fd(::dup(raw)));
        ::shutdown(raw, SHUT_WR);
        (void)writer;
      });
      copy_out(reader, data, Fd());
      data.close_write();
      ::shutdown(raw, SHUT_RDWR);
      in.join();
      return {};
    });
  });
}

}  // namespace kcube::kubelet
