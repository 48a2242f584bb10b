// Metrics: cheap counters and histograms, and the text in which Prometheus reads them.
//
// Counting is lock-free from any thread; whoever counts owns what it counts. Source: the Prometheus exposition format.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace kcube {

using Counter = std::atomic<uint64_t>;
inline void count(Counter& counter, uint64_t by = 1) { counter.fetch_add(by, std::memory_order_relaxed); }

class Histogram {
 public:
  // `bounds` ascend and outlive this; the bucket beyond the last is implied.
  explicit Histogram(std::span<const double> bounds);
  void observe(double value) { observe(value, 1); }
  // As if it were seen so many times.
  void observe(double value, uint64_t times);
  // What `other`, of the same bounds, has seen too.
  void add(const Histogram& other);
  std::span<const double> bounds() const { return bounds_; }
  // As many as there are bounds and one more; not cumulative.
  uint64_t bucket(size_t i) const { return counts_[i].load(std::memory_order_relaxed); }
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  const std::span<const double> bounds_;
  const std::unique_ptr<Counter[]> counts_;
  std::atomic<double> sum_{0};
};

// How long a value was what: every nanosecond counts as one observation. Changed by one thread at a time, read by any.
class TimedHistogram {
 public:
  explicit TimedHistogram(std::span<const double> bounds) : histogram_(bounds) {}
  // From now on it is `value`.
  void set(double now_seconds, double value);
  const Histogram& histogram() const { return histogram_; }

 private:
  Histogram histogram_;
  double since_ = 0, value_ = 0;
};

// Labels of one sample, in order: {{"verb", "GET"}, …}.
using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

class MetricsText;

// What has a value for each combination of labels that was met: `metric` is a Counter or a Histogram. Finding one takes a
// shared lock; what is found stays valid.
template <typename Metric>
class Family {
 public:
  // `labels` in the order of values in at(); written in the order of their names.
  Family(std::string name, std::string help, std::vector<std::string> labels, std::span<const double> bounds = {})
      : name_(std::move(name)), help_(std::move(help)), labels_(std::move(labels)), bounds_(bounds) {}
  Metric& at(std::vector<std::string> values) {
    {
      std::shared_lock lock(mutex_);
      if (auto it = all_.find(values); it != all_.end()) return *it->second;
    }
    std::lock_guard lock(mutex_);
    auto& made = all_[std::move(values)];
    if (!made) made = make();
    return *made;
  }
  void write(MetricsText& out) const;

 private:
  std::unique_ptr<Metric> make() const {
    if constexpr (std::is_same_v<Metric, Histogram>) return std::make_unique<Histogram>(bounds_);
    else return std::make_unique<Metric>(0);
  }
  const std::string name_, help_;
  const std::vector<std::string> labels_;
  const std::span<const double> bounds_;
  mutable std::shared_mutex mutex_;
  std::map<std::vector<std::string>, std::unique_ptr<Metric>> all_;
};

// Writes families of samples one after the other.
class MetricsText {
 public:
  // Begins a family: `type` is counter, gauge or histogram. Samples that follow belong to it.
  void family(std::string_view name, std::string_view type, std::string_view help);
  void sample(const Labels& labels, double value);
  void sample(double value) { sample({}, value); }
  void histogram(const Labels& labels, const Histogram& histogram);
  // A family of one sample without labels.
  void single(std::string_view name, std::string_view type, std::string_view help, double value);
  std::string take() { return std::move(text_); }

 private:
  void line(std::string_view suffix, const Labels& labels, std::string_view le, double value);
  std::string name_, text_;
};

// As Go prints a float: "5", "0.025", "1e+06".
std::string metric_number(double value);

}  // namespace kcube
