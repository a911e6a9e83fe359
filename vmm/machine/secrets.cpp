#include "vmm/machine/secrets.h"

#include "block/crypto/secret_option.h"

namespace vmm {

Result<DiskSecrets> read_secrets(const std::vector<std::string>& options) {
  DiskSecrets secrets;
  for (const std::string& text : options) {
    auto secret = block::read_secret_option(text);
    if (!secret) {
      return std::unexpected(secret.error().within("--secret"));
    }
    if (!secrets.emplace(secret->id, secret->passphrase).second) {
      return fail_configuration("--secret: there are two of the id '{}'", secret->id);
    }
  }
  return secrets;
}

Result<std::shared_ptr<const block::Secret>> passphrase_of(const domain::Disk& disk,
                                                           const DiskSecrets& secrets) {
  const auto secret = secrets.find(*disk.secret);
  if (secret == secrets.end()) {
    return fail_configuration(
        "<encryption>: there is no passphrase '{}'; bring it with --secret id={},file=FILE", *disk.secret,
        *disk.secret);
  }
  return secret->second;
}

}  // namespace vmm
