#include "pkg/kubelet/environment.h"

#include <algorithm>
#include <optional>

#include "pkg/api/names.h"
#include "pkg/api/quantity.h"
#include "pkg/base/strings.h"

namespace kcube::kubelet {
namespace {

// {SVC}_SERVICE_HOST and its kin, as Docker links had them. Source: the Kubernetes docs, "Accessing the Service".
void add_service(const api::Object& object, std::map<std::string, std::string>& values) {
  core::v1::Service service(object.value());
  std::string ip(service.spec().cluster_ip());
  if (ip.empty() || ip == "None" || service.spec().ports().empty()) return;
  std::string prefix;
  for (char c : object.name()) prefix += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  auto first = service.spec().ports()[0];
  values[prefix + "_SERVICE_HOST"] = ip;
  values[prefix + "_SERVICE_PORT"] = std::to_string(first.port());
  for (auto port : service.spec().ports()) {
    std::string number = std::to_string(port.port()), protocol = to_lower(port.protocol().empty() ? "TCP" : port.protocol());
    if (!port.name().empty()) {
      std::string name;
      for (char c : port.name()) name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      values[prefix + "_SERVICE_PORT_" + name] = number;
    }
    std::string upper = protocol;
    for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    std::string url = protocol + "://" + ip + ":" + number, base = prefix + "_PORT_" + number + "_" + upper;
    values.try_emplace(prefix + "_PORT", url);
    values[base] = url;
    values[base + "_PROTO"] = protocol;
    values[base + "_PORT"] = number;
    values[base + "_ADDR"] = ip;
  }
}

std::string decoded(const json::value& v, bool base64) {
  std::string_view text = json::get_string(&v);
  return base64 ? base64_decode(text).value_or("") : std::string(text);
}

class Builder {
 public:
  Builder(const core::v1::Pod& pod, const core::v1::Container& container, const EnvironmentSources& sources)
      : pod_(pod), container_(container), sources_(sources) {}

  Result<std::vector<std::string>> run() {
    bool links = !pod_.spec().has_enable_service_links() || pod_.spec().enable_service_links();
    for (const api::ObjectPtr& service : sources_.services) {
      bool master = service->namespace_() == "default" && service->name() == "kubernetes";
      if (master || (links && service->namespace_() == pod_.metadata().namespace_())) add_service(*service, services_);
    }
    if (auto r = from_sources(); !r) return fail(r.error());
    for (auto env : container_.env()) {
      auto value = one(env);
      if (!value) return fail(value.error());
      if (*value) set(std::string(env.name()), **value);
    }
    // Links never override what the pod says.
    for (const auto& [name, value] : services_)
      if (!values_.contains(name)) set(name, value);
    std::vector<std::string> out;
    for (const std::string& name : order_) out.push_back(name + "=" + values_[name]);
    return out;
  }

 private:
  void set(const std::string& name, std::string value) {
    if (values_.insert_or_assign(name, std::move(value)).second) order_.push_back(name);
  }

  Result<void> from_sources() {
    for (auto from : container_.env_from()) {
      bool secret = static_cast<bool>(from.secret_ref());
      std::string_view name = secret ? from.secret_ref().name() : from.config_map_ref().name();
      bool optional = secret ? from.secret_ref().optional() : from.config_map_ref().optional();
      auto object = secret ? sources_.secret(name) : sources_.config_map(name);
      if (!object) {
        if (object.error().is_not_found() && optional) continue;
        return fail(object.error());
      }
      for (const auto& m : json::get_object(json::find(&(*object)->value(), "data"))) {
        std::string key = std::string(from.prefix()) + std::string(m.key());
        if (api::check_env_var_name(key).empty()) set(key, decoded(m.value(), secret));
      }
    }
    return {};
  }

  // Null when an optional source is absent.
  Result<std::optional<std::string>> one(core::v1::EnvVar env) {
    auto from = env.value_from();
    if (!from) {
      std::map<std::string, std::string> known = services_;
      for (const auto& [k, v] : values_) known[k] = v;
      return std::optional(expand(env.value(), known));
    }
    if (auto field = from.field_ref()) return some(field_value(pod_, field.field_path(), sources_));
    if (auto resource = from.resource_field_ref()) {
      core::v1::Container of = container_;
      for (auto c : pod_.spec().containers())
        if (c.name() == resource.container_name()) of = c;
      return some(resource_value(of, resource.resource(), resource.divisor(), sources_));
    }
    if (auto ref = from.config_map_key_ref()) return key_of(sources_.config_map(ref.name()), ref.key(), ref.optional(), false, "ConfigMap", ref.name());
    if (auto ref = from.secret_key_ref()) return key_of(sources_.secret(ref.name()), ref.key(), ref.optional(), true, "Secret", ref.name());
    return std::optional<std::string>();
  }

  static Result<std::optional<std::string>> some(Result<std::string> value) {
    if (!value) return fail(value.error());
    return std::optional(std::move(*value));
  }

  Result<std::optional<std::string>> key_of(Result<api::ObjectPtr> object, std::string_view key, bool optional, bool base64, std::string_view kind,
                                            std::string_view name) {
    if (!object) {
      if (object.error().is_not_found() && optional) return std::optional<std::string>();
      return fail(object.error());
    }
    const json::value* value = json::at(&(*object)->value(), {"data", key});
    if (value == nullptr) {
      if (optional) return std::optional<std::string>();
      return fail(Status::not_found("couldn't find key " + std::string(key) + " in " + std::string(kind) + " " +
                                    std::string(pod_.metadata().namespace_()) + "/" + std::string(name)));
    }
    return std::optional(decoded(*value, base64));
  }

  const core::v1::Pod& pod_;
  const core::v1::Container& container_;
  const EnvironmentSources& sources_;
  std::map<std::string, std::string> services_, values_;
  std::vector<std::string> order_;
};

// key in `metadata.labels['key']`, or empty.
std::string_view subscript(std::string_view path, std::string_view prefix) {
  if (!path.starts_with(prefix) || path.size() < prefix.size() + 4 || !path.ends_with("']")) return {};
  path.remove_prefix(prefix.size());
  if (!path.starts_with("['")) return {};
  return path.substr(2, path.size() - 4);
}

// One key="value" a line, as files of the downward API have maps.
std::string format_map(api::views::StringMap map) {
  std::vector<std::string> lines;
  for (const auto& [key, value] : map) {
    std::string quoted;
    json::append_quoted(quoted, value);
    lines.push_back(std::string(key) + "=" + quoted);
  }
  std::ranges::sort(lines);
  return join(lines, "\n");
}

}  // namespace

std::string expand(std::string_view text, const std::map<std::string, std::string>& values) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 >= text.size()) {
      out += text[i];
    } else if (text[i + 1] == '$') {
      out += '$';
      ++i;
    } else if (text[i + 1] == '(') {
      size_t end = text.find(')', i + 2);
      if (end == std::string_view::npos) {
        out += text[i];
        continue;
      }
      std::string name(text.substr(i + 2, end - i - 2));
      auto it = values.find(name);
      out += it != values.end() ? it->second : std::string(text.substr(i, end - i + 1));
      i = end;
    } else {
      out += text[i];
    }
  }
  return out;
}

Result<std::string> field_value(const core::v1::Pod& pod, std::string_view path, const EnvironmentSources& sources) {
  auto meta = pod.metadata();
  if (path == "metadata.name") return std::string(meta.name());
  if (path == "metadata.namespace") return std::string(meta.namespace_());
  if (path == "metadata.uid") return std::string(meta.uid());
  if (path == "metadata.labels") return format_map(meta.labels());
  if (path == "metadata.annotations") return format_map(meta.annotations());
  if (auto key = subscript(path, "metadata.labels"); !key.empty()) return std::string(meta.labels().get(key));
  if (auto key = subscript(path, "metadata.annotations"); !key.empty()) return std::string(meta.annotations().get(key));
  if (path == "spec.nodeName") return sources.node_name;
  if (path == "spec.serviceAccountName") return std::string(pod.spec().service_account_name());
  if (path == "status.hostIP" || path == "status.hostIPs") return sources.host_ip;
  if (path == "status.podIP") return sources.pod_ip;
  if (path == "status.podIPs") return join(sources.pod_ips, ",");
  return fail(Status::bad_request("unsupported fieldPath: " + std::string(path)));
}

Result<std::string> resource_value(const core::v1::Container& container, std::string_view resource, const json::value* divisor,
                                   const EnvironmentSources& sources) {
  size_t dot = resource.find('.');
  if (dot == std::string_view::npos) return fail(Status::bad_request("unsupported container resource : " + std::string(resource)));
  std::string_view which = resource.substr(0, dot), name = resource.substr(dot + 1);
  api::Quantity q = api::Quantity::from_json(json::at(container.json(), {"resources", which, name}));
  if (q.zero() && which == "limits") {
    // Without a limit the node's capacity is the limit.
    if (name == "cpu") q = api::Quantity::from_milli(static_cast<int64_t>(sources.node_cpu_millis));
    if (name == "memory") q = api::Quantity::from_int(static_cast<int64_t>(sources.node_memory_bytes));
  }
  api::Quantity by = api::Quantity::from_json(divisor);
  if (by.zero()) by = api::Quantity::from_int(1);
  if (name == "cpu") {
    int64_t d = std::max<int64_t>(1, by.milli_value());
    return std::to_string((q.milli_value() + d - 1) / d);
  }
  int64_t d = std::max<int64_t>(1, by.value());
  return std::to_string((q.value() + d - 1) / d);
}

Result<std::vector<std::string>> make_environment(const core::v1::Pod& pod, const core::v1::Container& container,
                                                  const EnvironmentSources& sources) {
  return Builder(pod, container, sources).run();
}

}  // namespace kcube::kubelet
