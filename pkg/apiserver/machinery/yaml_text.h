// JSON values as YAML text, as kube-apiserver writes it for who accepts application/yaml: blocks, members by name, lists no
// deeper than their key. Source: YAML 1.1; the layout is that of the go-yaml library.
#pragma once

#include <string>

#include "pkg/api/json.h"

namespace kcube::machinery {

std::string yaml_text(const json::value& value);

}  // namespace kcube::machinery
