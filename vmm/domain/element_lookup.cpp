#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "vmm/domain/element_table.h"

namespace vmm::domain {

namespace {

struct Range {
  size_t first = 0;
  size_t count = 0;
};

const std::unordered_map<std::string_view, Range>& index() {
  static const auto kIndex = [] {
    std::unordered_map<std::string_view, Range> result;
    for (size_t i = 0; i < element_table().size(); ++i) {
      auto& range = result.try_emplace(element_table()[i].path, Range{i, 0}).first->second;
      ++range.count;
    }
    return result;
  }();
  return kIndex;
}

// Calls visit(part) for each part between '|'; ends when it returns true.
template <typename Visitor>
bool any_part(std::string_view list, Visitor visit) {
  while (true) {
    const size_t bar = list.find('|');
    if (visit(list.substr(0, bar))) {
      return true;
    }
    if (bar == std::string_view::npos) {
      return false;
    }
    list.remove_prefix(bar + 1);
  }
}

bool names(std::string_view list, std::string_view name) {
  return any_part(list, [&](std::string_view part) {
    if (part.ends_with('*') && part.size() > 1) {
      return name.starts_with(part.substr(0, part.size() - 1));
    }
    return part == name;
  });
}

std::string wildcard_path(std::string_view path) {
  constexpr std::string_view kDevices = "devices/";
  if (!path.starts_with(kDevices)) {
    return {};
  }
  const size_t end_of_device = path.find('/', kDevices.size());
  return end_of_device == std::string_view::npos ? std::string()
                                                 : fmt::format("devices/*{}", path.substr(end_of_device));
}

void add_children(std::string_view path, std::vector<std::string_view>& result) {
  const std::string prefix = path == "domain" ? std::string() : fmt::format("{}/", path);
  for (const Rule& rule : element_table()) {
    if (!rule.attribute.empty() || !rule.path.starts_with(prefix) || rule.path == "domain") {
      continue;
    }
    const std::string_view name = rule.path.substr(prefix.size());
    if (!name.empty() && name.find('/') == std::string_view::npos) {
      result.push_back(name);
    }
  }
}

// The one that `name` is the beginning of.
std::string_view begun_name(std::string_view name, std::span<const std::string_view> candidates) {
  constexpr size_t kTellingLetters = 4;
  std::string_view found;
  for (const std::string_view candidate : candidates) {
    const bool is_one = candidate.find('*') == std::string_view::npos;
    if (name.size() < kTellingLetters || !candidate.starts_with(name) || candidate == found || !is_one) {
      continue;
    }
    if (!found.empty()) {
      return {};
    }
    found = candidate;
  }
  return found;
}

// Levenshtein's distance, letter by letter, without regard to case.
size_t distance(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (lower(a[i]) == lower(b[j]) ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::span<const Rule> rules_of(std::string_view path) {
  auto found = index().find(path);
  if (found == index().end()) {
    found = index().find(wildcard_path(path));
  }
  if (found == index().end()) {
    return {};
  }
  return element_table().subspan(found->second.first, found->second.count);
}

const Rule* rule_for(std::span<const Rule> rules, std::string_view attribute, std::string_view value,
                     bool& known_attribute) {
  const Rule* of_any_value = nullptr;
  known_attribute = false;
  for (const Rule& rule : rules) {
    if (rule.attribute.empty() || !names(rule.attribute, attribute)) {
      continue;
    }
    known_attribute = true;
    if (rule.value.empty()) {
      of_any_value = &rule;
    } else if (names(rule.value, value)) {
      return &rule;
    }
  }
  return of_any_value;
}

std::string display_path(std::string_view path) {
  constexpr std::string_view kDevices = "devices/";
  if (path.starts_with(kDevices)) {
    path.remove_prefix(kDevices.size());
  }
  std::string result;
  while (true) {
    const size_t slash = path.find('/');
    result += fmt::format("<{}>", path.substr(0, slash));
    if (slash == std::string_view::npos) {
      return result;
    }
    result += '/';
    path.remove_prefix(slash + 1);
  }
}

std::vector<std::string_view> known_children(std::string_view path) {
  std::vector<std::string_view> result;
  add_children(path, result);
  if (path.starts_with("devices/") && path.find('/', sizeof("devices/") - 1) == std::string_view::npos) {
    add_children("devices/*", result);
  }
  return result;
}

std::vector<std::string_view> known_attributes(std::span<const Rule> rules) {
  std::vector<std::string_view> result;
  for (const Rule& rule : rules) {
    if (rule.attribute.empty() || rule.attribute == kTextOf) {
      continue;
    }
    any_part(rule.attribute, [&](std::string_view name) {
      if (std::find(result.begin(), result.end(), name) == result.end()) {
        result.push_back(name);
      }
      return false;
    });
  }
  return result;
}

std::vector<std::string_view> known_values(std::span<const Rule> rules, std::string_view attribute) {
  std::vector<std::string_view> result;
  for (const Rule& rule : rules) {
    if (rule.answer != Answer::kRefused && !rule.value.empty() && !rule.attribute.empty() &&
        names(rule.attribute, attribute)) {
      any_part(rule.value, [&](std::string_view value) {
        result.push_back(value);
        return false;
      });
    }
  }
  return result;
}

std::string_view nearest_name(std::string_view name, std::span<const std::string_view> candidates) {
  constexpr size_t kLongestName = 40;
  std::string_view best = begun_name(name, candidates);
  if (!best.empty()) {
    return best;
  }
  // More than a third of the letters wrong is another word.
  size_t best_distance = name.size() / 3 + 1;
  if (name.size() > kLongestName) {
    return {};
  }
  for (const std::string_view candidate : candidates) {
    if (candidate.find('*') != std::string_view::npos) {
      continue;  // it stands for many
    }
    const size_t letters_wrong = distance(name, candidate);
    if (letters_wrong < best_distance ||
        (best.empty() && letters_wrong == best_distance && name.size() > 3)) {
      best = candidate;
      best_distance = letters_wrong;
    }
  }
  return best;
}

}  // namespace vmm::domain
