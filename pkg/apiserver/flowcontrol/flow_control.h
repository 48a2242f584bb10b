// API Priority and Fairness: which requests run now, which wait for a seat, which are refused.
//
// The request pipeline asks begin() between authentication and authorization, parks what has to wait (no thread waits
// with it), and lets go of the ticket when the answer is given. The configuration is exchanged whole by whoever follows
// the stored objects. Every tenth second while there is demand the seats are shared out anew by who needs them.
// Thread-safe. Source: the Kubernetes docs on API Priority and Fairness (KEP 1040).
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pkg/apiserver/flowcontrol/priority_level.h"

namespace kcube::flowcontrol {

class FlowControl;

// A request's place: seats while it runs. Letting go of it gives them back.
class Ticket {
 public:
  Ticket() = default;
  Ticket(FlowControl& owner, ExecutionPtr e) : owner_(&owner), e_(std::move(e)) {}
  Ticket(Ticket&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), e_(std::move(other.e_)) {}
  Ticket& operator=(Ticket&& other) noexcept;
  ~Ticket() { release(); }
  void release();
  explicit operator bool() const { return e_ != nullptr; }
  // Of one that waits it changes behind the caller's back.
  Execution::State state() const { return e_->state; }
  const Execution& execution() const { return *e_; }
  std::weak_ptr<Execution> id() const { return e_; }
  // "" for what is not stored.
  const std::string& schema_uid() const { return e_->schema->uid; }
  const std::string& level_uid() const { return e_->schema->level_uid; }
  // Of one that was refused: seconds until another attempt.
  int retry_after() const;

 private:
  friend class FlowControl;
  FlowControl* owner_ = nullptr;
  ExecutionPtr e_;
};

struct FlowControlOptions {
  int seats = 600;                                             // of the whole server
  std::chrono::milliseconds longest_wait{15000};               // in a queue: a quarter of the time that a request has
};

class FlowControl {
 public:
  // `run` carries on with parked requests on threads where they may block; what it drops is answered by nobody.
  FlowControl(FlowControlOptions options, Clock& clock, std::function<void(std::function<void()>)> run);
  ~FlowControl();
  // No more requests; what waits is dropped.
  void stop();

  // Everything that is stored of these kinds; what is mandatory is there anyway.
  void configure(const std::vector<json::value>& schemas, const std::vector<json::value>& levels);

  // Decides. `estimate` says what the request takes at a level that allows as many seats as its argument; null: one seat.
  Ticket begin(auth::Attributes request, const std::function<Work(int widest)>& estimate);
  // Of a ticket that waits: `resume` gets it back on a thread of `run`, running or refused. `wait` is how long at most,
  // 0 for the usual.
  void park(Ticket ticket, std::chrono::milliseconds wait, std::function<void(Ticket)> resume);
  // Nobody waits for the answer to this ticket's request any more.
  void cancel(const std::weak_ptr<Execution>& id);

  // --- For those who look ---
  struct LevelView {
    std::string name;
    PriorityLevel::View view;
  };
  std::vector<LevelView> levels() const;
  struct FlowView {
    std::string schema, level;
    const FlowStats* stats;
  };
  std::vector<FlowView> flows() const;
  double fair_fraction() const { return fair_fraction_.load(std::memory_order_relaxed); }
  std::string dump_priority_levels() const;
  std::string dump_queues() const;
  std::string dump_requests(bool details) const;
  void write_metrics(MetricsText& out) const;

 private:
  friend class Ticket;
  struct Entry {
    std::shared_ptr<const FlowSchema> schema;
    std::shared_ptr<PriorityLevel> level;
    FlowStats* stats;
    uint64_t seed;                                             // of the flows' hashes
  };
  using Configuration = std::vector<Entry>;                    // in matching order
  // What timers find of this, until it is gone.
  struct Anchor {
    std::mutex mutex;
    FlowControl* owner = nullptr;
  };
  double seconds() const;
  void finish(const ExecutionPtr& e);
  void release(const ExecutionPtr& e);
  void resume_all(std::vector<ExecutionPtr>& executions);
  void drop(const ExecutionPtr& e, Refusal why);
  void begin_periods();
  void schedule_period();
  void end_period();
  FlowStats* stats_of(const std::string& schema, const std::string& level);

  const FlowControlOptions options_;
  Clock& clock_;
  const std::function<void(std::function<void()>)> run_;
  std::atomic<std::shared_ptr<const Configuration>> configuration_;
  std::atomic<bool> stopped_{false}, periods_{false};
  std::atomic<double> fair_fraction_{0};
  mutable std::mutex mutex_;                                   // guards what follows; before a level's own
  std::map<std::string, std::shared_ptr<PriorityLevel>> levels_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<FlowStats>> stats_;
  std::shared_ptr<Anchor> anchor_ = std::make_shared<Anchor>();
};

}  // namespace kcube::flowcontrol
