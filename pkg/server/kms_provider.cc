#include "pkg/server/kms_provider.h"

#include "pkg/auth/auth.h"
#include "pkg/base/executor.h"
#include "pkg/base/log.h"
#include "pkg/base/strings.h"

namespace kcube::server {
namespace {

constexpr std::chrono::minutes kWritable{3};                       // after the plugin was last well
constexpr std::chrono::seconds kWellFor{20}, kIllFor{3};           // what it said is not asked again
constexpr std::chrono::seconds kWellInterval{60}, kIllInterval{10};
constexpr size_t kSeedBytes = 32, kMostSealers = 1000;

std::string hash_of(std::string_view id) { return id.empty() ? "" : "sha256:" + auth::sha256_hex(id); }

// Values that were sealed alike have the same beside them.
std::string key_of(const auth::KmsSealed& sealed) {
  auth::KmsSealed beside{"", sealed.key_id, sealed.source, sealed.annotations, sealed.source_type};
  return auth::sha256(auth::to_bytes(beside));
}

}  // namespace

KmsProvider::KmsProvider(const std::string& name, std::string socket, std::chrono::milliseconds timeout, Clock& clock)
    : name_(name), prefix_("k8s:enc:kms:v2:" + name + ":"), plugin_(std::move(socket), timeout), clock_(clock) {}

Result<std::string> KmsProvider::seal(std::string_view text, std::string_view path) const {
  std::shared_ptr<const State> state;
  {
    std::lock_guard lock(mutex_);
    state = state_;
  }
  if (!state) return fail(Status::internal("got unexpected nil transformer"));
  if (SystemTime now = clock_.now(); now > state->expires)
    return fail(Status::internal("encryptedDEKSource with keyID hash \"" + hash_of(state->beside.key_id) + "\" expired at " + format_time(state->expires) + " (current time is " + format_time(now) + ")"));
  auto sealed = state->sealer->seal(text, path);
  if (!sealed) return sealed;
  auth::KmsSealed whole = state->beside;
  whole.data = std::move(*sealed);
  return auth::to_bytes(whole);
}

Result<std::string> KmsProvider::open(std::string_view sealed, std::string_view path) const {
  auto whole = auth::parse_kms_sealed(sealed);
  if (!whole) return fail(whole.error());
  const std::string key = key_of(*whole);
  auto sealer = find(key);
  if (!sealer) {
    auto source = plugin_.decrypt(*whole);
    if (!source) return fail(source.error().with_context("failed to decrypt DEK, error"));
    auto made = auth::make_kms_sealer(whole->source_type, std::move(*source));
    if (!made) return fail(made.error());
    sealer = std::move(*made);
    remember(key, sealer);
  }
  return sealer->open(whole->data, path);
}

bool KmsProvider::is_stale(std::string_view sealed) const {
  auto whole = auth::parse_kms_sealed(sealed);
  std::lock_guard lock(mutex_);
  return !whole || (state_ && (whole->key_id != state_->beside.key_id || whole->source_type != auth::kKmsSeed));
}

std::shared_ptr<const auth::Sealer> KmsProvider::find(const std::string& key) const {
  std::lock_guard lock(mutex_);
  auto it = sealers_.find(key);
  return it == sealers_.end() ? nullptr : it->second;
}

void KmsProvider::remember(const std::string& key, std::shared_ptr<const auth::Sealer> sealer) const {
  std::lock_guard lock(mutex_);
  if (sealers_.size() >= kMostSealers) sealers_.clear();
  sealers_[key] = std::move(sealer);
}

Result<void> KmsProvider::check() {
  std::lock_guard lock(checking_);
  const SystemTime now = clock_.now();
  if (checked_ != SystemTime() && now - checked_ < valid_) return last_;
  auto status = plugin_.status();
  if (status) last_ = judge(*status);
  else last_ = fail(Status::internal("failed to perform status section of the healthz check for KMS Provider " + name_ + ", error: " + status.error().message()));
  valid_ = last_ ? Duration(kWellFor) : Duration(kIllFor);
  checked_ = now;
  return last_;
}

Result<void> KmsProvider::judge(const auth::KmsStatus& status) {
  std::vector<std::string> wrong;
  if (status.health != "ok") wrong.push_back("got unexpected healthz status: " + status.health);
  if (status.version != "v2" && status.version != "v2beta1") {
    wrong.push_back("expected KMSv2 API version v2, got " + status.version);
  } else {
    if (version_.empty()) version_ = status.version;
    if (version_ != status.version) wrong.push_back("KMSv2 API version should not change after the initial status response version " + version_ + ", got " + status.version);
  }
  if (auto id = auth::check_kms_key_id(status.key_id); !id) wrong.push_back("got invalid KMSv2 KeyID hash \"" + hash_of(status.key_id) + "\": " + id.error().message());
  else if (auto rotated = rotate(status.key_id); !rotated) wrong.push_back(rotated.error().message());
  if (wrong.empty()) return {};
  std::string all;
  for (const std::string& one : wrong) all += (all.empty() ? "" : ", ") + one;
  return fail(Status::internal("kmsv2 Provider " + name_ + " is not healthy, error: " + (wrong.size() > 1 ? "[" + all + "]" : all)));
}

Result<void> KmsProvider::rotate(const std::string& key_id) {
  const SystemTime expires = clock_.now() + kWritable;
  std::shared_ptr<const State> state;
  {
    std::lock_guard lock(mutex_);
    state = state_;
  }
  auto next = std::make_shared<State>();
  if (state && state->beside.key_id == key_id) {
    *next = *state;
  } else {
    std::string seed = random_bytes(kSeedBytes);
    auto sealed = plugin_.encrypt(seed);
    auto valid = sealed ? auth::check_kms_source(sealed->ciphertext) : fail(sealed.error());
    if (valid) valid = auth::check_kms_key_id(sealed->key_id);
    if (valid) valid = auth::check_kms_annotations(sealed->annotations);
    if (valid && sealed->key_id != key_id) valid = fail(Status::internal("<nil>"));   // it changed between the two calls, and will be asked again
    if (!valid)
      return fail(Status::internal("failed to rotate DEK uid=\"" + new_uuid() + "\", useSeed=true, errState=" + (state ? "<nil>" : "got unexpected nil transformer") + ", errGen=" + valid.error().message() + ", statusKeyIDHash=\"" + hash_of(key_id) +
                                   "\", encryptKeyIDHash=\"" + hash_of(sealed ? sealed->key_id : "") + "\", stateKeyIDHash=\"" + hash_of(state ? state->beside.key_id : "") + "\", expirationTimestamp=" + format_time(state ? state->expires : SystemTime())));
    next->sealer = *auth::make_kms_sealer(auth::kKmsSeed, std::move(seed));
    next->beside = {"", std::move(sealed->key_id), std::move(sealed->ciphertext), std::move(sealed->annotations), auth::kKmsSeed};
    remember(key_of(next->beside), next->sealer);
  }
  next->expires = expires;
  std::lock_guard lock(mutex_);
  state_ = std::move(next);
  return {};
}

// --- Health ---

KmsHealth::~KmsHealth() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void KmsHealth::set(KmsProviders providers) {
  std::lock_guard lock(mutex_);
  providers_ = std::move(providers);
  if (!providers_.empty() && !thread_.joinable()) thread_ = std::thread([this] { run(); });
  changed_.notify_all();
}

KmsProviders KmsHealth::current() const {
  std::lock_guard lock(mutex_);
  return providers_;
}

Result<void> KmsHealth::check() const {
  for (const auto& provider : current())
    if (auto done = provider->check(); !done) return done;
  return {};
}

void KmsHealth::run() {
  set_thread_name("kms");
  std::string said;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    KmsProviders providers = providers_;
    lock.unlock();
    std::string problem;
    for (const auto& provider : providers)
      if (auto done = provider->check(); !done) problem = done.error().message();
    if (problem != said && !problem.empty()) log::error("server", "a KMS plugin is not well", {{"error", problem}});
    if (problem.empty() && !said.empty()) log::info("server", "all KMS plugins are well");
    said = problem;
    lock.lock();
    changed_.wait_for(lock, problem.empty() ? kWellInterval : kIllInterval, [&] { return stopping_ || providers_ != providers; });
  }
}

}  // namespace kcube::server
