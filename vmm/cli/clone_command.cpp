#include "vmm/cli/clone_command.h"

#include <getopt.h>

#include <vector>

#include "vmm/machine/clone_guest.h"

namespace vmm::cli {
namespace {

constexpr const char* kCloneHelpText =
    R"(Makes a guest out of another one: a domain file, and disks that stand on those of the first.
Usage: vmm clone GUEST.xml NAME [--file FILE] [--secret SECRET]...

The new domain file has the name NAME and a uuid of its own. Each disk that the guest writes to is a new qcow2
image, NAME-vda.qcow2 beside that file, which stands on the first guest's image; an encrypted one is encrypted
with the same passphrase. Disks that are read-only, shareable or transient are shared. What clones stand on
must not change any more: from then on the first guest may run with --ephemeral only.

  --file FILE         the new domain file (NAME.xml beside the old one if absent)
  --secret SECRET     id=NAME,file=FILE or id=NAME,env=VARIABLE: the passphrase of an encrypted disk, by the
                      name that its <secret> has; may be repeated
  -h, --help          print this help

Nothing is written over, and either all files are made or none.
)";

struct Clone {
  bool is_help = false;
  std::string file;
  std::vector<std::string> secrets;
};

Result<Clone> read_options(int argument_count, char** arguments) {
  enum Choice : int { kFile = 256, kSecret };
  static constexpr option kOptions[] = {{"file", required_argument, nullptr, kFile},
                                        {"secret", required_argument, nullptr, kSecret},
                                        {"help", no_argument, nullptr, 'h'},
                                        {nullptr, 0, nullptr, 0}};
  Clone clone;
  opterr = 0;
  int choice = 0;
  while ((choice = ::getopt_long(argument_count, arguments, ":h", kOptions, nullptr)) != -1) {
    switch (choice) {
      case kFile:
        clone.file = optarg;
        break;
      case kSecret:
        clone.secrets.emplace_back(optarg);
        break;
      case 'h':
        clone.is_help = true;
        return clone;
      case ':':
        return fail_configuration("{}: a value is missing behind it; see vmm clone --help",
                                  arguments[optind - 1]);
      default:
        return fail_configuration("{}: vmm clone has no such option; see vmm clone --help",
                                  arguments[optind - 1]);
    }
  }
  return clone;
}

}  // namespace

Result<std::string> run_clone(int argument_count, char** arguments) {
  VMM_ASSIGN_OR_RETURN(const Clone clone, read_options(argument_count, arguments));
  if (clone.is_help) {
    return kCloneHelpText;
  }
  if (argument_count - optind != 2) {
    return fail_configuration("vmm clone takes two words, GUEST.xml and NAME; see vmm clone --help");
  }
  CloneRequest request{
      .domain_file = arguments[optind], .name = arguments[optind + 1], .new_file = clone.file};
  VMM_ASSIGN_OR_RETURN(request.secrets, read_secrets(clone.secrets));
  return clone_guest(request);
}

}  // namespace vmm::cli
