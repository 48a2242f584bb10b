// Addresses, as services, endpoints, ingresses and policies have them. Private to machinery.
#pragma once

#include "pkg/apiserver/machinery/validation_cursor.h"

namespace kcube::machinery {

bool valid_cidr(std::string_view text);
bool check_cidr(const Cursor& cidr);            // true when there is nothing to say of it
bool check_canonical_cidr(const Cursor& cidr);  // and in the one form that there is for it
// Of sound CIDRs.
bool strictly_within(std::string_view inner, std::string_view outer);
bool same_family(std::string_view a, std::string_view b);
// Not the unspecified address, nor loopback, nor link-local: nothing that only one node knows.
void check_endpoint_ip(const Cursor& ip);

}  // namespace kcube::machinery
