// Image references, normalised as Docker does. Source: distribution/reference grammar.
#include <algorithm>
#include <string_view>

#include "runtime/image_store.h"
#include "runtime/images/digest.h"

namespace kcube::runtime {
namespace {

constexpr size_t kMaxName = 255, kMaxTag = 128;
constexpr std::string_view kDefaultRegistry = "docker.io", kOfficial = "library/";

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_alphanumeric(char c) { return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// path-component := [a-z0-9]+ (separator [a-z0-9]+)*, separator := "." | "_" | "__" | "-"+
bool valid_component(std::string_view text) {
  if (text.empty() || !is_lower_or_digit(text.front()) || !is_lower_or_digit(text.back())) return false;
  for (size_t i = 0; i < text.size();) {
    if (is_lower_or_digit(text[i])) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() && !is_lower_or_digit(text[end])) ++end;
    std::string_view separator = text.substr(i, end - i);
    bool dashes = separator.find_first_not_of('-') == std::string_view::npos;
    if (separator != "." && separator != "_" && separator != "__" && !dashes) return false;
    i = end;
  }
  return true;
}

bool valid_path(std::string_view path) {
  while (true) {
    size_t slash = path.find('/');
    if (!valid_component(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

bool valid_port(std::string_view port) {
  return !port.empty() && port.size() <= 5 && std::ranges::all_of(port, is_digit);
}

bool valid_host_label(std::string_view label) {
  return !label.empty() && is_alphanumeric(label.front()) && is_alphanumeric(label.back()) &&
         std::ranges::all_of(label, [](char c) { return is_alphanumeric(c) || c == '-'; });
}

// A domain name, an IPv4 address or an IPv6 address in brackets, each with an optional port.
bool valid_registry(std::string_view registry) {
  if (registry.starts_with('[')) {
    size_t close = registry.find(']');
    if (close == std::string_view::npos || close < 3) return false;
    std::string_view address = registry.substr(1, close - 1), rest = registry.substr(close + 1);
    if (address.find_first_not_of("0123456789abcdefABCDEF:") != std::string_view::npos) return false;
    return rest.empty() || (rest[0] == ':' && valid_port(rest.substr(1)));
  }
  size_t colon = registry.find(':');
  if (colon != std::string_view::npos && !valid_port(registry.substr(colon + 1))) return false;
  std::string_view host = registry.substr(0, colon);
  while (true) {
    size_t dot = host.find('.');
    if (!valid_host_label(host.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    host.remove_prefix(dot + 1);
  }
}

bool valid_tag(std::string_view tag) {
  return !tag.empty() && tag.size() <= kMaxTag && (is_alphanumeric(tag[0]) || tag[0] == '_') &&
         std::ranges::all_of(tag, [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

// The first part is a registry when it cannot be a component of Docker Hub: it has a dot, a port or a capital, or is
// "localhost".
bool looks_like_registry(std::string_view part) {
  return part == "localhost" || part.find_first_of(".:[") != std::string_view::npos ||
         std::ranges::any_of(part, [](char c) { return c >= 'A' && c <= 'Z'; });
}

std::unexpected<Status> invalid(const std::string& text, std::string_view why) {
  return fail(Status(400, "InvalidImageName",
                     "couldn't parse image name \"" + text + "\": invalid reference format: " + std::string(why)));
}

}  // namespace

std::string ImageReference::name() const { return registry + "/" + repository; }

std::string ImageReference::to_string() const {
  if (!digest.empty()) return name() + "@" + digest;
  return name() + ":" + tag;
}

Result<ImageReference> ImageReference::parse(const std::string& text) {
  if (text.empty()) return invalid(text, "it is empty");
  ImageReference reference;
  std::string_view rest = text;
  if (size_t at = rest.find('@'); at != std::string_view::npos) {
    reference.digest = rest.substr(at + 1);
    if (!images::valid_digest(reference.digest)) return invalid(text, "the digest is not sha256: and 64 hex digits");
    rest = rest.substr(0, at);
  }
  size_t slash = rest.rfind('/');
  size_t colon = rest.find(':', slash == std::string_view::npos ? 0 : slash);
  if (colon != std::string_view::npos) {
    reference.tag = rest.substr(colon + 1);
    if (!valid_tag(reference.tag))
      return invalid(text, "the tag is not a letter, digit or _ and then up to 127 of those, . or -");
    rest = rest.substr(0, colon);
  }
  if (rest.size() == 64 && images::is_hex(rest)) return invalid(text, "it looks like an image id without \"sha256:\"");
  size_t first = rest.find('/');
  if (first != std::string_view::npos && looks_like_registry(rest.substr(0, first))) {
    reference.registry = rest.substr(0, first);
    rest = rest.substr(first + 1);
    if (!valid_registry(reference.registry)) return invalid(text, "the registry is not a host name or address");
  } else {
    reference.registry = kDefaultRegistry;
  }
  if (reference.registry == "index.docker.io") reference.registry = kDefaultRegistry;
  if (!valid_path(rest))
    return invalid(text,
                   std::ranges::any_of(rest, [](char c) { return c >= 'A' && c <= 'Z'; })
                       ? "repository name must be lowercase"
                       : "the repository is not lower-case letters and digits with single . _ - or / between them");
  reference.repository = rest;
  if (reference.registry == kDefaultRegistry && rest.find('/') == std::string_view::npos)
    reference.repository = std::string(kOfficial) + std::string(rest);
  if (reference.repository.size() > kMaxName)
    return invalid(text, "repository name must not be more than 255 characters");
  if (reference.tag.empty() && reference.digest.empty()) reference.tag = "latest";
  return reference;
}

}  // namespace kcube::runtime
