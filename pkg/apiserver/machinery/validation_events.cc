// Events: those of v1 are as free as ever, those written by way of events.k8s.io are of the new sort and stay as they are.
#include "pkg/apiserver/machinery/validation_pod.h"
#include "pkg/apiserver/machinery/validation_rules.h"

namespace kcube::machinery {
namespace {

constexpr size_t kMaxAction = 128, kMaxReason = 128, kMaxNote = 1024, kMaxReporter = 128;

// The name that core's API has for it shows only there.
Cursor reporter_of(const Validation& v) {
  return v["reportingComponent"].renamed(v.requested_group.empty() ? "reportingComponent" : "reportingController");
}

// Those with a time of their own say who reports them and what was done.
void validate_timed(const Validation& v) {
  auto need = [](const Cursor& at, size_t limit) {
    if (at.empty()) at.required();
    if (at.text().size() > limit) at.invalid_text("", "can have at most " + std::to_string(limit) + " characters");
  };
  Cursor reporter = reporter_of(v);
  if (reporter.empty()) reporter.required();
  validate_label_key(reporter);
  need(v["reportingInstance"], kMaxReporter);
  need(v["action"], kMaxAction);
  need(v["reason"], kMaxReason);
  if (v["message"].text().size() > kMaxNote) v["message"].invalid_text("", "can have at most 1024 characters");
}

// Of all events, whichever way they came.
void validate_any(const Validation& v) {
  Cursor object = v["involvedObject"];
  const std::string_view space = object["namespace"].text(), own = v["metadata"]["namespace"].text();
  const bool timed = v["eventTime"].present();
  const bool anywhere = own == "default" || (timed && own == "kube-system");
  const bool sound = space.empty() ? own.empty() || anywhere : timed || space == own;
  if (!sound) object["namespace"].invalid_text(space, "does not match event.namespace");
  if (timed) validate_timed(v);
}

void validate_series(const Cursor& series) {
  if (!series.present()) return;
  if (series["count"].number() < 2) series["count"].invalid_text("", "should be at least 2");
  if (!series["lastObservedTime"].present()) series["lastObservedTime"].required();
}

void validate_new_sort(const Validation& v) {
  validate_series(v["series"]);
  if (!v["eventTime"].present()) v["eventTime"].required();
  if (Cursor type = v["type"]; !type.in({"Normal", "Warning"})) type.invalid_text("", "has invalid value: " + std::string(type.text()));
  for (std::string_view name : {"firstTimestamp", "lastTimestamp", "count"})
    if (v[name].present() && v[name].number(1) != 0) v[name].invalid_text("", "needs to be unset");
  if (!v["source"].empty()) v["source"].invalid_text("", "needs to be unset");
}

void check_new_sort_stays(const Validation& v) {
  if (!same(v["series"].value(), v.before({"series"}))) validate_series(v["series"]);
  const json::value null(nullptr), zero(0), text("");
  // No pointer leads to it: shown with all that it could have.
  const json::value nothing{{"Kind", ""}, {"Namespace", ""}, {"Name", ""}, {"UID", ""}, {"APIVersion", ""}, {"ResourceVersion", ""}, {"FieldPath", ""}};
  Cursor object = v["involvedObject"];
  (object.empty() ? object.with(nullptr) : object).unchanged_or(nothing, v.before({"involvedObject"}));
  // The reason is looked at twice, as it is there.
  const std::pair<std::string_view, const json::value*> members[] = {
      {"reason", &text}, {"message", &text}, {"source", &null}, {"firstTimestamp", &null}, {"lastTimestamp", &null}, {"count", &zero},
      {"reason", &text}, {"type", &text}, {"eventTime", &null}, {"action", &text}, {"related", &null}};
  for (const auto& [name, absent] : members) v[name].unchanged_or(*absent, v.before({name}));
  reporter_of(v).unchanged(v.before({"reportingComponent"}));
  v["reportingInstance"].unchanged(v.before({"reportingInstance"}));
}

}  // namespace

void validate_event(const Validation& v) {
  validate_any(v);
  if (v.requested_group.empty()) return;
  if (v.creating()) validate_new_sort(v);
  else check_new_sort_stays(v);
}

}  // namespace kcube::machinery
