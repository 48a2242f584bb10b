#include "pkg/apiserver/admission/webhooks.h"

#include <algorithm>
#include <latch>

#include "pkg/api/errors.h"
#include "pkg/apiserver/admission/admission_review.h"
#include "pkg/apiserver/admission/control.h"
#include "pkg/apiserver/observed_responder.h"
#include "pkg/apiserver/machinery/admission_expressions.h"
#include "pkg/apiserver/machinery/patch.h"
#include "pkg/apiserver/webhook_client.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

Webhook read_webhook(const json::value& hook, std::string_view configuration, size_t index) {
  Webhook out;
  out.name = json::get_string(hook, {"name"});
  out.configuration = configuration;
  out.id = out.configuration + "/" + out.name + "/" + std::to_string(index);
  if (const json::value* client = json::find(&hook, "clientConfig")) out.client_config = *client;
  out.timeout = std::chrono::seconds(json::get_int(hook, {"timeoutSeconds"}, 10));
  out.ignore_failures = json::get_string(hook, {"failurePolicy"}) == "Ignore";
  std::string_view effects = json::get_string(hook, {"sideEffects"});
  out.side_effects = effects != "None" && effects != "NoneOnDryRun";
  out.reinvoke = json::get_string(hook, {"reinvocationPolicy"}) == "IfNeeded";
  const json::array& versions = json::get_array(json::find(&hook, "admissionReviewVersions"));
  out.knows_v1 = std::ranges::any_of(versions, [](const json::value& v) { return json::get_string(&v) == "v1"; });
  return out;
}

// How one call went.
struct Outcome {
  enum class Kind { allowed, denied, refused, failed };   // refused: whatever the failure policy says
  Kind kind = Kind::allowed;
  Status status{0, "", ""};
  ReviewAnswer answer;
};

Outcome failed(const Webhook& hook, const std::string& why) {
  return {Outcome::Kind::failed, Status::internal("failed calling webhook \"" + hook.name + "\": " + why), {}};
}

Status denial_of(const Webhook& hook, const Status& said) {
  std::string by = "admission webhook \"" + hook.name + "\" denied the request";
  std::string message = !said.message().empty() ? by + ": " + said.message() : !said.reason().empty() ? by + ": " + said.reason() : by + " without explanation";
  Status out(said.code(), said.reason(), std::move(message));
  out.details() = said.details();
  return out;
}

Outcome ask(const Admission& a, const Webhook& hook, const Resource& as, bool mutating) {
  if (a.call.dry_run && hook.side_effects)
    return {Outcome::Kind::refused, Status::bad_request("admission webhook \"" + hook.name + "\" does not support dry run"), {}};
  if (!hook.knows_v1) return failed(hook, "webhook does not accept known AdmissionReview versions (v1)");
  std::string uid = new_uuid();
  auto request = make_review(a, as, uid);
  if (!request) return {Outcome::Kind::refused, std::move(request.error()), {}};
  auto review = a.core.webhooks.post(hook.client_config, *request, hook.timeout);
  if (!review) return failed(hook, "failed to call webhook: " + review.error().message());
  auto answer = read_review(*review, uid, mutating);
  if (!answer) return failed(hook, "received invalid webhook response: " + answer.error().message());
  if (answer->allowed) return {Outcome::Kind::allowed, Status(0, "", ""), std::move(*answer)};
  Status denial = denial_of(hook, answer->denial);
  return {Outcome::Kind::denied, std::move(denial), std::move(*answer)};
}

Outcome call(const Admission& a, const Webhook& hook, const Resource& as, bool mutating) {
  const auto began = std::chrono::steady_clock::now();
  Outcome outcome = ask(a, hook, as, mutating);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  const char* type = mutating ? "admit" : "validating";
  AdmissionMetrics& metrics = a.core.admission.metrics();
  using Kind = Outcome::Kind;
  const bool rejected = outcome.kind != Kind::allowed && !(outcome.kind == Kind::failed && hook.ignore_failures);
  const int code = outcome.kind == Kind::allowed ? 200 : outcome.kind == Kind::refused ? 0 : outcome.status.code();
  metrics.called(hook.name, type, a.operation, rejected, outcome.kind == Kind::failed ? "calling_webhook_error" : outcome.kind == Kind::refused ? "apiserver_internal_error" : "", code, seconds);
  if (outcome.kind == Kind::failed && hook.ignore_failures) metrics.failed_open(hook.name, type);
  return outcome;
}

Status internal_error(const std::string& why) {
  Status status = Status::internal("Internal error occurred: " + why);
  status.details().causes.push_back({"", why, ""});
  return status;
}

// Warnings and annotations of a call, and whether the request goes on after it.
Result<void> settle(Admission& a, const Webhook& hook, Outcome& outcome, std::string_view kind, size_t index) {
  for (std::string& w : outcome.answer.warnings)
    if (std::ranges::find(a.call.warnings, w) == a.call.warnings.end()) a.call.warn(std::move(w));
  for (auto& [key, value] : outcome.answer.audit_annotations) a.call.audit_annotations[hook.name + "/" + key] = std::move(value);
  switch (outcome.kind) {
    case Outcome::Kind::allowed: return {};
    case Outcome::Kind::denied:
    case Outcome::Kind::refused: return fail(std::move(outcome.status));
    case Outcome::Kind::failed: break;
  }
  if (!hook.ignore_failures) return fail(internal_error(outcome.status.message()));
  int round = a.rounds == nullptr ? 0 : a.rounds->round;
  a.call.audit_annotations["failed-open." + std::string(kind) + ".webhook.admission.k8s.io/round_" + std::to_string(round) + "_index_" + std::to_string(index)] = hook.name;
  log::warn("admission", outcome.status.message() + "; ignored, as its failurePolicy says");
  return {};
}

Result<bool> apply_patch(Admission& a, const Webhook& hook, const Resource& as, const json::value& operations, size_t index) {
  auto before = served_as(a, *a.object, as);
  if (!before) return fail(before.error());
  auto patched = machinery::json_patch(*before, operations);
  if (!patched) return fail(internal_error(patched.error().message()));
  bool changed = *patched != *before;
  std::string where = "webhook.admission.k8s.io/round_" + std::to_string(a.rounds->round) + "_index_" + std::to_string(index);
  json::object note{{"configuration", hook.configuration}, {"webhook", hook.name}};
  note["mutated"] = changed;
  a.call.audit_annotations["mutation." + where] = json::serialize(json::value(note));
  if (!changed) return false;
  auto stored = from_served(a, as, std::move(*patched));
  if (!stored) return fail(internal_error(stored.error().message()));
  *a.object = std::move(*stored);
  return true;
}

bool exempt(const Admission& a) {
  // Otherwise a webhook could forbid its own removal.
  return a.call.resource->group() == "admissionregistration.k8s.io";
}

// As what the webhook is to see the request; null when it is not for it.
Result<const Resource*> concerned(const Webhook& hook, const Admission& a) {
  auto as = match(hook.constraints, a);
  if (!as || *as == nullptr || hook.conditions.empty()) return as;
  auto scope = Scope::create(a, **as);
  if (!scope) return fail(scope.error());
  auto holds = conditions_hold(hook.conditions, **scope, a, hook.ignore_failures);
  if (!holds) return fail(holds.error());
  return *holds ? *as : nullptr;
}

// The time of webhooks is none of ours: the request's indicators leave it out.
class Outside {
 public:
  explicit Outside(const Admission& a) : observed_(a.call.observed) {}
  ~Outside() {
    if (observed_ != nullptr) observed_->exclude(std::chrono::steady_clock::now() - began_);
  }

 private:
  ObservedResponder* const observed_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

Result<void> mutate_by_webhooks(Admission& a) {
  auto hooks = a.core.admission.mutating_webhooks();
  if (!hooks || exempt(a)) return {};
  Outside outside(a);
  Reinvocation& rounds = *a.rounds;
  auto require_others = [&] {
    rounds.due.insert(rounds.invoked.begin(), rounds.invoked.end());
    rounds.invoked.clear();
  };
  if (rounds.round > 0 && a.object != nullptr && *a.object != rounds.last) require_others();
  size_t index = 0;
  for (const Webhook& hook : *hooks) {
    if (rounds.round > 0 && !rounds.due.contains(hook.id)) continue;
    auto as = concerned(hook, a);
    if (!as) return fail(as.error());
    if (*as == nullptr) continue;
    Outcome outcome = call(a, hook, **as, true);
    if (auto done = settle(a, hook, outcome, "mutating", index); !done) return done;
    bool changed = false;
    if (outcome.answer.patch && a.object != nullptr) {
      auto applied = apply_patch(a, hook, **as, *outcome.answer.patch, index);
      if (!applied) return fail(applied.error());
      changed = *applied;
    }
    if (changed) {
      require_others();
      rounds.again = true;
    }
    if (hook.reinvoke) rounds.invoked.insert(hook.id);
    ++index;
  }
  if (a.object != nullptr && index > 0) rounds.last = *a.object;
  return {};
}

struct Due {
  const Webhook* hook;
  const Resource* as;
  Outcome outcome;
};

// All but the last on threads of their own: a request waits for the slowest, not for the sum.
void call_all(const Admission& a, std::vector<Due>& due) {
  std::latch others(static_cast<std::ptrdiff_t>(due.size()) - 1);
  for (size_t i = 0; i + 1 < due.size(); ++i) {
    auto one = [&a, &d = due[i], &others] {
      d.outcome = call(a, *d.hook, *d.as, false);
      others.count_down();
    };
    if (!a.core.admission.calls().submit(one)) one();
  }
  due.back().outcome = call(a, *due.back().hook, *due.back().as, false);
  others.wait();
}

Result<void> validate_by_webhooks(Admission& a) {
  auto hooks = a.core.admission.validating_webhooks();
  if (!hooks || exempt(a)) return {};
  std::vector<Due> due;
  for (const Webhook& hook : *hooks) {
    auto as = concerned(hook, a);
    if (!as) return fail(as.error());
    if (*as != nullptr) due.push_back({&hook, *as, {}});
  }
  if (due.empty()) return {};
  Outside outside(a);
  call_all(a, due);
  Result<void> verdict;
  for (size_t i = 0; i < due.size(); ++i) {
    auto done = settle(a, *due[i].hook, due[i].outcome, "validating", i);
    if (done) continue;
    if (verdict) verdict = std::move(done);
    else verdict.error().details().causes.push_back({"", done.error().message(), ""});
  }
  return verdict;
}

}  // namespace

std::shared_ptr<const Webhooks> read_webhooks(const ResourceCache& configurations) {
  auto out = std::make_shared<Webhooks>();
  cel::Environment environment = machinery::admission_environment(false);
  // The snapshot is in the order of names.
  for (SnapshotPtr all = configurations.snapshot(); const ObjectPtr& configuration : all->objects) {
    size_t index = 0;
    for (const json::value& hook : json::get_array(json::find(&configuration->value(), "webhooks"))) {
      Webhook one = read_webhook(hook, configuration->name(), index++);
      auto constraints = read_webhook_constraints(hook);
      if (!constraints) {
        log::warn("admission", "webhook " + one.id + " is left out: " + constraints.error().message());
        continue;
      }
      one.constraints = std::move(*constraints);
      one.conditions = read_match_conditions(json::find(&hook, "matchConditions"), environment);
      out->push_back(std::move(one));
    }
  }
  if (out->empty()) return nullptr;
  return out;
}

const AdmissionPlugin kMutatingAdmissionWebhook{"MutatingAdmissionWebhook", mutate_by_webhooks, nullptr};
const AdmissionPlugin kValidatingAdmissionWebhook{"ValidatingAdmissionWebhook", nullptr, validate_by_webhooks};

}  // namespace kcube::apiserver
