// Probes, hooks, and the handlers both consist of.
#include "pkg/api/names.h"
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/base/strings.h"

namespace kcube::machinery {
namespace {

// HTTP header names: letters, digits and '-', '_'.
bool valid_header_name(std::string_view name) {
  for (unsigned char c : name)
    if (!std::isalnum(c) && c != '-' && c != '_') return false;
  return !name.empty();
}

void validate_http(const Cursor& http) {
  if (http["path"].empty()) http["path"].required();
  validate_port_or_name(http["port"]);
  if (!http["scheme"].in({"HTTP", "HTTPS"})) http["scheme"].not_supported({"HTTP", "HTTPS"});
  for (const Cursor& header : http["httpHeaders"].items())
    if (!valid_header_name(header["name"].text()))
      http["httpHeaders"].invalid_text(header["name"].text(),
                                       "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. "
                                       "'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')");
}

void validate_sleep(const Cursor& sleep, int64_t grace) {
  int64_t seconds = sleep["seconds"].number();
  if (seconds >= 0 && seconds <= grace) return;
  sleep.invalid(json::value(seconds),
                "must be non-negative and less than terminationGracePeriodSeconds (" + std::to_string(grace) + ")");
}

void validate_handler(const Cursor& handler, int64_t grace, bool hook) {
  size_t count = 0;
  for (std::string_view kind : {"exec", "httpGet", "tcpSocket", "grpc", "sleep"}) {
    Cursor action = handler[kind];
    if (!action.present() || (kind == "sleep" && !hook) || (kind == "grpc" && hook)) continue;
    if (count++ > 0) {
      action.forbidden("may not specify more than 1 handler type");
      continue;
    }
    if (kind == "exec" && action["command"].empty()) action["command"].required();
    if (kind == "httpGet") validate_http(action);
    if (kind == "tcpSocket") validate_port_or_name(action["port"]);
    if (kind == "grpc") action["port"].port();
    if (kind == "sleep") validate_sleep(action, grace);
  }
  if (count == 0) handler.required("must specify a handler type");
}

void validate_probe(const Cursor& probe, std::string_view kind, int64_t grace) {
  if (!probe.present()) return;
  validate_handler(probe, grace, false);
  for (std::string_view number :
       {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"})
    probe[number].non_negative();
  Cursor own_grace = probe["terminationGracePeriodSeconds"];
  if (own_grace.present() && own_grace.number() <= 0) own_grace.invalid("must be greater than 0");
  if (kind == "readinessProbe") {
    if (own_grace.present()) own_grace.invalid("must not be set for readinessProbes");
  } else if (probe["successThreshold"].number(1) != 1) {
    probe["successThreshold"].invalid("must be 1");
  }
}

}  // namespace

void validate_port_or_name(const Cursor& port) {
  if (!port.is_text())
    port.port();
  else
    port.check(api::check_port_name(port.text()));
}

void validate_probes_and_lifecycle(const PodContext& pod, const Cursor& container) {
  int64_t grace = pod.spec["terminationGracePeriodSeconds"].number(30);
  if (Cursor lifecycle = container["lifecycle"]; lifecycle.present()) {
    for (std::string_view hook : {"postStart", "preStop"})
      if (lifecycle[hook].present()) validate_handler(lifecycle[hook], grace, true);
  }
  for (std::string_view kind : {"livenessProbe", "readinessProbe", "startupProbe"})
    validate_probe(container[kind], kind, grace);
}

}  // namespace kcube::machinery
