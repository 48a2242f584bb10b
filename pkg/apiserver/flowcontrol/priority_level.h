// One priority level at work: its seats, its queues, and who is next.
//
// A request takes seats, waits in the shortest queue of its flow's hand (shuffle sharding), or is refused. Queues are
// served by virtual time (fair queuing): each advances by the seats times the seconds that its requests took, and the
// one that is behind is served next. One mutex a level, held for no I/O; what to run comes back to the caller.
// Source: the Kubernetes docs on API Priority and Fairness (KEP 1040).
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "pkg/apiserver/flowcontrol/limits.h"
#include "pkg/base/clock.h"
#include "pkg/base/metrics.h"

namespace kcube::flowcontrol {

class PriorityLevel;

enum class Refusal { none, concurrency_limit, queue_full, time_out, cancelled };
std::string_view refusal_name(Refusal refusal);   // "queue-full", as metrics have it

// What a request is thought to take: seats while it runs, and more of them for a time after it, in which its watchers get
// what it wrote.
struct Work {
  int seats = 1, final_seats = 0;
  double additional_seconds = 0;                   // with the final seats
  std::optional<size_t> watchers;                  // that were counted for it
  int widest() const { return std::max(seats, final_seats); }
};

// What is counted of one FlowSchema at one level.
struct FlowStats {
  FlowStats();
  Counter dispatched{0}, refused[5] = {};          // by Refusal
  std::atomic<int64_t> executing{0}, executing_seats{0}, waiting{0}, waiting_seats{0};
  Histogram wait_executed, wait_refused, execution, watch_execution, seats, watchers, queue_length;
};

// How much of a level was in use, over time.
struct LevelUse {
  LevelUse();
  TimedHistogram demand, seats, executing, waiting;   // the latter three as parts of what there may be
};

// One request on its way through a level. Guarded by the level's mutex, but for what is fixed before.
struct Execution {
  enum class State { waiting, running, refused, done };
  // Fixed.
  std::shared_ptr<const FlowSchema> schema;
  std::shared_ptr<PriorityLevel> level;
  FlowStats* stats = nullptr;
  auth::Attributes attributes;
  Work work;
  int seats = 1;                                              // that it takes while it runs: the most it will need
  SystemTime arrived;
  double arrived_seconds = 0;
  // Of the level.
  std::atomic<State> state = State::waiting;
  Refusal refusal = Refusal::none;
  int queue = -1;
  SystemTime started{};
  double started_seconds = 0, ended_seconds = 0;              // ended: it lingers on its final seats
  std::list<std::shared_ptr<Execution>>::iterator position;   // in its queue, or among what runs
  std::function<void()> resume;                               // of one that was parked
};
using ExecutionPtr = std::shared_ptr<Execution>;

class PriorityLevel {
 public:
  explicit PriorityLevel(std::string name) : name_(std::move(name)) {}
  const std::string& name() const { return name_; }

  // New settings. Requests that wait stay where they are as long as there is such a queue; `run` gets those that may go.
  void configure(const PriorityLevelSpec& spec, const SeatLimits& limits, double now, std::vector<ExecutionPtr>& run);
  // No FlowSchema leads here any more; it goes when it is empty.
  void quiesce();
  void set_seats(int seats, double target, double now, std::vector<ExecutionPtr>& run);

  // Decides on `e`, whose state is then waiting, running or refused. `flow` tells the flows of the level apart.
  void start(const ExecutionPtr& e, uint64_t flow, double now, SystemTime time);
  // A waiting request is told by `resume` when it may run or was refused; returns false when that is so already.
  bool park(const ExecutionPtr& e, std::function<void()> resume);
  // The end of one that ran, but for its final seats. True when it has some: then finish() comes later.
  bool linger(const ExecutionPtr& e, double now);
  // The end of one that ran or lingered. `run` gets who may go now.
  void finish(const ExecutionPtr& e, double now, SystemTime time, std::vector<ExecutionPtr>& run);
  // Takes one that waits out again; its `resume`, or null when it does not wait.
  std::function<void()> drop(const ExecutionPtr& e, Refusal why, double now);
  // Everything that waits is dropped.
  void drop_all(double now, std::vector<ExecutionPtr>& dropped);

  // Seconds that those refused should stay away: more while many come, as TCP would.
  int retry_after(double now);
  void begin_period(double now);
  Claim end_period(double now);

  struct QueueView {
    size_t waiting = 0;
    int executing = 0, seats = 0, waiting_seats = 0, widest = 0;
    double next_dispatch = 0, work = 0;
  };
  struct View {
    std::string uid;
    bool exempt = false, quiescing = false;
    SeatLimits limits;
    int seats = 0;                                  // that it may use now
    double target = 0, virtual_time = 0;
    Demand demand;
    size_t active_queues = 0, waiting = 0, executing = 0;
    int seats_in_use = 0;
    uint64_t dispatched = 0, refused = 0, timed_out = 0, cancelled = 0;
    std::vector<QueueView> queues;
    std::shared_ptr<const LevelUse> use;            // until now
    std::vector<ExecutionPtr> requests;             // those that wait in the order of queues, then those that run
  };
  View view(double now);
  bool idle() const;
  // The width of the widest request that makes sense here.
  int widest() const;

 private:
  struct Queue {
    std::list<ExecutionPtr> waiting;
    int executing = 0, seats = 0, waiting_seats = 0;
    double next = 0;                                // virtual time at which its first request is due
    bool active() const { return executing > 0 || !waiting.empty(); }
  };
  bool fits(int seats) const;
  void advance(double now);
  int choose_queue(uint64_t flow) const;
  void run(const ExecutionPtr& e, double now, SystemTime time);
  void dispatch(double now, SystemTime time, std::vector<ExecutionPtr>& out);
  void refuse(const ExecutionPtr& e, Refusal why, double now);
  void note_demand(double now);

  const std::string name_;
  mutable std::mutex mutex_;
  PriorityLevelSpec spec_;
  SeatLimits limits_;
  int limit_ = 0;                                   // seats now
  double target_ = 0;
  bool quiescing_ = false;
  std::vector<Queue> queues_;
  std::list<ExecutionPtr> running_;
  size_t waiting_ = 0, next_queue_ = 0, active_queues_ = 0;
  int seats_in_use_ = 0, waiting_seats_ = 0;
  size_t lingering_ = 0;                            // of those that run
  double virtual_ = 0, advanced_ = 0;
  DemandMeter demand_;
  const std::shared_ptr<LevelUse> use_ = std::make_shared<LevelUse>();
  uint64_t dispatched_ = 0, refused_ = 0, timed_out_ = 0, cancelled_ = 0;
  // For retry_after().
  uint64_t refused_lately_ = 0;
  double lately_since_ = 0;
  int retry_after_ = 1;
};

}  // namespace kcube::flowcontrol
