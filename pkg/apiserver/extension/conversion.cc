#include "pkg/apiserver/extension/conversion.h"

#include <algorithm>

#include "pkg/apiserver/extension/custom_resource.h"
#include "pkg/apiserver/webhook_client.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver::extension {
namespace {

constexpr std::chrono::seconds kTimeout{30};

bool takes_v1(const json::value& conversion) {
  for (const json::value& version : json::get_array(json::at(&conversion, {"webhook", "conversionReviewVersions"})))
    if (std::string_view name = json::get_string(&version); name == "v1" || name == "v1beta1") return name == "v1";
  return true;
}

// A webhook may change labels and annotations; the rest of the metadata stays as it was.
Result<void> restore_metadata(const json::value& before, json::value& after) {
  for (const char* name : {"name", "namespace", "uid"}) {
    std::string_view was = json::get_string(before, {"metadata", name}), is = json::get_string(after, {"metadata", name});
    if (was != is)
      return fail(Status::internal("invalid metadata of object: must have the same " + std::string(name) + ": " + std::string(was) + " != " + std::string(is)));
  }
  json::object metadata = json::get_object(json::find(&before, "metadata"));
  for (const char* name : {"labels", "annotations"}) {
    const json::value* changed = json::at(&after, {"metadata", name});
    if (changed != nullptr) metadata[name] = *changed;
    else metadata.erase(name);
  }
  after.get_object()["metadata"] = std::move(metadata);
  return {};
}

Result<void> take_response(const json::value& answer, const std::string& uid, const std::vector<json::value*>& objects, const CustomVersion& to) {
  const json::value* response = json::find(&answer, "response");
  if (response == nullptr || !response->is_object()) return fail(Status::internal("no response provided"));
  if (json::get_string(*response, {"uid"}) != uid)
    return fail(Status::internal("expected response.uid=\"" + uid + "\", got \"" + std::string(json::get_string(*response, {"uid"})) + "\""));
  if (json::get_string(*response, {"result", "status"}) != "Success") {
    std::string_view message = json::get_string(*response, {"result", "message"});
    return fail(Status::internal(message.empty() ? "the webhook did not say why" : std::string(message)));
  }
  const json::array& converted = json::get_array(json::find(response, "convertedObjects"));
  if (converted.size() != objects.size())
    return fail(Status::internal("webhook returned " + std::to_string(converted.size()) + " objects, expected " + std::to_string(objects.size())));
  for (size_t i = 0; i < objects.size(); ++i) {
    json::value made = converted[i];
    std::string_view kind = json::get_string(*objects[i], {"kind"});
    if (!made.is_object() || json::get_string(made, {"apiVersion"}) != to.api_version || json::get_string(made, {"kind"}) != kind)
      return fail(Status::internal("invalid converted object at index " + std::to_string(i) + ": invalid groupVersion (expected " + to.api_version + ", got " +
                                   std::string(json::get_string(made, {"apiVersion"})) + ")"));
    if (auto done = restore_metadata(*objects[i], made); !done) return done;
    *objects[i] = std::move(made);
  }
  return {};
}

}  // namespace

Result<void> convert_objects(const json::value& conversion, std::vector<json::value*> objects, const CustomVersion& to, WebhookClient& webhooks) {
  std::erase_if(objects, [&](const json::value* object) { return json::get_string(*object, {"apiVersion"}) == to.api_version; });
  if (objects.empty()) return {};
  if (json::get_string(conversion, {"strategy"}) != "Webhook") {
    for (json::value* object : objects) object->get_object()["apiVersion"] = to.api_version;
    return {};
  }
  std::string uid = new_uuid();
  json::array list;
  for (const json::value* object : objects) list.push_back(*object);
  json::object request{{"uid", uid}, {"desiredAPIVersion", to.api_version}, {"objects", std::move(list)}};
  json::value review = json::object{{"kind", "ConversionReview"},
                                    {"apiVersion", takes_v1(conversion) ? "apiextensions.k8s.io/v1" : "apiextensions.k8s.io/v1beta1"},
                                    {"request", std::move(request)}};
  const json::value* config = json::at(&conversion, {"webhook", "clientConfig"});
  auto failed = [&](const Status& status) {
    std::string kind(json::get_string(*objects.front(), {"kind"})), version(json::get_string(*objects.front(), {"apiVersion"}));
    return fail(Status::internal("conversion webhook for " + version + ", Kind=" + kind + " failed: " + status.message()));
  };
  auto answer = webhooks.post(config == nullptr ? json::value() : *config, review, kTimeout);
  if (!answer) return failed(answer.error());
  if (auto done = take_response(*answer, uid, objects, to); !done) return failed(done.error());
  return {};
}

}  // namespace kcube::apiserver::extension
