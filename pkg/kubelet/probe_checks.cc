// The checks themselves.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>

#include "pkg/base/fd.h"
#include "pkg/base/protobuf_wire.h"
#include "pkg/base/strings.h"
#include "pkg/http/grpc.h"
#include "pkg/kubelet/probes.h"

namespace kcube::kubelet {
namespace {

using std::chrono::milliseconds;

constexpr size_t kShownBody = 1024;

http::Client& probe_client() {
  // Probes do not verify certificates: the kubelet has no name to check against.
  static http::Client* client = http::Client::create({.verify = false}).release();
  return *client;
}

// "connection refused", in lower case.
std::string error_text(int error) {
  std::string text = ::strerror(error);
  if (!text.empty()) text[0] = static_cast<char>(::tolower(text[0]));
  return text;
}

std::string bracketed(const std::string& host) { return host.find(':') != std::string::npos ? "[" + host + "]" : host; }

http::ClientRequest http_request(core::v1::HTTPGetAction action, const core::v1::Container& container, const ProbeTarget& target, milliseconds timeout) {
  http::ClientRequest request;
  std::string host(action.host().empty() ? std::string_view(target.pod_ip) : action.host());
  std::string scheme = to_lower(action.scheme().empty() ? "HTTP" : action.scheme());
  std::string path(action.path().empty() ? std::string_view("/") : action.path());
  if (!path.starts_with('/')) path = "/" + path;
  request.url = scheme + "://" + bracketed(host) + ":" + std::to_string(resolve_port(action.port(), container)) + path;
  request.own_connection = true;
  request.timeout = request.connect_timeout = timeout;
  bool agent = false, accept = false;
  for (auto header : action.http_headers()) {
    agent = agent || to_lower(header.name()) == "user-agent";
    accept = accept || to_lower(header.name()) == "accept";
    request.headers.add(std::string(header.name()), std::string(header.value()));
  }
  if (!agent) request.headers.add("User-Agent", "kube-probe/1.36");
  if (!accept) request.headers.add("Accept", "*/*");
  return request;
}

// As Go's client puts it, which is what users search for. `error` begins with "GET URL: ".
std::string go_words(const http::ClientRequest& request, const Status& error) {
  std::string why = error.message();
  if (std::string head = "GET " + request.url + ": "; why.starts_with(head)) why.erase(0, head.size());
  if (error.code() == 504) why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
  if (why.starts_with("connect: ")) {
    std::string place = request.url.substr(request.url.find("//") + 2);
    why = "dial tcp " + place.substr(0, place.find('/')) + ": " + why;
  }
  return "Get \"" + request.url + "\": " + why;
}

ProbeResult check_http(core::v1::HTTPGetAction action, const core::v1::Container& container, const ProbeTarget& target, milliseconds timeout, std::string& output) {
  auto request = http_request(action, container, target, timeout);
  auto response = probe_client().send(request);
  if (!response) {
    output = go_words(request, response.error());
    return ProbeResult::failure;
  }
  if (response->status >= 200 && response->status < 400) return ProbeResult::success;
  output = "HTTP probe failed with statuscode: " + std::to_string(response->status);
  return ProbeResult::failure;
}

ProbeResult check_tcp(core::v1::TCPSocketAction action, const core::v1::Container& container, const ProbeTarget& target, milliseconds timeout, std::string& output) {
  std::string host(action.host().empty() ? std::string_view(target.pod_ip) : action.host());
  uint16_t port = resolve_port(action.port(), container);
  bool v6 = host.find(':') != std::string::npos;
  Fd fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_in a4{};
  sockaddr_in6 a6{};
  a4.sin_family = AF_INET;
  a4.sin_port = htons(port);
  a6.sin6_family = AF_INET6;
  a6.sin6_port = htons(port);
  bool parsed = v6 ? ::inet_pton(AF_INET6, host.c_str(), &a6.sin6_addr) == 1 : ::inet_pton(AF_INET, host.c_str(), &a4.sin_addr) == 1;
  int error = parsed ? 0 : EINVAL;
  if (parsed) {
    int r = v6 ? ::connect(fd.get(), reinterpret_cast<sockaddr*>(&a6), sizeof a6) : ::connect(fd.get(), reinterpret_cast<sockaddr*>(&a4), sizeof a4);
    if (r != 0) error = errno;
    if (error == EINPROGRESS) {
      pollfd p{fd.get(), POLLOUT, 0};
      if (::poll(&p, 1, static_cast<int>(timeout.count())) <= 0) {
        error = ETIMEDOUT;
      } else {
        socklen_t size = sizeof error;
        ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      }
    }
  }
  if (error == 0) return ProbeResult::success;
  output = "dial tcp " + bracketed(host) + ":" + std::to_string(port) + ": connect: " + error_text(error);
  return ProbeResult::failure;
}

// grpc.health.v1.Health/Check: request {1: service}, answer {1: status}. Source: the gRPC health checking protocol.
ProbeResult check_grpc(core::v1::GRPCAction action, const ProbeTarget& target, milliseconds timeout, std::string& output) {
  constexpr std::string_view kStates[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  const std::string address = bracketed(target.pod_ip) + ":" + std::to_string(action.port()), within = std::to_string(timeout.count() / 1000) + "s";
  std::string message;
  if (!action.service().empty()) protobuf::put_bytes(message, 1, action.service());
  auto answer = http::call_grpc(probe_client(), {.url = "http://" + address + "/grpc.health.v1.Health/Check", .message = std::move(message), .timeout = timeout});
  uint64_t state = 0;
  protobuf::Reader reader(answer.message);
  for (protobuf::Field field; reader.next(field);)
    if (field.number == 1) state = field.value;
  if (answer.code == "Unimplemented") output = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): " + answer.description;
  else if (answer.code == "DeadlineExceeded") output = "timeout: health rpc did not complete within " + within;
  else if (answer.code == "Unavailable") output = "timeout: failed to connect service \"" + address + "\" within " + within + ": " + answer.description;
  else if (!answer.ok()) output = "error: health rpc probe failed: " + answer.error();
  else if (state != 1) output = "service unhealthy (responded with \"" + (state < std::size(kStates) ? std::string(kStates[state]) : std::to_string(state)) + "\")";
  else return ProbeResult::success;
  return ProbeResult::failure;
}

std::vector<std::string> words(api::views::StringList list) {
  std::vector<std::string> out;
  for (std::string_view w : list) out.emplace_back(w);
  return out;
}

ProbeResult check_exec(core::v1::ExecAction action, const ProbeTarget& target, milliseconds timeout, std::string& output) {
  auto result = target.runtime->exec_sync(target.container_id, words(action.command()), timeout);
  if (!result) {
    if (result.error().code() == 504) {
      output = "command timed out: \"" + join(words(action.command()), " ") + "\" timed out after " + std::to_string(timeout.count() / 1000) + "s";
      return ProbeResult::failure;
    }
    output = result.error().message();
    return ProbeResult::unknown;
  }
  output = (result->out + result->err).substr(0, kShownBody * 10);
  return result->exit_code == 0 ? ProbeResult::success : ProbeResult::failure;
}

}  // namespace

uint16_t resolve_port(const json::value* port, const core::v1::Container& container) {
  if (port == nullptr) return 0;
  if (!port->is_string()) return static_cast<uint16_t>(json::get_int(port));
  std::string_view name = json::get_string(port);
  for (auto p : container.ports())
    if (p.name() == name) return static_cast<uint16_t>(p.container_port());
  return parse_int<uint16_t>(name).value_or(0);
}

ProbeResult run_probe(const core::v1::Probe& probe, const core::v1::Container& container, const ProbeTarget& target, std::string& output) {
  milliseconds timeout = std::chrono::seconds(std::max<int64_t>(1, probe.timeout_seconds(1)));
  if (auto exec = probe.exec()) return check_exec(exec, target, timeout, output);
  if (auto http = probe.http_get()) return check_http(http, container, target, timeout, output);
  if (auto tcp = probe.tcp_socket()) return check_tcp(tcp, container, target, timeout, output);
  if (auto grpc = probe.grpc()) return check_grpc(grpc, target, timeout, output);
  return ProbeResult::success;
}

Result<void> run_handler(const core::v1::LifecycleHandler& handler, const core::v1::Container& container, const ProbeTarget& target) {
  std::string output;
  if (auto exec = handler.exec()) {
    auto result = target.runtime->exec_sync(target.container_id, words(exec.command()), {});
    if (!result) return fail(result.error());
    if (result->exit_code != 0)
      return fail(Status::internal("command '" + join(words(exec.command()), " ") + "' exited with " + std::to_string(result->exit_code) + ": " + result->err));
    return {};
  }
  if (auto http = handler.http_get()) {
    if (check_http(http, container, target, std::chrono::minutes(1), output) == ProbeResult::success) return {};
    return fail(Status::internal(output));
  }
  if (auto tcp = handler.tcp_socket()) {
    if (check_tcp(tcp, container, target, std::chrono::seconds(10), output) == ProbeResult::success) return {};
    return fail(Status::internal(output));
  }
  return {};
}

}  // namespace kcube::kubelet
