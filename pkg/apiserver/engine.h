// The engine: every verb of the API over the cache and the store, for HTTP and for parts of this process alike.
//
// Reads come from the cache. A write is: prepare (strategy), default, mutate (admission), validate, admit, one conditional
// commit, again from the start when another write came between. Objects go in as the served version's JSON and come out as
// stored. Thread-safe; calls block until durable. Failures are the API's own Status values.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pkg/apiserver/core.h"
#include "pkg/apiserver/fields.h"
#include "pkg/client/client.h"

namespace kcube::apiserver {

using client::DeleteOptions;
using client::ListOptions;

struct ListPage {
  std::vector<ObjectPtr> items;
  SnapshotPtr whole;                      // set when `items` is all of it, for sharing encoded bytes
  uint64_t revision = 0;
  std::string continue_token;
  int64_t remaining = -1;                 // -1: not known
};

struct Written {
  ObjectPtr object;
  bool created = false;
  bool removed = false;                   // of a deletion: gone now, not merely marked
};

class Engine {
 public:
  explicit Engine(Core& core) : core_(core) {}

  Result<ObjectPtr> get(const Call& call) const;
  Result<ListPage> list(const Call& call, const ListOptions& query) const;
  // `object` as the client sent it, or null for an empty body.
  Result<Written> create(Call& call, json::value object);
  Result<Written> update(Call& call, json::value object);
  // JSON, merge, strategic or apply, by what the subresource holds.
  Result<Written> patch(Call& call, client::PatchType type, const json::value& patch, bool force);
  Result<Written> remove(Call& call, const DeleteOptions& deletion);
  // What was removed, and where the next page begins.
  Result<ListPage> remove_collection(Call& call, const DeleteOptions& deletion, const ListOptions& query);

  // Reads, changes, writes; again when another write came between. `change` sees a private copy in the stored version.
  using Change = std::function<Result<void>(json::value& object)>;
  Result<Written> modify(Call& call, const Change& change);
  // Who set which fields, for metadata.managedFields.
  void track_fields(Call& call, json::value& object, const json::value* old) const;
  // decode(), with what went wrong said as for a whole object.
  Result<json::value> decode_whole(Call& call, json::value body) const;

  // The same, in the words for a body that is the whole object.
  // Checks kind, version, types and unknown fields of a body for the call's kind; warnings go to the call. Of custom
  // resources defaults are part of it, but where empty values are kept: in a configuration that is applied.
  Result<json::value> decode(Call& call, json::value body, machinery::Empty empty = machinery::Empty::drop) const;
  Core& core() { return core_; }

 private:
  Result<json::value> decode_typed_cbor(Call& call, json::value body, machinery::Empty empty) const;
  // What a patch makes of `old` (null: there is none), what an applied configuration makes of it as clients see it, and the
  // result as an object.
  Result<json::value> patched(Call& call, const ObjectPtr& old, client::PatchType type, const json::value& patch, bool force) const;
  Result<json::value> applied(Call& call, const json::value* view, const json::value& patch, bool force) const;
  Result<json::value> decode_patched(Call& call, client::PatchType type, const json::value& patch, const json::value& patched) const;
  // Makes the candidate from the object as it is (null: absent).
  using Transform = std::function<Result<json::value>(const ObjectPtr& old)>;
  Result<Written> write(Call& call, const Transform& transform, bool may_create, bool apply);
  // `stored` is `old` as it lies in the store, which differs for custom resources in other versions.
  Result<Written> write_once(Call& call, const ObjectPtr& old, const ObjectPtr& stored, json::value fresh, bool apply);
  Result<Written> create_named(Call& call, json::value& object, bool apply);
  Result<void> settle(Call& call, json::value& object, const json::value* old, Operation operation, bool tracked);
  Result<Written> commit(Call& call, const json::value& object, uint64_t expected, bool removal);
  Result<Written> commit_stored(Call& call, const json::value& object, uint64_t expected, bool removal);
  Result<Written> mark_deleted(Call& call, const ObjectPtr& old, const DeleteOptions& deletion);
  Status missing(const Call& call) const;
  // What cannot be part of a path is no name to ask for.
  static Result<void> check_name(const Call& call);

  Core& core_;
};

// Fills in metadata of a new object: uid, creationTimestamp, generation; strips what clients cannot set.
void init_metadata(json::object& object, const Call& call, SystemTime now);

}  // namespace kcube::apiserver
