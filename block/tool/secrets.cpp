#include "block/tool/secrets.h"

#include <string_view>

namespace vmm::block::tool {

void Secrets::add_to(CLI::App& command) {
  command
      .add_option("--object", objects_,
                  "secret,id=NAME,file=FILE (or env=VARIABLE): a passphrase; may be repeated")
      ->type_name("OBJECT")
      ->allow_extra_args(false);
}

Result<std::vector<NamedSecret>> Secrets::load() const {
  constexpr std::string_view kPrefix = "secret,";
  std::vector<NamedSecret> secrets;
  for (const std::string& object : objects_) {
    if (!object.starts_with(kPrefix)) {
      return fail_configuration("--object: only secret,id=NAME,file=FILE is known here");
    }
    auto secret = read_secret_option(std::string_view(object).substr(kPrefix.size()));
    if (!secret) {
      return std::unexpected(secret.error().within("--object"));
    }
    secrets.push_back(std::move(*secret));
  }
  return secrets;
}

Result<Passphrases> Secrets::passphrases() const {
  VMM_ASSIGN_OR_RETURN(const std::vector<NamedSecret> secrets, load());
  Passphrases all;
  for (const NamedSecret& secret : secrets) {
    all.push_back(secret.passphrase);
  }
  return all;
}

Result<std::shared_ptr<const Secret>> Secrets::named(const std::string& id) const {
  VMM_ASSIGN_OR_RETURN(const std::vector<NamedSecret> secrets, load());
  for (const NamedSecret& secret : secrets) {
    if (secret.id == id) {
      return secret.passphrase;
    }
  }
  return fail_configuration("there is no secret '{}'; give it with --object secret,id={},file=FILE", id, id);
}

}  // namespace vmm::block::tool
