// The API server as parts of this process see it: no HTTP, no copies, no authorization; everything else holds.
#pragma once

#include "pkg/apiserver/engine.h"
#include "pkg/apiserver/hub.h"
#include "pkg/apiserver/reviews.h"
#include "pkg/client/client.h"

namespace kcube::apiserver {

namespace audit {
class Auditor;
}

// `auditor` may be null: then nothing is recorded.
std::unique_ptr<client::LocalBackend> make_local_backend(Engine& engine, Reviews& reviews, Hub& hub, const audit::Auditor* auditor);

}  // namespace kcube::apiserver
