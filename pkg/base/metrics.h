// Metrics: cheap counters and histograms, and the text in which Prometheus reads them.
//
// Counting is lock-free from any thread; whoever counts owns what it counts. Source: the Prometheus exposition format.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kcube {

using Counter = std::atomic<uint64_t>;
inline void count(Counter& counter, uint64_t by = 1) { counter.fetch_add(by, std::memory_order_relaxed); }

class Histogram {
 public:
  // `bounds` ascend and outlive this; the bucket beyond the last is implied.
  explicit Histogram(std::span<const double> bounds);
  void observe(double value);
  std::span<const double> bounds() const { return bounds_; }
  // As many as there are bounds and one more; not cumulative.
  uint64_t bucket(size_t i) const { return counts_[i].load(std::memory_order_relaxed); }
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  const std::span<const double> bounds_;
  const std::unique_ptr<Counter[]> counts_;
  std::atomic<double> sum_{0};
};

// Labels of one sample, in order: {{"verb", "GET"}, …}.
using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

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
