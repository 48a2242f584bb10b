#include "pkg/cel/admission_types.h"

#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace kcube::cel {
namespace {

using Members = std::initializer_list<std::pair<const char*, TypeRef>>;

// Fields by their own names: `request.namespace` is not written `request.__namespace__`, as in a schema it would be.
class PlainFields final : public Fields {
 public:
  explicit PlainFields(Members fields) {
    for (const auto& [name, type] : fields) fields_.emplace(name, Field{type, name});
  }
  const Field* find(std::string_view name) const override {
    auto it = fields_.find(name);
    return it == fields_.end() ? nullptr : &it->second;
  }
  const Field* find_json(std::string_view name) const override { return find(name); }

 private:
  std::map<std::string, Field, std::less<>> fields_;
};

TypeRef object_type(const char* name, Members fields) { return Type::object(name, std::make_shared<PlainFields>(fields)); }

}  // namespace

const TypeRef& admission_request_type() {
  static const TypeRef type = [] {
    const TypeRef& text = Type::string();
    auto kind = object_type("kubernetes.GroupVersionKind", {{"group", text}, {"version", text}, {"kind", text}});
    auto resource = object_type("kubernetes.GroupVersionResource", {{"group", text}, {"version", text}, {"resource", text}});
    auto user = object_type("kubernetes.UserInfo", {{"username", text}, {"uid", text}, {"groups", Type::list(text)}, {"extra", Type::map(text, Type::list(text))}});
    return object_type("kubernetes.AdmissionRequest", {{"kind", kind}, {"resource", resource}, {"subResource", text}, {"requestKind", kind}, {"requestResource", resource},
                                                       {"requestSubResource", text}, {"name", text}, {"namespace", text}, {"operation", text}, {"userInfo", user},
                                                       {"dryRun", Type::boolean()}, {"options", Type::dyn()}});
  }();
  return type;
}

const TypeRef& namespace_object_type() {
  static const TypeRef type = [] {
    const TypeRef &text = Type::string(), &time = Type::timestamp();
    const TypeRef texts = Type::list(text), labels = Type::map(text, text);
    auto condition = object_type("kubernetes.NamespaceCondition", {{"status", text}, {"type", text}, {"lastTransitionTime", time}, {"message", text}, {"reason", text}});
    auto metadata = object_type("kubernetes.NamespaceMetadata", {{"name", text}, {"generateName", text}, {"namespace", text}, {"labels", labels}, {"annotations", labels}, {"UID", text},
                                                                 {"creationTimestamp", time}, {"deletionGracePeriodSeconds", Type::integer()}, {"deletionTimestamp", time},
                                                                 {"generation", Type::integer()}, {"resourceVersion", text}, {"finalizers", texts}});
    auto spec = object_type("kubernetes.NamespaceSpec", {{"finalizers", texts}});
    auto status = object_type("kubernetes.NamespaceStatus", {{"conditions", Type::list(condition)}, {"phase", text}});
    return object_type("kubernetes.Namespace", {{"metadata", metadata}, {"spec", spec}, {"status", status}});
  }();
  return type;
}

}  // namespace kcube::cel
