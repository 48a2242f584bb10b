// spec.podCIDR of every node: the i-th block of the cluster's range.
#include <arpa/inet.h>

#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "pkg/base/log.h"
#include "pkg/base/strings.h"
#include "pkg/controllers/factories.h"
#include "pkg/controllers/support.h"

namespace kcube::controllers {
namespace {

using client::resources::kNodes;

// A range of addresses, of either family, cut into blocks of one size.
class Blocks {
 public:
  static std::optional<Blocks> create(const std::string& cidr, int mask) {
    size_t slash = cidr.find('/');
    if (slash == std::string::npos) return std::nullopt;
    auto bits = parse_int<int>(std::string_view(cidr).substr(slash + 1));
    Blocks b;
    b.v6_ = cidr.find(':') != std::string::npos;
    b.width_ = b.v6_ ? 128 : 32;
    if (b.v6_ && mask <= 32) mask = 64;
    unsigned char raw[16];
    if (!bits || *bits > mask || mask > b.width_ || inet_pton(b.v6_ ? AF_INET6 : AF_INET, cidr.substr(0, slash).c_str(), raw) != 1) return std::nullopt;
    for (int i = 0; i < b.width_ / 8; ++i) b.base_ = b.base_ << 8 | raw[i];
    b.mask_ = mask;
    int free = mask - *bits;
    b.count_ = free >= 16 ? 65536 : uint64_t{1} << free;
    return b;
  }

  uint64_t count() const { return count_; }
  std::string block(uint64_t index) const {
    unsigned __int128 address = base_ + (static_cast<unsigned __int128>(index) << (width_ - mask_));
    unsigned char raw[16];
    for (int i = width_ / 8 - 1; i >= 0; --i, address >>= 8) raw[i] = static_cast<unsigned char>(address);
    char out[INET6_ADDRSTRLEN];
    inet_ntop(v6_ ? AF_INET6 : AF_INET, raw, out, sizeof out);
    return std::string(out) + "/" + std::to_string(mask_);
  }

 private:
  unsigned __int128 base_ = 0;
  uint64_t count_ = 0;
  int mask_ = 24, width_ = 32;
  bool v6_ = false;
};

class NodeIpamController final : public Controller {
 public:
  NodeIpamController(Context context, const Options& options)
      : Controller(context, "nodeipam", 1), recorder_(context.client, context.clock, "cidrAllocator"), nodes_(follow_own(kNodes)),
        blocks_(Blocks::create(options.cluster_cidr, options.node_cidr_mask)) {
    if (!blocks_) log::error("nodeipam", "the cluster's pod range makes no sense; nodes get none", {{"range", options.cluster_cidr}});
    nodes_.add_handlers({.changed =
                             [this](const api::ObjectPtr&, const api::ObjectPtr& now) {
                               std::string cidr = string_at(now->value(), {"spec", "podCIDR"});
                               if (cidr.empty()) return;
                               std::lock_guard lock(mutex_);
                               used_[std::string(now->name())] = cidr;
                             },
                         .removed =
                             [this](const api::ObjectPtr& last) {
                               std::lock_guard lock(mutex_);
                               used_.erase(std::string(last->name()));
                             }});
  }

 private:
  Result<void> reconcile(const std::string& key) override {
    api::ObjectPtr node = nodes_.get(key);
    if (!node || node->deleting() || !blocks_ || !string_at(node->value(), {"spec", "podCIDR"}).empty()) return {};
    std::string cidr = reserve(key);
    if (cidr.empty()) {
      recorder_.event(node->value(), "Normal", "CIDRNotAvailable", "Node " + key + " status is now: CIDRNotAvailable");
      return fail(Status::unavailable("no pod range is left for node " + key));
    }
    json::object patch{{"metadata", json::object{{"uid", text(node->uid())}}},
                       {"spec", json::object{{"podCIDR", text(cidr)}, {"podCIDRs", json::array{text(cidr)}}}}};
    auto written = client_.patch(kNodes, "", key, client::PatchType::merge, patch);
    if (written) return {};
    {
      std::lock_guard lock(mutex_);
      used_.erase(key);
    }
    if (written.error().is_not_found()) return {};
    return fail(written.error());
  }

  std::string reserve(const std::string& node) {
    std::lock_guard lock(mutex_);
    if (auto it = used_.find(node); it != used_.end()) return it->second;
    std::set<std::string_view> taken;
    for (const auto& [name, cidr] : used_) taken.insert(cidr);
    for (uint64_t i = 0; i < blocks_->count(); ++i) {
      std::string cidr = blocks_->block(i);
      if (!taken.contains(cidr)) return used_[node] = cidr;
    }
    return {};
  }

  client::EventRecorder recorder_;
  client::Informer& nodes_;
  const std::optional<Blocks> blocks_;
  std::mutex mutex_;
  std::map<std::string, std::string> used_;
};

}  // namespace

ControllerPtr make_node_ipam_controller(Context context, const Options& options) { return std::make_unique<NodeIpamController>(context, options); }

}  // namespace kcube::controllers
