#include "pkg/apiserver/flowcontrol/limits.h"

#include <algorithm>
#include <cmath>

namespace kcube::flowcontrol {
namespace {

constexpr double kSmoothing = 0.977;   // of the demand before, a period later

}  // namespace

std::vector<SeatLimits> nominal_limits(int server_seats, std::span<const PriorityLevelSpec* const> levels) {
  double shares = 0;
  for (const PriorityLevelSpec* level : levels) shares += static_cast<double>(level->nominal_shares);
  std::vector<SeatLimits> out;
  for (const PriorityLevelSpec* level : levels) {
    SeatLimits limits;
    if (shares > 0) limits.nominal = static_cast<int>(std::ceil(server_seats * static_cast<double>(level->nominal_shares) / shares));
    limits.lower = limits.nominal - static_cast<int>(std::lround(limits.nominal * static_cast<double>(level->lendable_percent) / 100));
    const bool bounded = level->borrowing_limit_percent.has_value();
    limits.upper = limits.nominal + (bounded ? static_cast<int>(std::lround(limits.nominal * static_cast<double>(*level->borrowing_limit_percent) / 100)) : server_seats);
    out.push_back(limits);
  }
  return out;
}

void DemandMeter::set(double now, double seats) {
  double passed = std::max(0.0, now - since_);
  area_ += seats_ * passed;
  squares_ += seats_ * seats_ * passed;
  since_ = now;
  seats_ = seats;
  high_ = std::max(high_, seats);
}

void DemandMeter::begin_period(double now) {
  start_ = since_ = now;
  area_ = squares_ = 0;
  high_ = seats_;
}

Demand DemandMeter::end_period(double now) {
  set(now, seats_);
  double length = now - start_;
  Demand seen{high_};
  if (length > 0) {
    seen.average = area_ / length;
    seen.deviation = std::sqrt(std::max(0.0, squares_ / length - seen.average * seen.average));
  }
  double envelope = seen.average + seen.deviation;
  seen.smoothed = std::max(envelope, kSmoothing * last_.smoothed + (1 - kSmoothing) * envelope);
  begin_period(now);
  return last_ = seen;
}

std::vector<Share> share_seats(int server_seats, std::span<const Claim> claims, double* fair_fraction) {
  struct Bound {
    double least, most, target;
  };
  std::vector<Bound> bounds;
  double left = server_seats, least = 0, targets = 0, widest = 1;
  for (const Claim& claim : claims) {
    double floor = std::max<double>(claim.limits.lower, std::min<double>(claim.limits.nominal, claim.demand.high));
    Bound bound{floor, static_cast<double>(claim.limits.upper), std::max(floor, claim.demand.smoothed)};
    // Nobody limits those who are exempt: what they take is gone, as far as there is something.
    if (claim.exempt) left -= std::min(left, bound.target);
    else {
      least += bound.least;
      targets += bound.target;
      if (bound.target > 0) widest = std::max(widest, bound.most / bound.target);
    }
    bounds.push_back(bound);
  }
  auto of = [](const Bound& b, double fraction) { return std::min(b.most, std::max(b.least, b.target * fraction)); };
  double fraction = 0;
  if (targets > 0 && least < left) {
    double low = 0, high = widest;
    for (int i = 0; i < 60; ++i) {
      fraction = (low + high) / 2;
      double sum = 0;
      for (size_t k = 0; k < bounds.size(); ++k)
        if (!claims[k].exempt) sum += of(bounds[k], fraction);
      (sum > left ? high : low) = fraction;
    }
  }
  if (fair_fraction != nullptr) *fair_fraction = fraction;
  std::vector<Share> out;
  for (size_t k = 0; k < bounds.size(); ++k) {
    double seats = claims[k].exempt ? bounds[k].target : of(bounds[k], fraction);
    out.push_back({static_cast<int>(std::lround(seats)), bounds[k].target});
  }
  return out;
}

}  // namespace kcube::flowcontrol
