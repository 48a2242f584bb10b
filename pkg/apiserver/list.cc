// Reading many: selectors, pages, and how old an answer may be.
// Source: the Kubernetes docs on resource versions and on chunked lists.
#include <algorithm>
#include <cstdio>

#include "pkg/api/errors.h"
#include "pkg/apiserver/engine.h"
#include "pkg/apiserver/extension/custom_resource.h"
#include "pkg/base/strings.h"

namespace kcube::apiserver {
namespace {

// Where the next page starts, as the client carries it.
struct Continue {
  uint64_t revision = 0;
  std::string start;   // key, "ns/name"
};

std::string encode_continue(const Continue& c) {
  json::object token{{"v", "meta.k8s.io/v1"}, {"rv", c.revision}, {"start", c.start}};
  return base64url_encode(json::serialize(json::value(std::move(token))));
}

Result<Continue> decode_continue(std::string_view text) {
  auto decoded = base64url_decode(text);
  auto invalid = [&] {
    const auto first = static_cast<unsigned char>(decoded && !decoded->empty() ? (*decoded)[0] : 0);
    char shown[16];
    std::snprintf(shown, sizeof shown, first >= 0x20 && first < 0x7f ? "%c" : "\\u%04x", first);
    return fail(Status::bad_request("invalid continue token: continue key is not valid: invalid character '" + std::string(shown) + "' looking for beginning of value"));
  };
  if (!decoded) {
    size_t bad = text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
    return fail(Status::bad_request("invalid continue token: continue key is not valid: illegal base64 data at input byte " + std::to_string(bad == std::string_view::npos ? text.size() : bad)));
  }
  auto refuse = [](std::string_view why) { return fail(Status::bad_request("invalid continue token: continue key is not valid: " + std::string(why))); };
  auto token = json::parse(*decoded);
  if (!token || !token->is_object()) return invalid();
  if (json::get_string(*token, {"v"}) != "meta.k8s.io/v1") return refuse("server does not recognize this encoded version " + std::string(json::get_string(*token, {"v"})));
  if (json::get_int(*token, {"rv"}) == 0) return refuse("incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
  Continue c{static_cast<uint64_t>(json::get_int(*token, {"rv"})), std::string(json::get_string(*token, {"start"}))};
  if (c.start.empty()) return refuse("encoded start key empty (version meta.k8s.io/v1)");
  if (c.start.starts_with("../") || c.start.find("/../") != std::string::npos) return refuse(c.start);
  return c;
}

constexpr std::string_view kTooOld =
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue "
    "parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token "
    "results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and "
    "now may show up in the list.";

struct Selection {
  api::LabelSelector labels;
  FieldMatcher fields;
  std::string_view name;   // bound by metadata.name
  bool everything() const { return labels.everything() && fields.everything(); }
  bool matches(const api::Object& object) const { return labels.matches(object.labels()) && fields.matches(object); }
};

Result<void> check_match(const ListOptions& q) {
  auto refuse = [](std::string field, std::string text) -> Result<void> {
    return fail(api::invalid("meta.k8s.io", "ListOptions", "", {api::field_forbidden(std::move(field), text)}));
  };
  if (q.resource_version_match.empty()) return {};
  if (q.resource_version.empty()) {
    std::vector<Cause> causes{api::field_forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")};
    if (!q.continue_token.empty()) causes.push_back(api::field_forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"));
    return fail(api::invalid("meta.k8s.io", "ListOptions", "", std::move(causes)));
  }
  if (!q.continue_token.empty()) return refuse("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
  if (q.resource_version_match != "Exact" && q.resource_version_match != "NotOlderThan") {
    return fail(api::invalid("meta.k8s.io", "ListOptions", "",
                             {api::field_not_supported("resourceVersionMatch", json::value(json::key(q.resource_version_match)), {"Exact", "NotOlderThan", ""})}));
  }
  if (q.resource_version_match == "Exact" && q.resource_version == "0")
    return refuse("resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
  return {};
}

// Events are not cached there, and not worth coming again for.
Status too_large(uint64_t asked, uint64_t current, bool events) {
  Status status(504, "Timeout", "Timeout: Too large resource version: " + std::to_string(asked) + ", current: " + std::to_string(current));
  status.details().causes.push_back({"ResourceVersionTooLarge", "Too large resource version", ""});
  if (!events) status.details().retry_after_seconds = 1;
  return status;
}

// Objects of the range in a snapshot: of one namespace, from `start` on.
std::pair<size_t, size_t> bounds(const Snapshot& snapshot, const std::string& ns, const std::string& start) {
  const auto& all = snapshot.objects;
  auto before = [](const ObjectPtr& object, const std::string& key) { return object->key() < key; };
  size_t first = 0, last = all.size();
  if (!ns.empty()) {
    first = std::lower_bound(all.begin(), all.end(), ns + "/", before) - all.begin();
    last = std::lower_bound(all.begin(), all.end(), ns + "0", before) - all.begin();   // '0' follows '/'
  }
  if (!start.empty()) first = std::max<size_t>(first, std::lower_bound(all.begin(), all.end(), start, before) - all.begin());
  return {first, std::max(first, last)};
}

ListPage page_of(const SnapshotPtr& snapshot, const Call& call, const Selection& selection, const ListOptions& query, const std::string& start,
                 uint64_t revision) {
  ListPage page;
  page.revision = revision;
  auto [first, last] = bounds(*snapshot, call.ns, start);
  const auto& all = snapshot->objects;
  if (selection.everything() && query.limit == 0 && first == 0 && last == all.size()) {
    page.whole = snapshot;
    page.items = all;
    return page;
  }
  size_t at = first;
  for (; at < last; ++at) {
    if (!selection.everything() && !selection.matches(*all[at])) continue;
    if (query.limit != 0 && page.items.size() == query.limit) break;
    page.items.push_back(all[at]);
  }
  if (at < last) {
    page.continue_token = encode_continue({revision, all[at]->key()});
    if (selection.everything()) page.remaining = static_cast<int64_t>(last - at);
  }
  return page;
}

// Custom resources are selected as the version shows them.
Result<SnapshotPtr> as_served(const Resource& resource, const SnapshotPtr& stored) {
  if (resource.custom == nullptr) return stored;
  auto served = std::make_shared<Snapshot>(*stored);
  if (auto done = resource.custom->read_all(served->objects); !done) return fail(done.error());
  if (served->objects == stored->objects) return stored;
  served->bytes = 0;
  for (const ObjectPtr& object : served->objects) served->bytes += object->bytes().size();
  return SnapshotPtr(std::move(served));
}

}  // namespace

Result<ListPage> Engine::list(const Call& call, const ListOptions& query) const {
  if (auto done = check_match(query); !done) return fail(done.error());
  Selection selection;
  auto labels = api::LabelSelector::parse(query.label_selector);
  if (!labels) return fail(labels.error());
  selection.labels = std::move(*labels);
  auto fields = FieldMatcher::create(*call.resource, query.field_selector);
  if (!fields) return fail(fields.error());
  selection.fields = std::move(*fields);
  if (call.resource->cache == nullptr) return ListPage{};

  uint64_t exact = 0;
  std::string start;
  if (!query.continue_token.empty()) {
    auto token = decode_continue(query.continue_token);
    if (!token) return fail(token.error());
    if (!query.resource_version.empty() && query.resource_version != "0")
      return fail(Status::bad_request("specifying resource version is not allowed when using continue"));
    exact = token->revision;
    start = token->start;
  } else if (!query.resource_version.empty()) {
    auto asked = parse_int<uint64_t>(query.resource_version);
    if (!asked) {
      const bool digits = query.resource_version.find_first_not_of("0123456789") == std::string::npos;
      return fail(Status::bad_request("invalid resource version: resourceVersion: Invalid value: \"" + query.resource_version + "\": strconv.ParseUint: parsing \"" +
                                      query.resource_version + (digits ? "\": value out of range" : "\": invalid syntax")));
    }
    if (*asked > core_.cache.revision()) return fail(too_large(*asked, core_.cache.revision(), call.resource->stored->resource == "events"));
    // Without a match a page of an old list is exact, as it was before there was a choice.
    if (query.resource_version_match == "Exact" || (query.resource_version_match.empty() && query.limit != 0 && *asked != 0)) exact = *asked;
  }
  uint64_t revision = core_.cache.revision();
  SnapshotPtr snapshot = call.resource->cache->snapshot();
  revision = std::max(revision, snapshot->changed);
  if (exact == 0 || snapshot->changed <= exact) {
    auto present = as_served(*call.resource, snapshot);
    if (!present) return fail(present.error());
    return page_of(*present, call, selection, query, start, exact != 0 ? exact : revision);
  }

  // The past is read from the store.
  const std::string& prefix = call.resource->cache->prefix();
  auto range = core_.store.range(prefix, {}, 0, exact);
  if (!range) {
    if (range.error().code() != 410) return fail(range.error());
    if (start.empty()) return fail(api::expired("The provided resource version is too old: " + std::to_string(exact)));
    Status status = api::expired(kTooOld);
    status.details().continue_token = encode_continue({revision, start});
    return fail(std::move(status));
  }
  auto past = std::make_shared<Snapshot>();
  for (const store::KeyValue& item : range->items) past->objects.push_back(api::Object::make(*item.value, item.mod_revision));
  auto served = as_served(*call.resource, past);
  if (!served) return fail(served.error());
  return page_of(*served, call, selection, query, start, exact);
}

}  // namespace kcube::apiserver
