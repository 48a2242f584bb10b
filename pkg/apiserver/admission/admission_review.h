// admission.k8s.io/v1 AdmissionReview: what a webhook is asked, and what it said.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pkg/apiserver/admission/match.h"

namespace kcube::apiserver {

// Its request but for uid, object and oldObject: also what expressions call `request`.
json::object make_request(const Admission& admission, const Resource& as);
// The review of `admission` as a client of `as` would see it.
Result<json::value> make_review(const Admission& admission, const Resource& as, const std::string& uid);

struct ReviewAnswer {
  bool allowed = false;
  Status denial{403, "", ""};                     // when not allowed: without the name of the webhook yet
  std::optional<json::value> patch;               // operations of RFC 6902
  std::vector<std::string> warnings;
  std::map<std::string, std::string> audit_annotations;
};
// Fails with what kube-apiserver finds wrong with an answer.
Result<ReviewAnswer> read_review(const json::value& review, const std::string& uid, bool mutating);

}  // namespace kcube::apiserver
