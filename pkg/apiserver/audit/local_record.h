// Audit of what parts of this process ask for without HTTP, as the requests that they would have been. Costs nothing when
// nothing is recorded.
#pragma once

#include <memory>

#include "pkg/apiserver/audit/auditor.h"
#include "pkg/apiserver/core.h"
#include "pkg/client/client.h"

namespace kcube::apiserver::audit {

class LocalRecord {
 public:
  // `auditor` may be null. `body` is what would be sent; null for reads.
  LocalRecord(const Auditor* auditor, Call& call, const client::LocalCall& in, const char* verb, const json::value* body, const client::ListOptions* options = nullptr);
  // What was answered.
  void answered(const Call& call, int code, const Result<client::ObjectPtr>& result);
  void answered(const Call& call, const Result<client::ObjectList>& result);
  void answered(const Call& call, const Result<void>& result);
  // Of a watch: it goes on for as long as the record is held.
  std::shared_ptr<void> started(const Call& call);

 private:
  void end(const Call& call, int code, json::value answer);
  bool wants_answer() const { return record_ && record_->level() == Level::request_response; }
  std::shared_ptr<Record> record_;
};

}  // namespace kcube::apiserver::audit
