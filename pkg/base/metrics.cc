#include "pkg/base/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace kcube {

Histogram::Histogram(std::span<const double> bounds) : bounds_(bounds), counts_(std::make_unique<Counter[]>(bounds.size() + 1)) {}

void Histogram::observe(double value, uint64_t times) {
  size_t i = static_cast<size_t>(std::ranges::lower_bound(bounds_, value) - bounds_.begin());
  count(counts_[i], times);
  sum_.fetch_add(value * static_cast<double>(times), std::memory_order_relaxed);
}

void Histogram::add(const Histogram& other) {
  for (size_t i = 0; i <= bounds_.size(); ++i) count(counts_[i], other.bucket(i));
  sum_.fetch_add(other.sum(), std::memory_order_relaxed);
}

void TimedHistogram::set(double now, double value) {
  if (since_ != 0 && now > since_) histogram_.observe(value_, static_cast<uint64_t>((now - since_) * 1e9));
  since_ = now;
  value_ = value;
}

std::string metric_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  double size = std::fabs(value);
  bool plain = value == 0 || (size >= 1e-4 && size < 1e6);
  char text[64];
  auto end = std::to_chars(text, text + sizeof text, value, plain ? std::chars_format::fixed : std::chars_format::scientific).ptr;
  return std::string(text, end);
}

void MetricsText::family(std::string_view name, std::string_view type, std::string_view help) {
  name_ = name;
  text_.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name).append(" ").append(type).append("\n");
}

void MetricsText::line(std::string_view suffix, const Labels& labels, std::string_view le, double value) {
  text_.append(name_).append(suffix);
  auto label = [this, first = true](std::string_view name, std::string_view value) mutable {
    text_.append(std::exchange(first, false) ? "{" : ",").append(name).append("=\"");
    for (char c : value) {
      if (c == '\n') text_.append("\\n");
      else if (c == '"' || c == '\\') text_.append({'\\', c});
      else text_.push_back(c);
    }
    text_.push_back('"');
  };
  for (const auto& [name, value] : labels) label(name, value);
  if (!le.empty()) label("le", le);
  if (!labels.empty() || !le.empty()) text_.push_back('}');
  text_.append(" ").append(metric_number(value)).append("\n");
}

void MetricsText::sample(const Labels& labels, double value) { line({}, labels, {}, value); }

void MetricsText::histogram(const Labels& labels, const Histogram& histogram) {
  uint64_t below = 0;
  auto bounds = histogram.bounds();
  for (size_t i = 0; i < bounds.size(); ++i) {
    below += histogram.bucket(i);
    line("_bucket", labels, metric_number(bounds[i]), static_cast<double>(below));
  }
  below += histogram.bucket(bounds.size());
  line("_bucket", labels, "+Inf", static_cast<double>(below));
  line("_sum", labels, {}, histogram.sum());
  line("_count", labels, {}, static_cast<double>(below));
}

void MetricsText::single(std::string_view name, std::string_view type, std::string_view help, double value) {
  family(name, type, help);
  sample(value);
}

template <typename Metric>
void Family<Metric>::write(MetricsText& out) const {
  std::shared_lock lock(mutex_);
  if (all_.empty()) return;
  constexpr bool kHistogram = std::is_same_v<Metric, Histogram>;
  out.family(name_, kHistogram ? "histogram" : "counter", help_);
  for (const auto& [values, metric] : all_) {
    Labels labels;
    for (size_t i = 0; i < labels_.size(); ++i) labels.emplace_back(labels_[i], values[i]);
    std::ranges::sort(labels);
    if constexpr (kHistogram) out.histogram(labels, *metric);
    else out.sample(labels, static_cast<double>(metric->load()));
  }
}
template class Family<Counter>;
template class Family<Histogram>;

}  // namespace kcube
