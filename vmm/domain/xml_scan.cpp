#include "vmm/domain/xml_scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "vmm/domain/diagnostics.h"

namespace vmm::domain {

namespace {

constexpr std::string_view kUtf8Mark = "\xef\xbb\xbf";

// The length of the UTF-8 sequence at the begin of `text`, or 0 if there is none (RFC 3629, section 4).
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto continues = [&](size_t from, size_t to) {
    for (size_t i = from; i < to; ++i) {
      if ((byte(i) & 0xc0U) != 0x80U) {
        return false;
      }
    }
    return true;
  };
  const unsigned first = byte(0);
  const unsigned second = byte(1);
  if (first < 0x80) {
    return 1;
  }
  if (first >= 0xc2 && first <= 0xdf) {
    return continues(1, 2) ? 2 : 0;
  }
  if (first >= 0xe0 && first <= 0xef) {
    const bool is_overlong = first == 0xe0 && second < 0xa0;
    const bool is_surrogate = first == 0xed && second >= 0xa0;
    return !is_overlong && !is_surrogate && continues(1, 3) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool is_overlong = first == 0xf0 && second < 0x90;
    const bool is_too_high = first == 0xf4 && second >= 0x90;
    return !is_overlong && !is_too_high && continues(1, 4) ? 4 : 0;
  }
  return 0;
}

bool is_allowed_control(char c) { return c == '\t' || c == '\n' || c == '\r'; }

// XML 1.0, production 2 (Char).
bool is_char(uint32_t code) {
  return code == 0x9 || code == 0xa || code == 0xd || (code >= 0x20 && code <= 0xd7ff) ||
         (code >= 0xe000 && code <= 0xfffd) || (code >= 0x10000 && code <= 0x10ffff);
}

std::optional<ScanFault> check_characters(std::string_view text) {
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
    return ScanFault{1, "the file is in UTF-16; save it in UTF-8"};
  }
  int line = 1;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '\0') {
      return ScanFault{line, "the file holds a NUL byte; it is not text in UTF-8"};
    }
    if (static_cast<unsigned char>(c) < 0x20 && !is_allowed_control(c)) {
      return ScanFault{line, fmt::format("the file holds the control character 0x{:02x}; remove it",
                                         static_cast<unsigned>(static_cast<unsigned char>(c)))};
    }
    const size_t length = utf8_length(text.substr(i));
    if (length == 0) {
      return ScanFault{line, "the file is not in UTF-8; save it in UTF-8"};
    }
    line += c == '\n' ? 1 : 0;
    i += length;
  }
  return std::nullopt;
}

// Of the part of a reference between '&' and ';'.
bool is_known_reference(std::string_view name) {
  constexpr std::array<std::string_view, 5> kPredefined = {"amp", "lt", "gt", "quot", "apos"};
  if (std::find(kPredefined.begin(), kPredefined.end(), name) != kPredefined.end()) {
    return true;
  }
  const bool is_hexadecimal = name.starts_with("#x");
  if (!name.starts_with('#')) {
    return false;
  }
  name.remove_prefix(is_hexadecimal ? 2 : 1);
  uint32_t code = 0;
  const auto [stopped, error] =
      std::from_chars(name.data(), name.data() + name.size(), code, is_hexadecimal ? 16 : 10);
  return error == std::errc() && stopped == name.data() + name.size() && is_char(code);
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  std::optional<ScanFault> run() {
    while (!rest_.empty() && !fault_) {
      if (rest_.starts_with("<!--")) {
        skip_past("<!--", "-->");
      } else if (rest_.starts_with("<![CDATA[")) {
        skip_past("<![CDATA[", "]]>");
      } else if (rest_.starts_with("<!")) {
        refuse("DOCTYPE and entity declarations are not accepted; remove them");
      } else if (rest_.starts_with("<?")) {
        skip_declaration();
      } else if (rest_.starts_with("</")) {
        --depth_;
        skip_past("</", ">");
      } else if (rest_.front() == '<') {
        scan_tag();
      } else {
        scan_text();
      }
    }
    return fault_;
  }

 private:
  void refuse(std::string text) {
    fault_ = ScanFault{line_, std::move(text)};
    rest_ = {};
  }

  void advance(size_t length) {
    const auto passed = rest_.substr(0, length);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    rest_.remove_prefix(passed.size());
  }

  // An end that does not come is left to the parser.
  void skip_past(std::string_view start, std::string_view end) {
    const size_t found = rest_.find(end, start.size());
    advance(found == std::string_view::npos ? rest_.size() : found + end.size());
  }

  void skip_declaration() {
    const std::string_view inside = rest_.substr(0, rest_.find("?>"));
    const size_t encoding = inside.find("encoding");
    if (inside.starts_with("<?xml") && encoding != std::string_view::npos) {
      check_encoding(inside.substr(encoding));
    }
    if (!fault_) {
      skip_past("<?", "?>");
    }
  }

  // `declared` begins with "encoding".
  void check_encoding(std::string_view declared) {
    const size_t open = declared.find_first_of("'\"");
    const size_t close = open == std::string_view::npos ? open : declared.find(declared[open], open + 1);
    if (close == std::string_view::npos) {
      return;
    }
    std::string name(declared.substr(open + 1, close - open - 1));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
    if (name != "UTF-8" && name != "UTF8" && name != "US-ASCII" && name != "ASCII") {
      refuse(fmt::format("the encoding '{}' is not read; save the file in UTF-8", printable(name)));
    }
  }

  // From '<' to '>'; what stands in quotes is a value.
  void scan_tag() {
    if (++depth_ > kMaxDepth) {
      const bool is_chain = rest_.starts_with("<backingStore");
      return refuse(fmt::format("more than {} elements within each other{}", kMaxDepth,
                                is_chain ? "; the innermost <backingStore>s may be left out" : ""));
    }
    int attributes = 0;
    advance(1);
    while (!rest_.empty() && !fault_) {
      const char c = rest_.front();
      if (c == '\'' || c == '"') {
        if (++attributes > kMaxAttributes) {
          return refuse(fmt::format("an element has more than {} attributes", kMaxAttributes));
        }
        scan_value(c);
        continue;
      }
      if (rest_.starts_with("/>")) {
        --depth_;
        return advance(2);
      }
      advance(1);
      if (c == '>') {
        return;
      }
    }
  }

  void scan_value(char quote) {
    const size_t end = rest_.find(quote, 1);
    if (end == std::string_view::npos) {
      return advance(rest_.size());
    }
    if (end > kMaxValueBytes) {
      return refuse(fmt::format("an attribute is longer than {} bytes", kMaxValueBytes));
    }
    check_references(rest_.substr(1, end - 1));
    if (!fault_) {
      advance(end + 1);
    }
  }

  void scan_text() {
    const size_t end = rest_.find('<');
    check_references(rest_.substr(0, end));
    if (!fault_) {
      advance(end == std::string_view::npos ? rest_.size() : end);
    }
  }

  void check_references(std::string_view value) {
    constexpr size_t kLongestReference = 12;
    for (size_t at = value.find('&'); at != std::string_view::npos; at = value.find('&', at + 1)) {
      const std::string_view reference = value.substr(at + 1, kLongestReference);
      const size_t end = reference.find(';');
      if (end != std::string_view::npos && is_known_reference(reference.substr(0, end))) {
        continue;
      }
      line_ += static_cast<int>(std::count(value.begin(), value.begin() + static_cast<ptrdiff_t>(at), '\n'));
      return refuse(fmt::format("'&{}' is not a character or an entity that XML knows; write &amp; for '&'",
                                printable(reference.substr(0, end))));
    }
  }

  std::string_view rest_;
  int line_ = 1;
  int depth_ = 0;
  std::optional<ScanFault> fault_;
};

}  // namespace

std::optional<ScanFault> scan_xml(std::string_view text) {
  if (auto fault = check_characters(text)) {
    return fault;
  }
  if (text.starts_with(kUtf8Mark)) {
    text.remove_prefix(kUtf8Mark.size());
  }
  return Scanner(text).run();
}

}  // namespace vmm::domain
