#include "block/crypto/secret_option.h"

#include <optional>
#include <utility>

#include "vmm/base/option_words.h"

namespace vmm::block {
namespace {

struct Words {
  std::optional<std::string> id;
  std::optional<std::string> file;
  std::optional<std::string> variable;
};

// "name=value": nothing of the value goes into an error.
Status take_word(const std::string& word, Words& words) {
  const size_t equals = word.find('=');
  const std::string name = word.substr(0, equals);
  std::string value = equals == std::string::npos ? std::string() : word.substr(equals + 1);
  if (name == "data") {
    return fail_configuration(
        "a secret on the command line (data=) is for every user of this host to see; write it into a file "
        "and "
        "give file=");
  }
  if (name == "format" && value == "raw") {
    return {};
  }
  std::optional<std::string>* place = name == "id"     ? &words.id
                                      : name == "file" ? &words.file
                                      : name == "env"  ? &words.variable
                                                       : nullptr;
  if (place == nullptr || value.empty() || place->has_value()) {
    return fail_configuration("a secret is given as id=NAME,file=FILE or id=NAME,env=VARIABLE, each once");
  }
  *place = std::move(value);
  return {};
}

}  // namespace

Result<NamedSecret> read_secret_option(std::string_view text) {
  Words words;
  for (const std::string& word : split_option_words(text)) {
    VMM_TRY(take_word(word, words));
  }
  if (!words.id || words.file.has_value() == words.variable.has_value()) {
    return fail_configuration("a secret is given as id=NAME,file=FILE or id=NAME,env=VARIABLE");
  }
  auto passphrase =
      words.file ? passphrase_from_file(*words.file) : passphrase_from_environment(*words.variable);
  if (!passphrase) {
    return std::unexpected(passphrase.error());
  }
  return NamedSecret{.id = *words.id, .passphrase = std::make_shared<const Secret>(std::move(*passphrase))};
}

}  // namespace vmm::block
