#include "pkg/apiserver/machinery/validation_cursor.h"

#include <algorithm>

namespace kcube::machinery {
namespace {

bool hollow(const json::value* v) {
  if (v == nullptr || v->is_null()) return true;
  if (v->is_string()) return v->get_string().empty();
  if (v->is_array()) return v->get_array().empty();
  if (!v->is_object()) return false;
  return v->get_object().empty();
}

}  // namespace

bool same(const json::value* a, const json::value* b) {
  if (hollow(a) || hollow(b)) return hollow(a) && hollow(b);
  return *a == *b;
}

Cursor Cursor::operator[](std::string_view member) const {
  std::string path;
  path.reserve(path_.size() + member.size() + 1);
  path += path_;
  if (!path.empty()) path += '.';
  path += member;
  return {json::find(value_, member), std::move(path), *causes_};
}

Cursor Cursor::entry(std::string_view key) const {
  return {json::find(value_, key), path_ + "[" + std::string(key) + "]", *causes_};
}

bool Cursor::empty() const { return hollow(value_); }

size_t Cursor::size() const {
  if (value_ == nullptr) return 0;
  return value_->is_array() ? value_->get_array().size() : value_->is_object() ? value_->get_object().size() : 0;
}

std::vector<Cursor> Cursor::items() const {
  std::vector<Cursor> out;
  const json::array& array = json::get_array(value_);
  out.reserve(array.size());
  for (size_t i = 0; i < array.size(); ++i)
    out.emplace_back(&array[i], path_ + "[" + std::to_string(i) + "]", *causes_);
  return out;
}

std::vector<std::pair<std::string_view, Cursor>> Cursor::members() const {
  std::vector<std::pair<std::string_view, Cursor>> out;
  for (const auto& m : json::get_object(value_))
    out.emplace_back(json::view(m.key()), Cursor(&m.value(), path_ + "[" + std::string(m.key()) + "]", *causes_));
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return out;
}

void Cursor::required(std::string_view detail) const { causes_->push_back(api::field_required(path_, detail)); }

void Cursor::invalid(std::string_view detail) const {
  causes_->push_back(api::field_invalid(path_, value_ == nullptr ? json::value("") : *value_, detail));
}

void Cursor::invalid(const json::value& shown, std::string_view detail) const {
  causes_->push_back(api::field_invalid(path_, shown, detail));
}

void Cursor::invalid_text(std::string_view shown, std::string_view detail) const {
  causes_->push_back(api::field_invalid(path_, json::value(json::key(shown)), detail));
}

void Cursor::invalid_omitted(std::string_view detail) const {
  causes_->push_back({"FieldValueInvalid", "Invalid value: " + std::string(detail), path_});
}

void Cursor::forbidden(std::string_view detail) const { causes_->push_back(api::field_forbidden(path_, detail)); }

void Cursor::duplicate() const {
  causes_->push_back(api::field_duplicate(path_, value_ == nullptr ? json::value("") : *value_));
}

void Cursor::not_found(std::string_view detail) const {
  causes_->push_back(api::field_not_found(path_, value_ == nullptr ? json::value("") : *value_));
  if (!detail.empty()) causes_->back().message.append(": ").append(detail);
}

void Cursor::not_supported(std::initializer_list<std::string_view> supported) const {
  causes_->push_back(api::field_not_supported(path_, value_ == nullptr ? json::value("") : *value_, supported));
}

void Cursor::not_supported(const json::value& shown, std::initializer_list<std::string_view> supported) const {
  causes_->push_back(api::field_not_supported(path_, shown, supported));
}

void Cursor::too_long(size_t limit) const { causes_->push_back(api::field_too_long(path_, limit)); }
void Cursor::too_many(size_t limit) const { causes_->push_back(api::field_too_many(path_, size(), limit)); }

bool Cursor::check(const std::string& problem) const {
  if (!problem.empty()) invalid(problem);
  return problem.empty();
}

bool Cursor::in(std::initializer_list<std::string_view> list) const {
  return std::find(list.begin(), list.end(), text()) != list.end();
}

bool Cursor::one_of(std::initializer_list<std::string_view> list) const {
  if (!empty()) return one_of_if_set(list);
  required();
  return false;
}

bool Cursor::one_of_if_set(std::initializer_list<std::string_view> list) const {
  if (!present() || in(list)) return true;
  not_supported(list);
  return false;
}

bool Cursor::non_negative() const {
  if (number() >= 0) return true;
  invalid("must be greater than or equal to 0");
  return false;
}

bool Cursor::positive() const {
  if (number() > 0) return true;
  invalid(json::value(number()), "must be greater than zero");
  return false;
}

bool Cursor::between(int64_t low, int64_t high) const {
  if (number() >= low && number() <= high) return true;
  invalid(json::value(number()),
          "must be between " + std::to_string(low) + " and " + std::to_string(high) + ", inclusive");
  return false;
}

bool Cursor::unchanged(const json::value* old, std::string_view detail) const {
  if (same(value_, old)) return true;
  // What Go shows for an absent map, list or pointer is null.
  const bool was_composite = old != nullptr && (old->is_object() || old->is_array());
  invalid(value_ != nullptr ? *value_ : was_composite ? json::value(nullptr) : json::value(""), detail);
  return false;
}

bool Cursor::unchanged_or(const json::value& absent, const json::value* old) const {
  if (same(value_, old)) return true;
  invalid(value_ != nullptr ? *value_ : absent, "field is immutable");
  return false;
}

}  // namespace kcube::machinery
