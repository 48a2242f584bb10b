// Sockets born in another network namespace. Any thread.
#pragma once

#include <string>

#include "pkg/base/fd.h"
#include "pkg/base/status.h"

namespace kcube::http {

// socket(2) on a helper thread that enters the namespace first: a socket belongs to the namespace it was made in,
// whoever uses it later. An empty path means our own.
Result<Fd> socket_in(const std::string& netns_path, int family, int type, int protocol);

}  // namespace kcube::http
