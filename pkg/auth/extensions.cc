// Subjects, alternative names and key usages: structures, never OpenSSL's comma-separated text, so that a name from a
// stranger's CSR cannot smuggle another one in.
#include <arpa/inet.h>

#include <algorithm>

#include "pkg/auth/openssl.h"

namespace kcube::auth {
namespace {

struct Usage {
  std::string_view name;
  int bit;  // of keyUsage, RFC 5280 section 4.2.1.3; -1: none
  int nid;  // of extendedKeyUsage; 0: none
};

constexpr Usage kUsages[] = {{"signing", 0, 0},
                             {"digital signature", 0, 0},
                             {"content commitment", 1, 0},
                             {"key encipherment", 2, 0},
                             {"data encipherment", 3, 0},
                             {"key agreement", 4, 0},
                             {"cert sign", 5, 0},
                             {"crl sign", 6, 0},
                             {"encipher only", 7, 0},
                             {"decipher only", 8, 0},
                             {"any", -1, NID_anyExtendedKeyUsage},
                             {"server auth", -1, NID_server_auth},
                             {"client auth", -1, NID_client_auth},
                             {"code signing", -1, NID_code_sign},
                             {"email protection", -1, NID_email_protect},
                             {"s/mime", -1, NID_email_protect},
                             {"ipsec end system", -1, NID_ipsecEndSystem},
                             {"ipsec tunnel", -1, NID_ipsecTunnel},
                             {"ipsec user", -1, NID_ipsecUser},
                             {"timestamping", -1, NID_time_stamp},
                             {"ocsp signing", -1, NID_OCSP_sign},
                             {"microsoft sgc", -1, NID_ms_sgc},
                             {"netscape sgc", -1, NID_ns_sgc}};

std::string text_of(const ASN1_STRING* value) {
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                     static_cast<size_t>(ASN1_STRING_length(value)));
}

std::string address_of(const ASN1_OCTET_STRING* value) {
  char text[INET6_ADDRSTRLEN] = "";
  int size = ASN1_STRING_length(value);
  if (size == 4 || size == 16)
    ::inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(value), text, sizeof text);
  return text;
}

GENERAL_NAME* add_name(GENERAL_NAMES* names, int type, ASN1_STRING* value) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  GENERAL_NAME_set0_value(name, type, value);
  sk_GENERAL_NAME_push(names, name);
  return name;
}

void add_text(GENERAL_NAMES* names, int type, const std::vector<std::string>& values) {
  for (const auto& value : values) {
    ASN1_STRING* text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, value.data(), static_cast<int>(value.size()));
    add_name(names, type, text);
  }
}

}  // namespace

Result<void> set_subject(X509_NAME* name, const std::string& common_name,
                         const std::vector<std::string>& organizations) {
  auto add = [&](int nid, const std::string& value) {
    return X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                      static_cast<int>(value.size()), -1, 0) == 1;
  };
  for (const auto& organization : organizations)
    if (!add(NID_organizationName, organization)) return fail(openssl_failure("organization \"" + organization + "\""));
  if (!common_name.empty() && !add(NID_commonName, common_name))
    return fail(openssl_failure("common name \"" + common_name + "\""));
  return {};
}

std::vector<std::string> entries_of(const X509_NAME* name, int nid) {
  std::vector<std::string> found;
  for (int i = -1; (i = X509_NAME_get_index_by_NID(name, nid, i)) >= 0;) {
    unsigned char* text = nullptr;
    int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
    if (size < 0) continue;
    found.emplace_back(reinterpret_cast<char*>(text), static_cast<size_t>(size));
    OPENSSL_free(text);
  }
  ERR_clear_error();
  return found;
}

// The last one counts, as in Go's crypto/x509.
std::string common_name_of(const X509_NAME* name) {
  auto names = entries_of(name, NID_commonName);
  return names.empty() ? "" : names.back();
}

Result<NamesPtr> make_names(const AlternativeNames& names) {
  NamesPtr made(GENERAL_NAMES_new());
  add_text(made.get(), GEN_DNS, names.dns_names);
  add_text(made.get(), GEN_EMAIL, names.emails);
  add_text(made.get(), GEN_URI, names.uris);
  for (const auto& address : names.ip_addresses) {
    unsigned char bytes[16];
    bool v4 = ::inet_pton(AF_INET, address.c_str(), bytes) == 1;
    if (!v4 && ::inet_pton(AF_INET6, address.c_str(), bytes) != 1)
      return fail(Status::bad_request("not an IP address: " + address));
    ASN1_STRING* value = ASN1_OCTET_STRING_new();
    ASN1_STRING_set(value, bytes, v4 ? 4 : 16);
    add_name(made.get(), GEN_IPADD, value);
  }
  if (sk_GENERAL_NAME_num(made.get()) == 0) made.reset();
  return made;
}

AlternativeNames read_names(const GENERAL_NAMES* names) {
  AlternativeNames found;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    int type = 0;
    void* value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
    auto* text = static_cast<const ASN1_STRING*>(value);
    if (type == GEN_DNS) found.dns_names.push_back(text_of(text));
    if (type == GEN_EMAIL) found.emails.push_back(text_of(text));
    if (type == GEN_URI) found.uris.push_back(text_of(text));
    if (type == GEN_IPADD) found.ip_addresses.push_back(address_of(text));
  }
  return found;
}

Result<void> add_usages(X509* certificate, const std::vector<std::string>& usages) {
  std::unique_ptr<ASN1_BIT_STRING, Freed<ASN1_BIT_STRING_free>> bits(ASN1_BIT_STRING_new());
  std::unique_ptr<EXTENDED_KEY_USAGE, Freed<EXTENDED_KEY_USAGE_free>> extended(EXTENDED_KEY_USAGE_new());
  bool any_bit = false;
  for (const auto& usage : usages) {
    auto known = std::find_if(std::begin(kUsages), std::end(kUsages), [&](const Usage& u) { return u.name == usage; });
    if (known == std::end(kUsages)) return fail(Status::bad_request("unrecognized usage: \"" + usage + "\""));
    if (known->bit >= 0) any_bit = ASN1_BIT_STRING_set_bit(bits.get(), known->bit, 1) == 1;
    if (known->nid != 0) sk_ASN1_OBJECT_push(extended.get(), OBJ_nid2obj(known->nid));
  }
  bool ok = !any_bit || X509_add1_ext_i2d(certificate, NID_key_usage, bits.get(), 1, 0) == 1;
  if (sk_ASN1_OBJECT_num(extended.get()) > 0)
    ok = ok && X509_add1_ext_i2d(certificate, NID_ext_key_usage, extended.get(), 0, 0) == 1;
  if (!ok) return fail(openssl_failure("key usages"));
  return {};
}

Result<void> add_identity(X509* certificate, X509* issuer, bool authority) {
  std::unique_ptr<BASIC_CONSTRAINTS, Freed<BASIC_CONSTRAINTS_free>> constraints(BASIC_CONSTRAINTS_new());
  constraints->ca = authority ? 0xff : 0;
  bool ok = X509_add1_ext_i2d(certificate, NID_basic_constraints, constraints.get(), 1, 0) == 1;
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  auto add = [&](int nid, const char* value) {
    std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>> extension(
        X509V3_EXT_conf_nid(nullptr, &context, nid, value));
    return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
  };
  ok = ok && add(NID_subject_key_identifier, "hash");
  ok = ok && (authority || add(NID_authority_key_identifier, "keyid"));
  if (!ok) return fail(openssl_failure("certificate extensions"));
  return {};
}

}  // namespace kcube::auth
