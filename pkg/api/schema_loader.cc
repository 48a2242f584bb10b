// Reads the notation of pkg/api/schema/README.md. The text is our own and embedded, so a mistake in it is a bug:
// KCUBE_CHECK, not an error.
#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <unordered_map>

#include "pkg/api/schema.h"
#include "pkg/base/status.h"
#include "pkg/base/strings.h"

extern "C" const char kcube_schema_text[];
extern "C" const unsigned long kcube_schema_text_size;

namespace kcube::api {

class SchemaLoader {
 public:
  explicit SchemaLoader(Schema& schema) : schema_(schema) {}

  void load(std::string_view text) {
    // First the shape of everything, then the pointers: vectors must not move once pointed into.
    read_sections(text);
    for (std::string_view line : column_lines_) read_columns(line);
    link_types();
    link_resources();
  }

 private:
  struct PendingField {
    Field field;
    std::string_view type_text;
    std::vector<std::string_view> keys, enums;
  };
  struct PendingType {
    Type type;
    std::vector<PendingField> fields;
  };

  void read_sections(std::string_view text) {
    // Files are joined with lines "@@ NAME" between them.
    std::string_view section;
    while (!text.empty()) {
      size_t end = text.find('\n');
      std::string_view line = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      if (line.starts_with("@@ ")) {
        section = line.substr(3);
      } else if (line.empty() || line.starts_with('#')) {
        continue;
      } else if (section == "resources.table") {
        read_resource(line);
      } else if (section == "columns.table") {
        column_lines_.push_back(line);  // their resources may follow
      } else if (section == "rbac.table") {
        read_rbac(line);
      } else if (section == "defaults.schema") {
        read_default(line);
      } else {
        read_type_line(line);
      }
    }
  }

  static std::string_view word(std::string_view& line) {
    size_t end = line.find(' ');
    std::string_view w = line.substr(0, end);
    line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
    return w;
  }

  // A name made here, kept for the life of the process.
  std::string_view keep(std::string text) { return owned().emplace_back(std::move(text)); }
  static std::deque<std::string>& owned() {
    static auto* strings = new std::deque<std::string>();
    return *strings;
  }

  void read_type_line(std::string_view line) {
    if (line.starts_with("package ")) {
      line.remove_prefix(8);
      package_ = word(line);
      full_package_ = line;
      return;
    }
    if (line.starts_with("type ")) {
      line.remove_prefix(5);
      PendingType& pending = pending_.emplace_back();
      Type& type = pending.type;
      type.short_name = word(line);
      type.package = package_;
      type.name = keep(std::string(full_package_) + "." + std::string(type.short_name));
      by_short_[keep(std::string(package_) + "." + std::string(type.short_name))] = pending_.size() - 1;
      while (!line.empty()) {
        std::string_view w = word(line);
        if (w == "=") type.scalar = scalar_kind(word(line));
        else if (w == "atomic") type.atomic = true;
        else if (w.starts_with("discriminator=")) type.discriminator = w.substr(14);
        else if (w.starts_with("kind=")) read_kind(type, w.substr(5));
        else KCUBE_CHECK(false && "unknown attribute of a type");
      }
      return;
    }
    read_field(line.substr(2));
  }

  static void read_kind(Type& type, std::string_view text) {
    auto parts = split(text, '/');
    if (parts.size() == 3) {
      type.group = parts[0];
      parts.erase(parts.begin());
    }
    KCUBE_CHECK(parts.size() == 2);
    type.version = parts[0];
    type.kind = parts[1];
  }

  static FieldKind scalar_kind(std::string_view name) {
    static const std::map<std::string_view, FieldKind> kinds = {
        {"string", FieldKind::string}, {"bool", FieldKind::boolean}, {"int32", FieldKind::int32},
        {"int64", FieldKind::int64},   {"double", FieldKind::number}, {"bytes", FieldKind::bytes},
        {"time", FieldKind::time},     {"micro_time", FieldKind::micro_time}, {"quantity", FieldKind::quantity},
        {"int_or_string", FieldKind::int_or_string}, {"raw", FieldKind::raw}, {"any", FieldKind::any}};
    auto it = kinds.find(name);
    return it == kinds.end() ? FieldKind::message : it->second;
  }

  void read_field(std::string_view line) {
    PendingField& pending = pending_.back().fields.emplace_back();
    Field& field = pending.field;
    field.name = word(line);
    pending.type_text = word(line);
    while (!line.empty()) {
      // A default may hold spaces only inside a JSON string; none of ours does.
      std::string_view w = word(line);
      if (w == "required") field.required = true;
      else if (w == "omitempty") field.omitempty = true;
      else if (w == "atomic") field.atomic = true;
      else if (w == "set") field.list_type = ListType::set;
      else if (w == "granular") field.granular = true;
      else if (w == "pointer") field.pointer = true;
      else if (w.starts_with("go=")) field.go_name = w.substr(3);
      else if (w.starts_with("in=")) field.inside = w.substr(3);
      else if (w.starts_with("map(")) {
        field.list_type = ListType::map;
        pending.keys = split(w.substr(4, w.size() - 5), ',');
      } else if (w == "map") {
        field.list_type = ListType::map;
      } else if (w.starts_with("patch=")) {
        read_patch(field, w.substr(6));
      } else if (w.starts_with("default=")) {
        field.default_json = w.substr(8);
      } else if (w.starts_with("enum=")) {
        pending.enums = split(w.substr(5), '|');
      } else if (w.starts_with("#")) {
        for (std::string_view number : split(w.substr(1), '.')) field.proto = field.proto << 16 | std::strtoul(std::string(number).c_str(), nullptr, 10);
      } else {
        KCUBE_CHECK(false && "unknown attribute of a field");
      }
    }
  }

  static void read_patch(Field& field, std::string_view text) {
    size_t open = text.find('(');
    if (open != std::string_view::npos) {
      size_t close = text.find(')', open);
      field.patch_merge_key = text.substr(open + 1, close - open - 1);
    }
    field.patch_merge = text.starts_with("merge");
    field.patch_retain_keys = text.find("retainKeys") != std::string_view::npos;
  }

  void read_default(std::string_view line) {
    std::string_view type = word(line), field = word(line);
    defaults_.push_back({type, field, line});
  }

  void read_resource(std::string_view line) {
    auto c = split(line, '\t');
    KCUBE_CHECK(c.size() == 10);
    ResourceInfo& r = schema_.resources_.emplace_back();
    r.group = c[0];
    r.version = c[1];
    r.resource = c[2];
    r.subresource = c[3];
    r.kind = c[4];
    r.kind_group = r.group;
    r.kind_version = r.version;
    if (size_t space = r.kind.find(' '); space != std::string_view::npos) {
      std::string_view gv = r.kind.substr(0, space);
      r.kind.remove_prefix(space + 1);
      size_t slash = gv.find('/');
      r.kind_group = slash == std::string_view::npos ? std::string_view() : gv.substr(0, slash);
      r.kind_version = slash == std::string_view::npos ? gv : gv.substr(slash + 1);
    }
    r.namespaced = c[5] == "ns";
    r.singular = c[6];
    auto list = [](std::string_view text) { return text.empty() ? std::vector<std::string_view>() : split(text, ','); };
    r.short_names = list(c[7]);
    r.categories = list(c[8]);
    r.verbs = list(c[9]);
  }

  void read_columns(std::string_view line) {
    auto c = split(line, '\t');
    KCUBE_CHECK(c.size() == 4);
    for (ResourceInfo& r : schema_.resources_) {
      if (r.group != c[0] || r.version != c[1] || r.resource != c[2] || !r.subresource.empty()) continue;
      for (std::string_view text : split(c[3], ';')) {
        text = trim(text);
        Column column;
        size_t at = text.rfind('@');
        column.priority = text[at + 1] - '0';
        auto parts = split(text.substr(0, at), ':');
        column.name = parts[0];
        column.type = parts[1];
        if (parts.size() > 2) column.format = parts[2];
        r.columns.push_back(column);
      }
    }
  }

  void read_rbac(std::string_view line) {
    if (line.starts_with("role\t")) {
      auto c = split(line, '\t');
      c.resize(6);
      schema_.roles_.push_back({c[1], c[2], c[3], c[4], c[5], {}});
    } else if (line.starts_with("binding\t")) {
      auto c = split(line, '\t');
      c.resize(6);
      size_t slash = c[4].find('/');
      BootstrapBinding binding{c[1], c[2], c[3], c[4].substr(0, slash), c[4].substr(slash + 1), {}};
      for (std::string_view subject : split(c[5], ' '))
        if (!subject.empty()) binding.subjects.push_back(subject);
      schema_.bindings_.push_back(std::move(binding));
    } else {
      // "  verbs | groups | resources | names | URLs"
      auto c = split(line.substr(2), '|');
      c.resize(5);
      for (auto& part : c) part = trim(part);
      schema_.roles_.back().rules.push_back({c[0], c[1], c[2], c[3], c[4], !c[2].empty()});
    }
  }

  void link_types() {
    size_t field_count = 0, string_count = 0;
    for (const PendingType& p : pending_) {
      field_count += p.fields.size();
      for (const PendingField& f : p.fields) string_count += f.keys.size() + f.enums.size();
    }
    schema_.fields_.reserve(field_count);
    schema_.strings_.reserve(string_count);
    schema_.types_.resize(pending_.size());

    std::vector<size_t> order(pending_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::sort(order, {}, [&](size_t i) { return pending_[i].type.name; });
    std::vector<const Type*> placed(pending_.size());
    for (size_t i = 0; i < order.size(); ++i) placed[order[i]] = &schema_.types_[i];

    for (size_t i = 0; i < order.size(); ++i) {
      PendingType& pending = pending_[order[i]];
      std::ranges::sort(pending.fields, {}, [](const PendingField& f) { return f.field.name; });
      size_t first = schema_.fields_.size();
      for (PendingField& f : pending.fields) {
        link_field(f, pending.type.package, placed);
        schema_.fields_.push_back(f.field);
      }
      pending.type.fields = std::span<const Field>(schema_.fields_.data() + first, pending.fields.size());
      schema_.types_[i] = pending.type;
    }
    for (const auto& d : defaults_) {
      auto it = by_short_.find(d.type);
      KCUBE_CHECK(it != by_short_.end());
      const Field* field = placed[it->second]->field(d.field);
      KCUBE_CHECK(field != nullptr);
      const_cast<Field*>(field)->default_json = d.json;
    }
  }

  std::span<const std::string_view> keep_list(const std::vector<std::string_view>& list) {
    size_t first = schema_.strings_.size();
    schema_.strings_.insert(schema_.strings_.end(), list.begin(), list.end());
    return {schema_.strings_.data() + first, list.size()};
  }

  void link_field(PendingField& f, std::string_view package, const std::vector<const Type*>& placed) {
    f.field.list_map_keys = keep_list(f.keys);
    f.field.enum_values = keep_list(f.enums);
    std::string_view text = f.type_text;
    if (text.starts_with("[]")) {
      f.field.shape = Shape::list;
      text.remove_prefix(2);
    } else if (text.starts_with("map[")) {
      f.field.shape = Shape::map;
      text = text.substr(4, text.size() - 5);
      if (text.starts_with("[]")) {
        f.field.shape = Shape::map_of_list;
        text.remove_prefix(2);
      }
    }
    f.field.kind = scalar_kind(text);
    if (f.field.kind != FieldKind::message) return;
    std::string qualified = text.find('.') == std::string_view::npos ? std::string(package) + "." + std::string(text) : std::string(text);
    auto it = by_short_.find(qualified);
    KCUBE_CHECK(it != by_short_.end());
    f.field.kind = pending_[it->second].type.scalar;
    f.field.type = placed[it->second];
    // Go writes every struct that no pointer leads to.
    const bool is_struct = f.field.kind == FieldKind::message && f.field.shape == Shape::single && !pending_[it->second].fields.empty();
    const bool is_time = (f.field.kind == FieldKind::time || f.field.kind == FieldKind::micro_time) && f.field.shape == Shape::single;
    if (is_time && !f.field.pointer && f.field.default_json.empty()) f.field.default_json = "null";
    if (is_struct && !f.field.pointer && f.field.default_json.empty() && f.field.name != "metadata") f.field.default_json = "{}";
  }

  void link_resources() {
    for (ResourceInfo& r : schema_.resources_) r.type = schema_.find_kind(r.kind_group, r.kind_version, r.kind);
  }

  struct PendingDefault {
    std::string_view type, field, json;
  };
  Schema& schema_;
  std::string_view package_, full_package_;
  std::vector<PendingType> pending_;
  std::vector<PendingDefault> defaults_;
  std::vector<std::string_view> column_lines_;
  std::map<std::string_view, size_t> by_short_;
};

const Schema& Schema::builtin() {
  static const Schema* schema = [] {
    auto* made = new Schema();
    SchemaLoader(*made).load({kcube_schema_text, kcube_schema_text_size});
    return made;
  }();
  return *schema;
}

const Field* Type::field(std::string_view field_name) const {
  auto it = std::ranges::lower_bound(fields, field_name, {}, &Field::name);
  return it != fields.end() && it->name == field_name ? &*it : nullptr;
}

bool ResourceInfo::has_verb(std::string_view verb) const { return std::ranges::find(verbs, verb) != verbs.end(); }

std::string ResourceInfo::api_version() const {
  return group.empty() ? std::string(version) : std::string(group) + "/" + std::string(version);
}

const Type* Schema::find_type(std::string_view openapi_name) const {
  auto it = std::ranges::lower_bound(types_, openapi_name, {}, &Type::name);
  return it != types_.end() && it->name == openapi_name ? &*it : nullptr;
}

const Type* Schema::find_kind(std::string_view group, std::string_view version, std::string_view kind) const {
  for (const Type& type : types_)
    if (type.kind == kind && type.group == group && type.version == version) return &type;
  return nullptr;
}

const ResourceInfo* Schema::find_resource(std::string_view group, std::string_view version, std::string_view resource,
                                          std::string_view subresource) const {
  for (const ResourceInfo& r : resources_)
    if (r.resource == resource && r.subresource == subresource && r.group == group && r.version == version) return &r;
  return nullptr;
}

const ResourceInfo* Schema::resource_of_kind(std::string_view group, std::string_view version, std::string_view kind) const {
  for (const ResourceInfo& r : resources_)
    if (r.subresource.empty() && r.kind == kind && r.group == group && r.version == version) return &r;
  return nullptr;
}

}  // namespace kcube::api
