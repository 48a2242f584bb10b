// What /debug/api_priority_and_fairness shows, and the metrics. Formats as kube-apiserver 1.36 has them.
#include <algorithm>
#include <cstdio>

#include "pkg/apiserver/flowcontrol/flow_control.h"

namespace kcube::flowcontrol {
namespace {

using Rows = std::vector<std::vector<std::string>>;

// Columns of one width each, a comma behind all but the last.
std::string table(const Rows& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size() + 2);
  }
  std::string out;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const bool last = i + 1 == row.size();
      out += last ? row[i] : row[i] + ",";
      if (!last) out.append(widths[i] - row[i].size() - 1, ' ');
    }
    out += '\n';
  }
  return out;
}

std::string seat_seconds(double value) {
  char text[48];
  return std::string(text, static_cast<size_t>(std::snprintf(text, sizeof text, "%.8fss", value)));
}
std::string flag(bool value) { return value ? "true" : "false"; }
std::string time_text(SystemTime time) { return time == SystemTime() ? "0001-01-01T00:00:00Z" : format_nano_time(time); }

// As Go prints a duration of milliseconds: "5ms", "0s".
std::string lingering_text(double seconds) {
  if (seconds == 0) return "0s";
  return seconds < 1 ? metric_number(seconds * 1000) + "ms" : metric_number(seconds) + "s";
}

std::string path_of(const auth::Attributes& a) {
  if (!a.resource_request) return a.path;
  std::string path = a.api_group.empty() ? "/api/" + a.api_version : "/apis/" + a.api_group + "/" + a.api_version;
  if (!a.namespace_.empty() && a.resource != "namespaces") path += "/namespaces/" + a.namespace_;
  path += "/" + a.resource;
  if (!a.name.empty()) path += "/" + a.name;
  return a.subresource.empty() ? path : path + "/" + a.subresource;
}

}  // namespace

std::string FlowControl::dump_priority_levels() const {
  Rows rows{{"PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests", "DispatchedRequests", "RejectedRequests", "TimedoutRequests", "CancelledRequests"}};
  for (const auto& [name, v] : levels()) {
    auto number = [](auto n) { return std::to_string(n); };
    rows.push_back({name, number(v.active_queues), flag(v.executing == 0 && v.waiting == 0), flag(v.quiescing), number(v.waiting), number(v.executing), number(v.dispatched), number(v.refused), number(v.timed_out), number(v.cancelled)});
  }
  return table(rows);
}

std::string FlowControl::dump_queues() const {
  Rows rows{{"PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR", "InitialSeatsSum", "MaxSeatsSum", "TotalWorkSum"}};
  for (const auto& [name, v] : levels()) {
    for (size_t i = 0; i < v.queues.size(); ++i) {
      const auto& q = v.queues[i];
      rows.push_back({name, std::to_string(i), std::to_string(q.waiting), std::to_string(q.executing), std::to_string(q.seats), seat_seconds(q.next_dispatch), std::to_string(q.waiting_seats), std::to_string(q.waiting_seats), seat_seconds(q.work)});
    }
  }
  return table(rows);
}

std::string FlowControl::dump_requests(bool details) const {
  Rows rows{{"PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "FlowDistingsher", "ArriveTime", "InitialSeats", "FinalSeats", "AdditionalLatency", "StartTime"}};
  if (details) rows[0].insert(rows[0].end(), {"UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource"});
  for (const auto& [name, v] : levels()) {
    int last_queue = -1, index = -1;
    for (const ExecutionPtr& e : v.requests) {
      const bool waits = e->state == Execution::State::waiting;
      index = e->queue == last_queue ? index + 1 : 0;
      last_queue = e->queue;
      const auth::Attributes& a = e->attributes;
      auto& row = rows.emplace_back(std::vector<std::string>{name, e->schema->name, std::to_string(e->queue), std::to_string(waits ? index : -1), e->schema->flow_of(a), time_text(e->arrived), std::to_string(e->work.seats), std::to_string(e->work.final_seats), lingering_text(e->work.additional_seconds), time_text(waits ? SystemTime() : e->started)});
      if (details) row.insert(row.end(), {a.user.name, a.verb, path_of(a), a.namespace_, a.name, a.api_version, a.resource, a.subresource});
    }
  }
  return table(rows);
}

void FlowControl::write_metrics(MetricsText& out) const {
  const auto all_flows = flows();
  const auto all_levels = levels();
  auto level_use = [&](const char* name, const char* help, auto&& value) {
    out.family(name, "histogram", help);
    for (const LevelView& l : all_levels) value(l);
  };
  auto used = [](const FlowStats& s) { return s.dispatched > 0 || std::ranges::any_of(s.refused, [](const Counter& c) { return c > 0; }); };
  auto per_flow = [&](const char* name, const char* type, const char* help, auto&& value) {
    out.family(name, type, help);
    for (const FlowView& f : all_flows)
      if (used(*f.stats)) out.sample({{"flow_schema", f.schema}, {"priority_level", f.level}}, static_cast<double>(value(*f.stats)));
  };
  auto per_level = [&](const char* name, const char* help, auto&& value) {
    out.family(name, "gauge", help);
    for (const LevelView& l : all_levels) out.sample({{"priority_level", l.name}}, static_cast<double>(value(l.view)));
  };
  per_flow("apiserver_flowcontrol_current_executing_requests", "gauge", "[BETA] Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem", [](const FlowStats& s) { return s.executing.load(); });
  per_flow("apiserver_flowcontrol_current_executing_seats", "gauge", "[BETA] Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem", [](const FlowStats& s) { return s.executing_seats.load(); });
  per_flow("apiserver_flowcontrol_current_inqueue_requests", "gauge", "[BETA] Number of requests currently pending in queues of the API Priority and Fairness subsystem", [](const FlowStats& s) { return s.waiting.load(); });
  per_flow("apiserver_flowcontrol_current_inqueue_seats", "gauge", "[ALPHA] Number of seats currently pending in queues of the API Priority and Fairness subsystem", [](const FlowStats& s) { return s.waiting_seats.load(); });
  per_level("apiserver_flowcontrol_current_limit_seats", "[ALPHA] current derived number of execution seats available to each priority level", [](const auto& v) { return v.seats; });
  per_level("apiserver_flowcontrol_current_r", "[ALPHA] R(time of last change)", [](const auto& v) { return v.virtual_time; });
  level_use("apiserver_flowcontrol_demand_seats", "[ALPHA] Observations, at the end of every nanosecond, of (the number of seats each priority level could use) / (nominal number of seats for that level)",
            [&](const LevelView& l) { out.histogram({{"priority_level", l.name}}, l.view.use->demand.histogram()); });
  per_level("apiserver_flowcontrol_demand_seats_average", "[ALPHA] Time-weighted average, over last adjustment period, of demand_seats", [](const auto& v) { return v.demand.average; });
  per_level("apiserver_flowcontrol_demand_seats_high_watermark", "[ALPHA] High watermark, over last adjustment period, of demand_seats", [](const auto& v) { return v.demand.high; });
  per_level("apiserver_flowcontrol_demand_seats_smoothed", "[ALPHA] Smoothed seat demands", [](const auto& v) { return v.demand.smoothed; });
  per_level("apiserver_flowcontrol_demand_seats_stdev", "[ALPHA] Time-weighted standard deviation, over last adjustment period, of demand_seats", [](const auto& v) { return v.demand.deviation; });
  per_flow("apiserver_flowcontrol_dispatched_requests_total", "counter", "[BETA] Number of requests executed by API Priority and Fairness subsystem", [](const FlowStats& s) { return s.dispatched.load(); });
  per_level("apiserver_flowcontrol_lower_limit_seats", "[ALPHA] Configured lower bound on number of execution seats available to each priority level", [](const auto& v) { return v.limits.lower; });
  per_level("apiserver_flowcontrol_nominal_limit_seats", "[BETA] Nominal number of execution seats configured for each priority level", [](const auto& v) { return v.limits.nominal; });
  level_use("apiserver_flowcontrol_priority_level_request_utilization", "[ALPHA] Observations, at the end of every nanosecond, of number of requests (as a fraction of the relevant limit) waiting or in any stage of execution (but only initial stage for WATCHes)",
            [&](const LevelView& l) {
              out.histogram({{"phase", "executing"}, {"priority_level", l.name}}, l.view.use->executing.histogram());
              if (!l.view.exempt) out.histogram({{"phase", "waiting"}, {"priority_level", l.name}}, l.view.use->waiting.histogram());
            });
  level_use("apiserver_flowcontrol_priority_level_seat_utilization", "[ALPHA] Observations, at the end of every nanosecond, of utilization of seats for any stage of execution (but only initial stage for WATCHes)",
            [&](const LevelView& l) { out.histogram({{"phase", "executing"}, {"priority_level", l.name}}, l.view.use->seats.histogram()); });
  out.family("apiserver_flowcontrol_rejected_requests_total", "counter", "[BETA] Number of requests rejected by API Priority and Fairness subsystem");
  for (const FlowView& f : all_flows)
    for (Refusal why : {Refusal::concurrency_limit, Refusal::queue_full, Refusal::time_out, Refusal::cancelled})
      if (uint64_t n = f.stats->refused[static_cast<size_t>(why)]; n > 0) out.sample({{"flow_schema", f.schema}, {"priority_level", f.level}, {"reason", refusal_name(why)}}, static_cast<double>(n));
  out.family("apiserver_flowcontrol_request_execution_seconds", "histogram", "[ALPHA] Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority and Fairness subsystem");
  for (const FlowView& f : all_flows) {
    if (!used(*f.stats)) continue;
    out.histogram({{"flow_schema", f.schema}, {"priority_level", f.level}, {"type", "regular"}}, f.stats->execution);
    out.histogram({{"flow_schema", f.schema}, {"priority_level", f.level}, {"type", "watch"}}, f.stats->watch_execution);
  }
  out.family("apiserver_flowcontrol_request_queue_length_after_enqueue", "histogram", "[ALPHA] Length of queue in the API Priority and Fairness subsystem, as seen by each request after it is enqueued");
  for (const FlowView& f : all_flows)
    if (used(*f.stats) && f.level != "exempt") out.histogram({{"flow_schema", f.schema}, {"priority_level", f.level}}, f.stats->queue_length);
  out.family("apiserver_flowcontrol_request_wait_duration_seconds", "histogram", "[BETA] Length of time a request spent waiting in its queue");
  for (const FlowView& f : all_flows) {
    if (!used(*f.stats) || f.level == "exempt") continue;
    out.histogram({{"execute", "false"}, {"flow_schema", f.schema}, {"priority_level", f.level}}, f.stats->wait_refused);
    out.histogram({{"execute", "true"}, {"flow_schema", f.schema}, {"priority_level", f.level}}, f.stats->wait_executed);
  }
  out.single("apiserver_flowcontrol_seat_fair_frac", "gauge", "[ALPHA] Fair fraction of server's concurrency to allocate to each priority level that can use it", fair_fraction());
  per_level("apiserver_flowcontrol_target_seats", "[ALPHA] Seat allocation targets", [](const auto& v) { return v.target; });
  per_level("apiserver_flowcontrol_upper_limit_seats", "[ALPHA] Configured upper bound on number of execution seats available to each priority level", [](const auto& v) { return v.limits.upper; });
  out.family("apiserver_flowcontrol_watch_count_samples", "histogram", "[ALPHA] count of watchers for mutating requests in API Priority and Fairness");
  for (const FlowView& f : all_flows)
    if (used(*f.stats)) out.histogram({{"flow_schema", f.schema}, {"priority_level", f.level}}, f.stats->watchers);
  out.family("apiserver_flowcontrol_work_estimated_seats", "histogram", "[ALPHA] Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and Fairness");
  for (const FlowView& f : all_flows)
    if (used(*f.stats)) out.histogram({{"flow_schema", f.schema}, {"priority_level", f.level}}, f.stats->seats);
}

}  // namespace kcube::flowcontrol
