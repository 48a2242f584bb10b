#include "pkg/apiserver/flowcontrol/flow_control.h"

#include <algorithm>
#include <set>

#include "pkg/base/strings.h"

namespace kcube::flowcontrol {
namespace {

constexpr std::chrono::seconds kPeriod{10};   // between two shares of the seats
constexpr double kNoDemand = 0.5;

// Spreads a hash over all of its bits (the finalizer of splitmix64).
uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// Stored objects and those that must be there: these by their names instead of what is stored.
std::vector<json::value> with_mandatory(const std::vector<json::value>& stored, std::string_view kind) {
  std::vector<json::value> out = stored;
  for (const json::value& must : mandatory_objects()) {
    if (json::get_string(must, {"kind"}) != kind) continue;
    std::string_view name = json::get_string(must, {"metadata", "name"});
    if (std::ranges::none_of(stored, [&](const json::value& o) { return json::get_string(o, {"metadata", "name"}) == name; })) out.push_back(must);
  }
  return out;
}

}  // namespace

// --- Tickets ---

Ticket& Ticket::operator=(Ticket&& other) noexcept {
  release();
  owner_ = std::exchange(other.owner_, nullptr);
  e_ = std::move(other.e_);
  return *this;
}

void Ticket::release() {
  if (!e_) return;
  if (e_->state == Execution::State::waiting) e_->level->drop(e_, Refusal::cancelled, owner_->seconds());
  owner_->finish(e_);
  e_.reset();
}

int Ticket::retry_after() const { return e_->level->retry_after(owner_->seconds()); }

// --- Configuration ---

FlowControl::FlowControl(FlowControlOptions options, Clock& clock, std::function<void(std::function<void()>)> run)
    : options_(options), clock_(clock), run_(std::move(run)) {
  anchor_->owner = this;
  configure({}, {});
}

FlowControl::~FlowControl() { stop(); }

void FlowControl::stop() {
  {
    std::lock_guard lock(anchor_->mutex);
    anchor_->owner = nullptr;
  }
  stopped_ = true;
  std::vector<ExecutionPtr> dropped;
  {
    std::lock_guard lock(mutex_);
    for (auto& [name, level] : levels_) level->drop_all(seconds(), dropped);
  }
}

double FlowControl::seconds() const { return std::chrono::duration<double>(clock_.steady_now().time_since_epoch()).count(); }

FlowStats* FlowControl::stats_of(const std::string& schema, const std::string& level) {
  auto& stats = stats_[{schema, level}];
  if (!stats) stats = std::make_unique<FlowStats>();
  return stats.get();
}

void FlowControl::configure(const std::vector<json::value>& schemas, const std::vector<json::value>& levels) {
  std::vector<ExecutionPtr> run;
  {
    std::lock_guard lock(mutex_);
    std::vector<PriorityLevelSpec> specs;
    for (const json::value& object : with_mandatory(levels, "PriorityLevelConfiguration")) specs.push_back(PriorityLevelSpec::parse(object));
    std::vector<const PriorityLevelSpec*> pointers;
    for (const PriorityLevelSpec& spec : specs) pointers.push_back(&spec);
    auto limits = nominal_limits(options_.seats, pointers);
    for (size_t i = 0; i < specs.size(); ++i) {
      auto& level = levels_[specs[i].name];
      if (!level) level = std::make_shared<PriorityLevel>(specs[i].name);
      level->configure(specs[i], limits[i], seconds(), run);
    }
    auto spec_of = [&](const std::string& name) { return std::ranges::find(specs, name, &PriorityLevelSpec::name); };
    std::erase_if(levels_, [&](auto& one) {
      if (spec_of(one.first) != specs.end()) return false;
      one.second->quiesce();
      return one.second->idle();
    });
    auto entries = std::make_shared<Configuration>();
    for (const json::value& object : with_mandatory(schemas, "FlowSchema")) {
      auto schema = std::make_shared<FlowSchema>(FlowSchema::parse(object));
      auto spec = spec_of(schema->priority_level);
      if (spec == specs.end()) continue;   // it dangles, and is as if it were not there
      schema->level_uid = spec->uid;
      uint64_t seed = stable_hash(schema->name);
      FlowStats* stats = stats_of(schema->name, schema->priority_level);
      entries->push_back({std::move(schema), levels_[spec->name], stats, seed});
    }
    std::ranges::sort(*entries, {}, [](const Entry& e) { return std::pair<int64_t, std::string_view>(e.schema->precedence, e.schema->name); });
    configuration_.store(std::move(entries));
  }
  resume_all(run);
}

// --- Requests ---

Ticket FlowControl::begin(auth::Attributes request, const std::function<Work(int)>& estimate) {
  auto configuration = configuration_.load();
  auto entry = std::ranges::find_if(*configuration, [&](const Entry& e) { return e.schema->matches(request); });
  if (entry == configuration->end()) --entry;   // what catches all
  auto e = std::make_shared<Execution>();
  e->schema = entry->schema;
  e->level = entry->level;
  e->stats = entry->stats;
  e->attributes = std::move(request);
  if (estimate) {
    e->work = estimate(entry->level->widest());
    e->seats = e->work.widest();
  }
  e->arrived = clock_.now();
  e->arrived_seconds = seconds();
  uint64_t flow = mixed(entry->seed ^ stable_hash(entry->schema->flow_of(e->attributes)));
  entry->level->start(e, flow, e->arrived_seconds, e->arrived);
  if (!periods_.load(std::memory_order_relaxed) && entry != configuration->begin()) begin_periods();
  return {*this, std::move(e)};
}

void FlowControl::park(Ticket ticket, std::chrono::milliseconds wait, std::function<void(Ticket)> resume) {
  ExecutionPtr e = ticket.e_;
  auto held = std::make_shared<Ticket>(std::move(ticket));
  auto carry_on = [held, resume = std::move(resume)] { resume(std::move(*held)); };
  if (!e->level->park(e, carry_on)) {
    return run_(carry_on);
  }
  if (wait.count() == 0) wait = options_.longest_wait;
  clock_.schedule(std::min(wait, options_.longest_wait), [anchor = anchor_, weak = std::weak_ptr(e)] {
    std::lock_guard lock(anchor->mutex);
    if (auto late = weak.lock(); late && anchor->owner != nullptr) anchor->owner->drop(late, Refusal::time_out);
  });
  if (stopped_) drop(e, Refusal::cancelled);
}

void FlowControl::drop(const ExecutionPtr& e, Refusal why) {
  if (auto resume = e->level->drop(e, why, seconds()); resume && why == Refusal::time_out) run_(std::move(resume));
}

void FlowControl::cancel(const std::weak_ptr<Execution>& id) {
  if (auto e = id.lock()) drop(e, Refusal::cancelled);
}

void FlowControl::finish(const ExecutionPtr& e) {
  if (e->state != Execution::State::running) return;
  if (!e->level->linger(e, seconds())) return release(e);
  // Its watchers are still being told.
  clock_.schedule(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(e->work.additional_seconds)), [anchor = anchor_, e] {
    std::lock_guard lock(anchor->mutex);
    if (anchor->owner != nullptr) anchor->owner->release(e);
  });
}

void FlowControl::release(const ExecutionPtr& e) {
  std::vector<ExecutionPtr> run;
  e->level->finish(e, seconds(), clock_.now(), run);
  if (!run.empty()) resume_all(run);
}

// Those without `resume` are not parked yet, and find out when they are.
void FlowControl::resume_all(std::vector<ExecutionPtr>& executions) {
  for (ExecutionPtr& e : executions)
    if (auto resume = std::exchange(e->resume, nullptr)) run_(std::move(resume));
}

// --- Periods ---

void FlowControl::begin_periods() {
  if (stopped_ || periods_.exchange(true)) return;
  {
    std::lock_guard lock(mutex_);
    for (auto& [name, level] : levels_) level->begin_period(seconds());
  }
  schedule_period();
}

void FlowControl::schedule_period() {
  clock_.schedule(kPeriod, [anchor = anchor_] {
    std::lock_guard lock(anchor->mutex);
    if (anchor->owner != nullptr) anchor->owner->end_period();
  });
}

void FlowControl::end_period() {
  std::vector<ExecutionPtr> run;
  bool demand = false;
  {
    std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<PriorityLevel>> levels;
    std::vector<Claim> claims;
    const double now = seconds();
    for (auto& [name, level] : levels_) {
      levels.push_back(level);
      claims.push_back(level->end_period(now));
      demand |= !claims.back().exempt && (claims.back().demand.smoothed > kNoDemand || claims.back().demand.high > kNoDemand);
    }
    double fraction = 0;
    auto shares = share_seats(options_.seats, claims, &fraction);
    fair_fraction_ = fraction;
    for (size_t i = 0; i < levels.size(); ++i) levels[i]->set_seats(shares[i].seats, shares[i].target, now, run);
  }
  periods_ = demand;
  if (demand) schedule_period();
  resume_all(run);
}

// --- For those who look ---

std::vector<FlowControl::LevelView> FlowControl::levels() const {
  std::lock_guard lock(mutex_);
  std::vector<LevelView> out;
  for (const auto& [name, level] : levels_) out.push_back({name, level->view(seconds())});
  return out;
}

std::vector<FlowControl::FlowView> FlowControl::flows() const {
  std::lock_guard lock(mutex_);
  std::vector<FlowView> out;
  for (const auto& [names, stats] : stats_) out.push_back({names.first, names.second, stats.get()});
  return out;
}

}  // namespace kcube::flowcontrol
