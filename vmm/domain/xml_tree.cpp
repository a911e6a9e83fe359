#include "vmm/domain/xml_tree.h"

#include <fmt/format.h>
#include <tinyxml2.h>

#include <set>
#include <string>

#include "vmm/domain/apply_settings.h"
#include "vmm/domain/element_table.h"
#include "vmm/domain/xml_scan.h"

namespace vmm::domain {

namespace {

std::string_view sentence_of(tinyxml2::XMLError error) {
  switch (error) {
    case tinyxml2::XML_ERROR_EMPTY_DOCUMENT:
      return "the file is empty; it needs a <domain> element";
    case tinyxml2::XML_ERROR_MISMATCHED_ELEMENT:
      return "malformed XML: an element is not closed by the end tag of its name";
    case tinyxml2::XML_ERROR_PARSING_ELEMENT:
      return "malformed XML: a tag is not well-formed";
    case tinyxml2::XML_ERROR_PARSING_ATTRIBUTE:
      return "malformed XML: an attribute is not of the form name='value', or stands twice";
    case tinyxml2::XML_ERROR_PARSING_COMMENT:
      return "malformed XML: a comment does not end";
    case tinyxml2::XML_ERROR_PARSING_CDATA:
      return "malformed XML: a CDATA section does not end";
    case tinyxml2::XML_ERROR_PARSING_DECLARATION:
      return "<?…?> stands elsewhere than at the begin, or does not end; processing instructions are not "
             "read, remove it";
    default:
      return "malformed XML: the file ends too early, or a tag is not well-formed";
  }
}

std::string suggestion(std::string_view name, std::span<const std::string_view> candidates,
                       std::string_view before, std::string_view after) {
  const std::string_view nearest = nearest_name(name, candidates);
  return nearest.empty() ? std::string() : fmt::format("; did you mean {}{}{}?", before, nearest, after);
}

std::string list_of(std::span<const std::string_view> values) {
  std::string result;
  for (size_t i = 0; i < values.size(); ++i) {
    const std::string_view separator = i == 0 ? "" : i + 1 == values.size() ? " or " : ", ";
    result += fmt::format("{}'{}'", separator, values[i]);
  }
  return result;
}

constexpr std::string_view kMetadata = "metadata";
constexpr std::string_view kOwnPrefix = "vmm:";  // as the table names our elements, whatever the file does

// What the prefix of the element stands for (Namespaces in XML 1.0, section 6); nullptr: nothing.
const char* namespace_of(const tinyxml2::XMLElement& node) {
  const std::string_view name = node.Name();
  const size_t colon = name.find(':');
  const std::string declaration =
      colon == std::string_view::npos ? "xmlns" : fmt::format("xmlns:{}", name.substr(0, colon));
  for (const tinyxml2::XMLNode* each = &node; each != nullptr; each = each->Parent()) {
    const auto* element = each->ToElement();
    if (const char* found = element == nullptr ? nullptr : element->Attribute(declaration.c_str())) {
      return found;
    }
  }
  return nullptr;
}

constexpr std::string_view kRoot = "domain";

// Where an element of this name has its place, if that is one: "<devices>".
std::string home_of(std::string_view name) {
  std::string home;
  for (const Rule& rule : element_table()) {
    const size_t slash = rule.path.rfind('/');
    const size_t first = slash == std::string_view::npos ? 0 : slash + 1;
    const bool is_its_own = rule.attribute.empty() && rule.path.substr(first) == name;
    if (!is_its_own || rule.answer != Answer::kDone || rule.path == kRoot ||
        rule.path.find('*') != std::string_view::npos) {
      continue;
    }
    if (!home.empty()) {
      return {};
    }
    home = display_path(first == 0 ? kRoot : rule.path.substr(0, slash));
  }
  return home;
}

// Of an element, or of one value in it; the later ones outweigh.
enum class Fate : uint8_t {
  kKept,
  kMistaken,  // not known, and that has been reported; what else there is, is read all the same
  kLeftOut,
  kRefused,  // reported; an element is not read further then if there are others in it
};

class TreeReader {
 public:
  TreeReader(const Origins& origins, Reporter& report) : origins_(origins), report_(report) {}

  // Fills `element` from the node; rules: its own, none if it is unknown. scan_xml() has bounded the depth.
  // NOLINTNEXTLINE(misc-no-recursion)
  Fate read(const tinyxml2::XMLElement& node, const std::string& path, std::string_view parent_path,
            std::span<const Rule> rules, Element& element) {
    element.name = path.substr(path.rfind('/') + 1);
    element.line = origins_.line_of(node);
    element.place = printable_place(path);
    if (rules.empty()) {
      report_unknown_element(element, parent_path);
      return Fate::kRefused;
    }
    if (rules.front().answer != Answer::kDone) {
      return answer_element(rules.front(), element);
    }
    if (path == kMetadata) {  // what else stands in it is not ours
      read_children(node, path, element);
      return Fate::kKept;
    }
    Fate fate = read_attributes(node, rules, element);
    const bool is_root = path == kRoot;
    const bool is_refused =
        fate == Fate::kRefused && node.FirstChildElement() != nullptr;  // with what is in it
    if ((fate == Fate::kLeftOut || is_refused) && !is_root) {
      return fate;
    }
    read_text(node, rules, element);
    read_children(node, path, element);
    // With a mistake in it too: its readers look at all the rest (Element::mistaken).
    return Fate::kKept;
  }

 private:
  // A name out of the file may be long, and hold anything.
  static std::string printable_place(const std::string& path) { return printable(display_path(path)); }

  Fate answer_element(const Rule& rule, const Element& element) {
    const std::string text = fmt::format("{}: {}", element.place, rule.remark);
    switch (rule.answer) {
      case Answer::kDone:
        return Fate::kKept;
      case Answer::kSkipped:
        if (!rule.remark.empty()) {
          report_.note(element.line, text);
        }
        return Fate::kLeftOut;
      case Answer::kHarmless:
      case Answer::kLeftOut:
        tell_left_out(rule, element.line, element.place);
        return Fate::kLeftOut;
      case Answer::kRefused:
        break;
    }
    report_.error(element.line, text);
    return Fate::kRefused;
  }

  void tell_left_out(const Rule& rule, int line, const std::string& place) {
    if (!rule.is_told_once || told_.insert(rule.remark).second) {
      report_.warning(line, fmt::format("{}: {}", place, rule.remark));
    }
  }

  void report_unknown_element(const Element& element, std::string_view parent_path) {
    if (element.name.find(':') != std::string::npos && parent_path != kMetadata) {
      report_.error(
          element.line,
          fmt::format("{}: elements of other programs mean nothing to vmm; they belong in <metadata>",
                      element.place));
      return;
    }
    const auto candidates = known_children(parent_path);
    std::string remedy = suggestion(element.name, candidates, "<", ">");
    const std::string home = remedy.empty() ? home_of(element.name) : std::string();
    if (!home.empty()) {
      remedy = fmt::format(" here; it belongs in {}", home);
    }
    report_.error(element.line, fmt::format("{}: unknown element{}", element.place, remedy));
  }

  Fate read_attributes(const tinyxml2::XMLElement& node, std::span<const Rule> rules, Element& element) {
    if (is_left_out(node, rules, element)) {
      return Fate::kLeftOut;
    }
    Fate fate = Fate::kKept;
    for (const auto* each = node.FirstAttribute(); each != nullptr; each = each->Next()) {
      Attribute attribute{each->Name(), each->Value(), origins_.line_of(*each)};
      const bool is_default_namespace = attribute.name == "xmlns" && element.name.starts_with(kOwnPrefix);
      if (attribute.name.starts_with("xmlns:") || is_default_namespace) {
        continue;
      }
      const Fate found = read_value(rules, element, attribute, element.place_of(attribute));
      fate = std::max(fate, found);
    }
    return fate;
  }

  // One value that leaves out the element is enough: the others need not be known then. But what is refused
  // is refused.
  bool is_left_out(const tinyxml2::XMLElement& node, std::span<const Rule> rules, const Element& element) {
    const Rule* reason = nullptr;
    Attribute attribute;
    for (const auto* each = node.FirstAttribute(); each != nullptr; each = each->Next()) {
      bool known = false;
      const Rule* rule = rule_for(rules, each->Name(), each->Value(), known);
      if (rule != nullptr && rule->answer == Answer::kRefused) {
        return false;
      }
      const bool leaves_out = rule != nullptr && rule->answer == Answer::kLeftOut;
      if (leaves_out && (reason == nullptr || rule->remark.empty())) {
        reason = rule;
        attribute = {each->Name(), each->Value(), origins_.line_of(*each)};
      }
    }
    if (reason != nullptr && !reason->remark.empty()) {
      tell_left_out(*reason, attribute.line, element.place_of(attribute));
    }
    return reason != nullptr;
  }

  // Decides about one value, of an attribute or of the text, and keeps it if it is to be read.
  Fate read_value(std::span<const Rule> rules, Element& element, const Attribute& attribute,
                  const std::string& place) {
    bool known = false;
    const Rule* rule = rule_for(rules, attribute.name, attribute.value, known);
    if (rule == nullptr) {
      element.mistaken.emplace_back(known ? attribute.name
                                          : nearest_name(attribute.name, known_attributes(rules)));
      report_unknown_value(rules, attribute, place, known);
      return Fate::kMistaken;
    }
    switch (rule->answer) {
      case Answer::kSkipped:
        return Fate::kKept;
      case Answer::kHarmless:
        report_.warning(attribute.line, fmt::format("{}: {}", place, rule->remark));
        break;
      case Answer::kRefused:
        report_.error(attribute.line, fmt::format("{}: {}", place, rule->remark));
        element.mistaken.emplace_back();  // another one may be what says it here
        return Fate::kRefused;
      case Answer::kLeftOut:  // is_left_out() has seen to it
      case Answer::kDone:
        break;
    }
    if (attribute.name == kTextOf) {
      element.text = attribute.value;
    } else {
      element.attributes.push_back(attribute);
    }
    return Fate::kKept;
  }

  void report_unknown_value(std::span<const Rule> rules, const Attribute& attribute, const std::string& place,
                            bool attribute_is_known) {
    if (!attribute_is_known) {
      const auto candidates = known_attributes(rules);
      report_.error(attribute.line, fmt::format("{}: unknown attribute{}", place,
                                                suggestion(attribute.name, candidates, "", "=")));
      return;
    }
    const auto values = known_values(rules, attribute.name);
    const std::string nearest = suggestion(attribute.value, values, "'", "'");
    report_.error(attribute.line,
                  fmt::format("{}: unknown value{}", place,
                              nearest.empty() ? fmt::format("; use {}", list_of(values)) : nearest));
  }

  void read_text(const tinyxml2::XMLElement& node, std::span<const Rule> rules, Element& element) {
    std::string text;
    for (const auto* child = node.FirstChild(); child != nullptr; child = child->NextSibling()) {
      if (child->ToText() != nullptr) {
        text += child->Value();
      }
    }
    const std::string value(trimmed(text));
    bool takes_text = false;
    rule_for(rules, kTextOf, value, takes_text);
    if (takes_text) {
      const auto place = fmt::format("{}{}</{}>", element.place, printable(value), element.name);
      read_value(rules, element, Attribute{std::string(kTextOf), value, element.line}, place);
    } else if (!value.empty()) {
      report_.error(element.line, fmt::format("{}: holds the text '{}', which means nothing here",
                                              element.place, printable(value)));
      element.mistaken.emplace_back();
    }
  }

  // The name by which the table knows the child. Nothing: it belongs to another program.
  std::optional<std::string> name_of_child(const tinyxml2::XMLElement& child, const std::string& path) {
    std::string name = child.Name();
    const bool is_prefixed = name.find(':') != std::string::npos;
    if (path != kMetadata && !is_prefixed) {
      return name;
    }
    const char* const space = namespace_of(child);
    if (path != kMetadata) {  // the table has its elements by their usual prefix
      constexpr std::string_view kQemuNamespace = "http://libvirt.org/schemas/domain/qemu/1.0";
      return space != nullptr && space == kQemuNamespace
                 ? fmt::format("qemu:{}", name.substr(name.find(':') + 1))
                 : name;
    }
    if (space != nullptr && space == kOwnNamespace) {
      return fmt::format("{}{}", kOwnPrefix, name.substr(name.find(':') + 1));
    }
    if (name.starts_with(kOwnPrefix)) {
      report_.error(
          child.GetLineNum(),
          fmt::format("{}: its prefix stands for {}; write xmlns:vmm='{}'",
                      printable_place(fmt::format("{}/{}", path, name)),
                      space == nullptr ? "nothing" : fmt::format("'{}'", printable(space)), kOwnNamespace));
    }
    return std::nullopt;
  }

  // What an image stands on may stand on another, in the file too: the table has one level of it.
  static std::string path_of_child(const std::string& path, const std::string& name) {
    constexpr std::string_view kNested = "devices/disk/backingStore";
    if (path == kRoot) {
      return name;
    }
    return path == kNested && name == "backingStore" ? path : fmt::format("{}/{}", path, name);
  }

  // NOLINTNEXTLINE(misc-no-recursion)
  void read_children(const tinyxml2::XMLElement& node, const std::string& path, Element& element) {
    std::set<std::string> seen;
    for (const auto* child = node.FirstChildElement(); child != nullptr && !report_.is_full();
         child = child->NextSiblingElement()) {
      const auto name = name_of_child(*child, path);
      if (!name) {
        continue;
      }
      const std::string child_path = path_of_child(path, *name);
      // The table has the root under its own name, which is none of a child.
      const auto rules = child_path == kRoot ? std::span<const Rule>() : rules_of(child_path);
      if (!seen.insert(*name).second && !rules.empty() && rules.front().value != kMany) {
        report_.error(child->GetLineNum(),
                      fmt::format("{}: stands twice; remove one", printable_place(child_path)));
        element.has_refused_children = true;
        continue;
      }
      Element kept;
      const Fate fate = read(*child, child_path, path, rules, kept);
      if (fate == Fate::kKept) {
        element.children.push_back(std::move(kept));
      } else if (fate == Fate::kRefused) {
        element.has_refused_children = true;
      }
    }
  }

  const Origins& origins_;
  Reporter& report_;
  std::set<std::string_view> told_;  // remarks, of the rules that are told once
};

// The <domain> element of the document, or nullptr after an error.
tinyxml2::XMLElement* find_root(tinyxml2::XMLDocument& document, Reporter& report) {
  tinyxml2::XMLElement* root = nullptr;
  for (auto* node = document.FirstChild(); node != nullptr; node = node->NextSibling()) {
    auto* element = node->ToElement();
    const bool is_second = element != nullptr && root != nullptr;
    if (is_second || node->ToText() != nullptr || node->ToUnknown() != nullptr) {
      report.error(node->GetLineNum(),
                   "malformed XML: there is more in the file than the one <domain> element");
      return nullptr;
    }
    root = element != nullptr ? element : root;
  }
  if (root == nullptr) {
    report.error(0, "there is no element in the file; it needs a <domain> element");
    return nullptr;
  }
  if (root->Name() != kRoot) {
    report.error(root->GetLineNum(), fmt::format("<{}>: not a domain; the file's root must be <domain>",
                                                 printable(root->Name())));
    return nullptr;
  }
  return root;
}

}  // namespace

std::optional<Element> read_xml_tree(std::string_view text, std::span<const std::string> settings,
                                     Reporter& report) {
  if (auto fault = scan_xml(text)) {
    report.error(fault->line, std::move(fault->text));
    return std::nullopt;
  }
  tinyxml2::XMLDocument document;
  if (const auto error = document.Parse(text.data(), text.size()); error != tinyxml2::XML_SUCCESS) {
    report.error(document.ErrorLineNum(), std::string(sentence_of(error)));
    return std::nullopt;
  }
  tinyxml2::XMLElement* root = find_root(document, report);
  if (root == nullptr) {
    return std::nullopt;
  }
  const Origins origins = apply_settings(settings, *root, report);
  Element element;
  TreeReader(origins, report).read(*root, std::string(kRoot), "", rules_of(kRoot), element);
  return element;
}

}  // namespace vmm::domain
