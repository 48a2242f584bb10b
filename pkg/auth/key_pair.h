// Whether a certificate and a key belong together, as people are warned of it. Thread-safe.
#pragma once

#include <string>

namespace kcube::auth {

// What Go's tls.X509KeyPair says of the two PEM texts; empty when a server could use them.
std::string key_pair_problem(const std::string& certificate_pem, const std::string& key_pem);

}  // namespace kcube::auth
