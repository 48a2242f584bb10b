#include "pkg/apiserver/flowcontrol/priority_level.h"

#include <algorithm>
#include <array>
#include <limits>

namespace kcube::flowcontrol {
namespace {

// What a request is thought to take until it has shown what it takes.
constexpr double kGuessSeconds = 0.003;
constexpr int kMostSeats = 10, kMostRetryAfter = 32, kWidestPercent = 15;
constexpr int kMostHand = 64;

constexpr double kWaitBounds[] = {0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30};
constexpr double kSeatBounds[] = {1, 2, 4, 8, 16, 32, 64, 100};
constexpr double kWatcherBounds[] = {0, 1, 10, 100, 1000, 10000};
constexpr double kQueueBounds[] = {0, 10, 25, 50, 100, 250, 500, 1000};
constexpr double kDemandBounds[] = {0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.7, 2, 2.8, 4, 6};
constexpr double kSeatUseBounds[] = {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1};
constexpr double kRequestUseBounds[] = {0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1};

}  // namespace

std::string_view refusal_name(Refusal refusal) {
  switch (refusal) {
    case Refusal::concurrency_limit: return "concurrency-limit";
    case Refusal::queue_full: return "queue-full";
    case Refusal::time_out: return "time-out";
    case Refusal::cancelled: return "cancelled";
    case Refusal::none: break;
  }
  return "";
}

FlowStats::FlowStats() : wait_executed(kWaitBounds), wait_refused(kWaitBounds), execution(kWaitBounds), watch_execution(kWaitBounds), seats(kSeatBounds), watchers(kWatcherBounds), queue_length(kQueueBounds) {}

LevelUse::LevelUse() : demand(kDemandBounds), seats(kSeatUseBounds), executing(kRequestUseBounds), waiting(kRequestUseBounds) {}

void PriorityLevel::configure(const PriorityLevelSpec& spec, const SeatLimits& limits, double now, std::vector<ExecutionPtr>& run) {
  std::lock_guard lock(mutex_);
  advance(now);
  if (!(limits == limits_)) limit_ = limits.nominal;   // until the next period
  limits_ = limits;
  spec_ = spec;
  quiescing_ = false;
  const size_t wanted = static_cast<size_t>(spec.queues);
  // Fewer queues: those beyond go when they are empty, so that nobody loses his place.
  while (queues_.size() > wanted && !queues_.back().active()) queues_.pop_back();
  if (queues_.size() < wanted) queues_.resize(wanted);
  dispatch(now, SystemTime(), run);
}

void PriorityLevel::quiesce() {
  std::lock_guard lock(mutex_);
  quiescing_ = true;
}

void PriorityLevel::set_seats(int seats, double target, double now, std::vector<ExecutionPtr>& run) {
  std::lock_guard lock(mutex_);
  advance(now);
  limit_ = seats;
  target_ = target;
  dispatch(now, SystemTime(), run);
}

bool PriorityLevel::fits(int seats) const {
  if (spec_.exempt) return true;
  // A request wider than the level is runs alone.
  if (seats > limit_) return running_.empty();
  return seats_in_use_ + seats <= limit_;
}

// Virtual time runs as fast as each of the queues that have something to do could be served.
void PriorityLevel::advance(double now) {
  double passed = std::max(0.0, now - advanced_);
  advanced_ = now;
  if (active_queues_ == 0) return;
  virtual_ += passed * std::min(seats_in_use_ + waiting_seats_, limit_) / static_cast<double>(active_queues_);
}

// Deals the flow its hand of queues and takes the one with the least to do.
int PriorityLevel::choose_queue(uint64_t flow) const {
  const int queues = spec_.queues, hand = std::min({spec_.hand_size, spec_.queues, kMostHand});
  std::array<int, kMostHand> dealt;
  int best = 0, least = std::numeric_limits<int>::max();
  for (int i = 0; i < hand; ++i) {
    auto left = static_cast<uint64_t>(queues - i);
    int card = static_cast<int>(flow % left);
    flow /= left;
    // The card counts only what is left in the deck; `dealt` ascends.
    int at = 0;
    for (; at < i && dealt[static_cast<size_t>(at)] <= card; ++at) ++card;
    std::copy_backward(dealt.begin() + at, dealt.begin() + i, dealt.begin() + i + 1);
    dealt[static_cast<size_t>(at)] = card;
    const Queue& queue = queues_[static_cast<size_t>(card)];
    if (int load = queue.waiting_seats + queue.seats; load < least) least = load, best = card;
  }
  return best;
}

void PriorityLevel::run(const ExecutionPtr& e, double now, SystemTime time) {
  if (e->queue >= 0) {
    Queue& queue = queues_[static_cast<size_t>(e->queue)];
    if (!queue.active()) {
      ++active_queues_;
      queue.next = virtual_;   // what it did not use while it was idle is gone
    }
    ++queue.executing;
    queue.seats += e->seats;
    queue.next += e->seats * kGuessSeconds + e->work.final_seats * e->work.additional_seconds;
  }
  e->state = Execution::State::running;
  e->started = time == SystemTime() ? std::chrono::system_clock::now() : time;
  e->started_seconds = now;
  running_.push_back(e);
  e->position = std::prev(running_.end());
  seats_in_use_ += e->seats;
  ++dispatched_;
  count(e->stats->dispatched);
  e->stats->executing.fetch_add(1, std::memory_order_relaxed);
  e->stats->executing_seats.fetch_add(e->seats, std::memory_order_relaxed);
  e->stats->seats.observe(e->seats);
  if (e->work.watchers) e->stats->watchers.observe(static_cast<double>(*e->work.watchers));
  if (!spec_.exempt) e->stats->wait_executed.observe(now - e->arrived_seconds);
}

void PriorityLevel::refuse(const ExecutionPtr& e, Refusal why, double now) {
  e->state = Execution::State::refused;
  e->refusal = why;
  ++refused_;
  ++refused_lately_;
  if (why == Refusal::time_out) ++timed_out_;
  if (why == Refusal::cancelled) ++cancelled_;
  count(e->stats->refused[static_cast<size_t>(why)]);
  e->stats->wait_refused.observe(now - e->arrived_seconds);
}

void PriorityLevel::start(const ExecutionPtr& e, uint64_t flow, double now, SystemTime time) {
  std::lock_guard lock(mutex_);
  if (spec_.queues == 0 || spec_.exempt) {
    if (fits(e->seats)) run(e, now, time);
    else refuse(e, Refusal::concurrency_limit, now);
    return note_demand(now);
  }
  advance(now);
  e->queue = choose_queue(flow);
  Queue& queue = queues_[static_cast<size_t>(e->queue)];
  if (waiting_ == 0 && seats_in_use_ < limit_ && fits(e->seats)) {
    e->stats->queue_length.observe(0);
    run(e, now, time);
  } else if (queue.waiting.size() >= static_cast<size_t>(spec_.queue_length_limit)) {
    refuse(e, Refusal::queue_full, now);
  } else {
    if (!queue.active()) {
      ++active_queues_;
      queue.next = virtual_;
    }
    queue.waiting.push_back(e);
    e->position = std::prev(queue.waiting.end());
    queue.waiting_seats += e->seats;
    waiting_seats_ += e->seats;
    ++waiting_;
    e->stats->queue_length.observe(static_cast<double>(queue.waiting.size()));
    e->stats->waiting.fetch_add(1, std::memory_order_relaxed);
    e->stats->waiting_seats.fetch_add(e->seats, std::memory_order_relaxed);
  }
  note_demand(now);
}

bool PriorityLevel::park(const ExecutionPtr& e, std::function<void()> resume) {
  std::lock_guard lock(mutex_);
  if (e->state != Execution::State::waiting) return false;
  e->resume = std::move(resume);
  return true;
}

// Lets those go that find seats, always from the queue that is furthest behind.
void PriorityLevel::dispatch(double now, SystemTime time, std::vector<ExecutionPtr>& out) {
  while (waiting_ > 0 && seats_in_use_ < limit_) {
    size_t best = queues_.size();
    for (size_t i = 0; i < queues_.size(); ++i) {
      size_t at = (next_queue_ + i) % queues_.size();
      if (!queues_[at].waiting.empty() && (best == queues_.size() || queues_[at].next < queues_[best].next)) best = at;
    }
    Queue& queue = queues_[best];
    ExecutionPtr e = queue.waiting.front();
    if (!fits(e->seats)) break;   // it waits for its width; others would starve it
    next_queue_ = best + 1;
    queue.waiting_seats -= e->seats;
    waiting_seats_ -= e->seats;
    --waiting_;
    e->stats->waiting.fetch_sub(1, std::memory_order_relaxed);
    e->stats->waiting_seats.fetch_sub(e->seats, std::memory_order_relaxed);
    run(e, now, time);            // while it still is in the queue, which thereby stays active
    queue.waiting.pop_front();
    out.push_back(std::move(e));
  }
  note_demand(now);
}

bool PriorityLevel::linger(const ExecutionPtr& e, double now) {
  if (e->work.additional_seconds <= 0) return false;
  std::lock_guard lock(mutex_);
  if (e->state != Execution::State::running || spec_.exempt) return false;
  e->ended_seconds = now;
  ++lingering_;
  note_demand(now);
  return true;
}

void PriorityLevel::finish(const ExecutionPtr& e, double now, SystemTime time, std::vector<ExecutionPtr>& out) {
  std::lock_guard lock(mutex_);
  if (e->state != Execution::State::running) return;
  advance(now);
  e->state = Execution::State::done;
  running_.erase(e->position);
  seats_in_use_ -= e->seats;
  const bool lingered = e->ended_seconds > 0;
  if (lingered) --lingering_;
  const double took = (lingered ? e->ended_seconds : now) - e->started_seconds;
  if (e->queue >= 0) {
    Queue& queue = queues_[static_cast<size_t>(e->queue)];
    --queue.executing;
    queue.seats -= e->seats;
    queue.next += e->seats * (took - kGuessSeconds);
    if (!queue.active()) --active_queues_;
  }
  e->stats->executing.fetch_sub(1, std::memory_order_relaxed);
  e->stats->executing_seats.fetch_sub(e->seats, std::memory_order_relaxed);
  (e->attributes.verb == "watch" ? e->stats->watch_execution : e->stats->execution).observe(took);
  while (queues_.size() > static_cast<size_t>(spec_.queues) && !queues_.back().active()) queues_.pop_back();
  dispatch(now, time, out);
}

std::function<void()> PriorityLevel::drop(const ExecutionPtr& e, Refusal why, double now) {
  std::lock_guard lock(mutex_);
  if (e->state != Execution::State::waiting) return nullptr;
  advance(now);
  Queue& queue = queues_[static_cast<size_t>(e->queue)];
  queue.waiting.erase(e->position);
  queue.waiting_seats -= e->seats;
  waiting_seats_ -= e->seats;
  --waiting_;
  if (!queue.active()) --active_queues_;
  e->stats->waiting.fetch_sub(1, std::memory_order_relaxed);
  e->stats->waiting_seats.fetch_sub(e->seats, std::memory_order_relaxed);
  refuse(e, why, now);
  note_demand(now);
  return std::exchange(e->resume, nullptr);
}

void PriorityLevel::drop_all(double now, std::vector<ExecutionPtr>& dropped) {
  std::vector<ExecutionPtr> waiting;
  {
    std::lock_guard lock(mutex_);
    for (Queue& queue : queues_) waiting.insert(waiting.end(), queue.waiting.begin(), queue.waiting.end());
  }
  for (ExecutionPtr& e : waiting) {
    drop(e, Refusal::cancelled, now);
    dropped.push_back(std::move(e));
  }
}

int PriorityLevel::retry_after(double now) {
  std::lock_guard lock(mutex_);
  if (now - lately_since_ < retry_after_) return retry_after_;
  if (refused_lately_ >= static_cast<uint64_t>(3 * retry_after_)) retry_after_ = std::min(2 * retry_after_, kMostRetryAfter);
  else if (refused_lately_ < static_cast<uint64_t>(retry_after_)) retry_after_ = std::max(1, retry_after_ - 1);
  refused_lately_ = 0;
  lately_since_ = now;
  return retry_after_;
}

void PriorityLevel::begin_period(double now) {
  std::lock_guard lock(mutex_);
  demand_.begin_period(now);
}

Claim PriorityLevel::end_period(double now) {
  std::lock_guard lock(mutex_);
  return {limits_, demand_.end_period(now), spec_.exempt};
}

bool PriorityLevel::idle() const {
  std::lock_guard lock(mutex_);
  return running_.empty() && waiting_ == 0;
}

// So that it finds its seats: at most this part of the level, and room for every queue of a hand.
int PriorityLevel::widest() const {
  std::lock_guard lock(mutex_);
  if (spec_.exempt || spec_.queues == 0) return kMostSeats;
  return std::clamp(std::min((limits_.nominal * kWidestPercent + 99) / 100, limits_.nominal / std::max(1, spec_.hand_size)), 1, kMostSeats);
}

void PriorityLevel::note_demand(double now) {
  const int demand = seats_in_use_ + waiting_seats_;
  const double nominal = std::max(1, limits_.nominal);
  demand_.set(now, demand);
  use_->demand.set(now, demand / nominal);
  use_->seats.set(now, seats_in_use_ / nominal);
  use_->executing.set(now, static_cast<double>(running_.size() - lingering_) / nominal);
  if (spec_.queues > 0) use_->waiting.set(now, static_cast<double>(waiting_) / std::max(1, spec_.queues * spec_.queue_length_limit));
}

PriorityLevel::View PriorityLevel::view(double now) {
  std::lock_guard lock(mutex_);
  note_demand(now);
  View v{spec_.uid, spec_.exempt, quiescing_, limits_, limit_, target_, virtual_, demand_.last(), active_queues_, waiting_, running_.size(), seats_in_use_,
         dispatched_, refused_, timed_out_, cancelled_, {}, use_, {}};
  for (const Queue& queue : queues_) {
    QueueView& q = v.queues.emplace_back(QueueView{queue.waiting.size(), queue.executing, queue.seats, queue.waiting_seats, 0, queue.next, 0});
    for (const ExecutionPtr& e : queue.waiting) q.widest = std::max(q.widest, e->seats);
    q.work = queue.waiting_seats * kGuessSeconds;
    v.requests.insert(v.requests.end(), queue.waiting.begin(), queue.waiting.end());
  }
  v.requests.insert(v.requests.end(), running_.begin(), running_.end());
  return v;
}

}  // namespace kcube::flowcontrol
