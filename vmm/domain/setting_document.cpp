#include "vmm/domain/setting_document.h"

#include <fmt/format.h>

#include <string_view>

#include "vmm/domain/element_table.h"
#include "vmm/domain/setting_table.h"

namespace vmm::domain {
namespace {

constexpr std::string_view kSettingsIntroduction = R"(
## `--print`

`vmm --domain FILE --print` prints the effective domain and runs nothing: the defaults in sight, complete paths, what is left out
left out, what `--set` and `--ephemeral` change changed. One domain has one such text, which vmm reads back as the same domain, and
which follows libvirt's schema. That schema is narrower than libvirt itself for some texts, which are printed as they
are: serial numbers, aliases, time zones, a `rebootTimeout` above 32767; and it has `<dataStore>` since libvirt 10.10. What vmm
has and libvirt has not is in vmm's namespace in `<metadata>` (`<vmm:exit>`, `<vmm:user-network>`), where the schema takes anything. What other programs
keep in `<metadata>` is not printed.

## `--set`

`--set PATH=VALUE`, any number of them, is another value for one run, with `--print` too. The value is checked as if it stood in the
file, and messages name the option in place of a line. Without a value (`disk.hdc.source=`) what the file says is taken away,
and the default holds; where there is none (`name=`), that is an error. Relative paths are taken relative to the current folder. In `disk.vda.…` is the disk's
`<target dev='vda'/>`; `interface.0` is the first `<interface>` of the file, `serial.0` is COM1, and `cputune.vcpupin.0.…` the first vCPU's pin.

| path | is | value |
|---|---|---|
)";

// "`on`, `off`", or what the table says of a value that is not one of a few.
std::string values_of(const SettingRule& setting) {
  const auto rules = rules_of(setting.element);
  const auto values = known_values(rules, setting.attribute);
  std::string result;
  for (const std::string_view value : values) {
    result += fmt::format("{}`{}`", result.empty() ? "" : ", ", value);
  }
  for (const Rule& rule : rules) {
    const bool is_any =
        !setting.attribute.empty() && rule.attribute == setting.attribute && rule.value.empty();
    if (is_any && rule.answer == Answer::kDone) {
      result += rule.remark;
    }
  }
  return setting.kind == SettingKind::kSwitch ? "`yes`, `no`" : result;
}

std::string setting_row(const SettingRule& setting) {
  const std::string place = display_path(setting.element);
  const std::string is = setting.attribute.empty() || setting.attribute == kTextOf
                             ? place
                             : fmt::format("{} {}=", place, setting.attribute);
  const std::string values = values_of(setting);
  return fmt::format("| `{}` | `{}` | {}{}{} |\n", setting.path, is, values,
                     values.empty() || setting.remark.empty() ? "" : "; ", setting.remark);
}

}  // namespace

std::string settings_list() {
  constexpr size_t kColumn = 44;
  std::string result;
  for (const SettingRule& setting : setting_table()) {
    std::string values = values_of(setting);
    std::erase(values, '`');
    const std::string_view separator = values.empty() || setting.remark.empty() ? "" : "; ";
    std::string line = fmt::format("{:{}}{}{}{}", setting.path, kColumn, values, separator, setting.remark);
    line.erase(line.find_last_not_of(' ') + 1);
    result += line + "\n";
  }
  return result;
}

std::string setting_document() {
  std::string result(kSettingsIntroduction);
  for (const SettingRule& setting : setting_table()) {
    result += setting_row(setting);
  }
  return result;
}

}  // namespace vmm::domain
