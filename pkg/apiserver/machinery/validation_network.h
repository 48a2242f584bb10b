// Addresses, as services, endpoints, ingresses and policies have them. Private to machinery.
#pragma once

#include "pkg/apiserver/machinery/validation_cursor.h"

namespace kcube::machinery {

bool valid_cidr(std::string_view text);
void check_cidr(const Cursor& cidr);
// Not the unspecified address, nor loopback, nor link-local: nothing that only one node knows.
void check_endpoint_ip(const Cursor& ip);

}  // namespace kcube::machinery
