// How the server's seats are shared out among the priority levels: nominally by shares, and from then on by what each
// needs, within what it may lend and borrow. Pure. Source: the Kubernetes docs on API Priority and Fairness (KEP 1040).
#pragma once

#include <span>
#include <vector>

#include "pkg/apiserver/flowcontrol/configuration.h"

namespace kcube::flowcontrol {

struct SeatLimits {
  int nominal = 0, lower = 0, upper = 0;   // lower: what is left when all that is lendable is lent
  bool operator==(const SeatLimits&) const = default;
};

std::vector<SeatLimits> nominal_limits(int server_seats, std::span<const PriorityLevelSpec* const> levels);

// What one level can use, as seen over the last period.
struct Demand {
  double high = 0, average = 0, deviation = 0, smoothed = 0;
};

// Of seats over a period of time: integrates a value that changes in steps.
class DemandMeter {
 public:
  void set(double now_seconds, double seats);
  // A period begins now, after a time in which nobody looked.
  void begin_period(double now_seconds);
  // What was seen since the last call, smoothed over the calls before.
  Demand end_period(double now_seconds);
  const Demand& last() const { return last_; }

 private:
  double since_ = 0, start_ = 0, seats_ = 0, area_ = 0, squares_ = 0, high_ = 0;
  Demand last_;
};

struct Claim {
  SeatLimits limits;
  Demand demand;
  bool exempt = false;
};
struct Share {
  int seats = 0;        // what the level may use until the next period
  double target = 0;
};
// `fair_fraction` gets what each target was multiplied with.
std::vector<Share> share_seats(int server_seats, std::span<const Claim> claims, double* fair_fraction);

}  // namespace kcube::flowcontrol
