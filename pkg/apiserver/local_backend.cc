#include "pkg/apiserver/local_backend.h"

#include <mutex>

#include "pkg/api/errors.h"
#include "pkg/apiserver/audit/local_record.h"
#include "pkg/apiserver/conversion.h"
#include "pkg/apiserver/scale.h"

namespace kcube::apiserver {
namespace {

using audit::LocalRecord;
using client::LocalCall;

class LocalReceiver final : public Receiver {
 public:
  explicit LocalReceiver(std::function<void(const client::WatchEvent&)> sink) : sink_(std::move(sink)) {}

  bool deliver(const Delivery& d, EncodedEvent&) override {
    std::lock_guard lock(mutex_);
    if (closed_) return false;
    using Type = client::WatchEvent::Type;
    client::WatchEvent event{Type::bookmark, d.object, d.revision, Status(0, "", "")};
    switch (d.type) {
      case Delivery::Type::added: event.type = Type::added; break;
      case Delivery::Type::modified: event.type = Type::modified; break;
      case Delivery::Type::deleted: event.type = Type::deleted; break;
      case Delivery::Type::bookmark: break;
      case Delivery::Type::error:
        event.type = Type::error;
        event.status = *d.error;
        break;
    }
    sink_(event);
    return true;
  }
  void end() override {}
  // Waits for a delivery that runs right now, unless this is its own thread.
  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }

 private:
  std::recursive_mutex mutex_;
  std::function<void(const client::WatchEvent&)> sink_;
  bool closed_ = false;
};

class LocalWatch final : public client::Watch {
 public:
  LocalWatch(Hub& hub, Hub::WatchId id, std::shared_ptr<LocalReceiver> receiver, std::shared_ptr<void> record)
      : hub_(hub), id_(id), receiver_(std::move(receiver)), record_(std::move(record)) {}
  ~LocalWatch() override {
    receiver_->close();
    hub_.remove(id_);
  }

 private:
  Hub& hub_;
  Hub::WatchId id_;
  std::shared_ptr<LocalReceiver> receiver_;
  std::shared_ptr<void> record_;   // of the audit log, which hears of the end
};

class Backend final : public client::LocalBackend {
 public:
  Backend(Engine& engine, Reviews& reviews, Hub& hub, const audit::Auditor* auditor) : engine_(engine), reviews_(reviews), hub_(hub), auditor_(auditor) {}

  Result<ObjectPtr> get(const LocalCall& in) override {
    auto call = read(in);
    if (!call) return fail(call.error());
    LocalRecord record(auditor_, *call, in, "get", nullptr);
    auto object = engine_.get(*call);
    if (object) object = served(*call->resource, *object);
    record.answered(*call, 200, object);
    return object;
  }
  Result<client::ObjectList> list(const LocalCall& in, const client::ListOptions& options) override {
    auto call = read(in);
    if (!call) return fail(call.error());
    LocalRecord record(auditor_, *call, in, "list", nullptr, &options);
    auto page = engine_.list(*call, options);
    Result<client::ObjectList> out;
    if (page) out = client::ObjectList{std::move(page->items), page->revision, std::move(page->continue_token)};
    else out = fail(page.error());
    record.answered(*call, out);
    return out;
  }
  Result<ObjectPtr> create(const LocalCall& in, json::value object) override {
    auto call = read(in);
    if (!call) return fail(call.error());
    LocalRecord record(auditor_, *call, in, "create", &object);
    Result<ObjectPtr> made;
    if (Reviews::handles(*call->resource)) {
      auto answer = reviews_.create(*call, std::move(object));
      if (answer) made = api::Object::from_value(std::move(*answer));
      else made = fail(answer.error());
    } else {
      made = written(*call, engine_.create(*call, std::move(object)));
    }
    record.answered(*call, 201, made);
    return made;
  }
  Result<ObjectPtr> update(const LocalCall& in, json::value object) override {
    auto call = read(in);
    if (!call) return fail(call.error());
    LocalRecord record(auditor_, *call, in, "update", &object);
    auto result = written(*call, engine_.update(*call, std::move(object)));
    record.answered(*call, 200, result);
    return result;
  }
  Result<ObjectPtr> patch(const LocalCall& in, client::PatchType type, const json::value& patch) override {
    auto call = read(in);
    if (!call) return fail(call.error());
    LocalRecord record(auditor_, *call, in, "patch", &patch);
    auto result = written(*call, engine_.patch(*call, type, patch, true));
    record.answered(*call, 200, result);
    return result;
  }
  Result<void> remove(const LocalCall& in, const client::DeleteOptions& options) override {
    auto call = read(in);
    if (!call) return fail(call.error());
    LocalRecord record(auditor_, *call, in, "delete", nullptr);
    Result<void> done;
    if (auto removed = engine_.remove(*call, options); !removed) done = fail(removed.error());
    record.answered(*call, done);
    return done;
  }
  Result<std::unique_ptr<client::Watch>> watch(const LocalCall& in, const client::ListOptions& options, std::function<void(const client::WatchEvent&)> sink) override {
    auto call = read(in);
    if (!call) return fail(call.error());
    WatchSpec spec;
    spec.cache = call->resource->cache;
    spec.ns = call->ns;
    spec.name = call->name;
    auto labels = api::LabelSelector::parse(options.label_selector);
    if (!labels) return fail(labels.error());
    spec.labels = std::move(*labels);
    auto fields = FieldMatcher::create(*call->resource, options.field_selector);
    if (!fields) return fail(fields.error());
    spec.fields = std::move(*fields);
    spec.after = options.resource_version.empty() ? engine_.core().cache.revision() : std::stoull(options.resource_version);
    LocalRecord record(auditor_, *call, in, "watch", nullptr, &options);
    auto receiver = std::make_shared<LocalReceiver>(std::move(sink));
    Hub::WatchId id = hub_.add(std::move(spec), receiver);
    return std::unique_ptr<client::Watch>(std::make_unique<LocalWatch>(hub_, id, std::move(receiver), record.started(*call)));
  }

 private:
  Result<Call> read(const LocalCall& in) const {
    Call call;
    call.resource = engine_.core().registry.find(in.resource.group, in.resource.version, in.resource.resource, in.subresource);
    if (call.resource == nullptr || (call.resource->cache == nullptr && !Reviews::handles(*call.resource))) return fail(api::generic_not_found());
    call.user = {in.user, "", in.groups, {}};
    call.trusted = true;
    if (call.resource->namespaced()) call.ns = in.ns;
    call.name = in.name;
    size_t colon = in.user.rfind(':');
    call.field_manager = colon == std::string::npos ? in.user : in.user.substr(colon + 1);
    call.field_validation = machinery::FieldValidation::ignore;
    return call;
  }
  // In the version that was asked for.
  static Result<ObjectPtr> served(const Resource& resource, const ObjectPtr& object) {
    if (resource.subresource() == "scale") return api::Object::from_value(to_scale(resource, object->value()));
    if (!resource.converted) return object;
    json::value copy = object->value();
    convert(copy, *resource.stored, *resource.main);
    return api::Object::from_value(std::move(copy));
  }
  static Result<ObjectPtr> written(const Call& call, Result<Written> result) {
    if (!result) return fail(result.error());
    return served(*call.resource, result->object);
  }

  Engine& engine_;
  Reviews& reviews_;
  Hub& hub_;
  const audit::Auditor* const auditor_;   // null: nothing is recorded
};

}  // namespace

std::unique_ptr<client::LocalBackend> make_local_backend(Engine& engine, Reviews& reviews, Hub& hub, const audit::Auditor* auditor) {
  return std::make_unique<Backend>(engine, reviews, hub, auditor);
}

}  // namespace kcube::apiserver
