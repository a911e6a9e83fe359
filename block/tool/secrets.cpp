#include "block/tool/secrets.h"

#include <string_view>
#include <utility>

namespace vmm::block::tool {

void Secrets::add_to(CommandLine& command) {
  command
      .add_option("--object", objects_,
                  "secret,id=NAME,file=FILE (or env=VARIABLE): a passphrase; may be repeated")
      .type_name("OBJECT")
      .one_value_each();
}

Status Secrets::load() const {
  if (*loaded_) {
    return {};
  }
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
  *loaded_ = std::move(secrets);
  return {};
}

Result<Passphrases> Secrets::passphrases() const {
  VMM_TRY(load());
  Passphrases all;
  for (const NamedSecret& secret : **loaded_) {
    all.push_back(secret.passphrase);
  }
  return all;
}

Result<std::shared_ptr<const Secret>> Secrets::named(const std::string& id) const {
  VMM_TRY(load());
  for (const NamedSecret& secret : **loaded_) {
    if (secret.id == id) {
      return secret.passphrase;
    }
  }
  return fail_configuration("there is no secret '{}'; give it with --object secret,id={},file=FILE", id, id);
}

}  // namespace vmm::block::tool
