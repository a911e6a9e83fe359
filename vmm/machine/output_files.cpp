#include "vmm/machine/output_files.h"

#include <string>
#include <system_error>

namespace vmm {
namespace {

bool are_same(const std::filesystem::path& one, const std::filesystem::path& other) {
  std::error_code error;
  return !other.empty() && std::filesystem::equivalent(one, other, error) && !error;
}

Status refuse(const std::filesystem::path& path, const std::string& what) {
  return fail_configuration("{} is {} of this domain, and would be overwritten; give another path",
                            path.native(), what);
}

}  // namespace

Status refuse_as_output(const domain::Domain& domain, const std::filesystem::path& path) {
  if (are_same(path, domain.file_name)) {
    return fail_configuration("{} is the domain file, and would be overwritten; give another path",
                              path.native());
  }
  if (are_same(path, domain.os.kernel)) {
    return refuse(path, "the kernel");
  }
  if (are_same(path, domain.os.initrd)) {
    return refuse(path, "the initrd");
  }
  if (are_same(path, domain.os.loader)) {
    return refuse(path, "the firmware");
  }
  for (const domain::Disk& disk : domain.disks) {
    if (are_same(path, disk.source) || (disk.data_file && are_same(path, *disk.data_file))) {
      return refuse(path, "disk " + disk.target);
    }
  }
  return {};
}

}  // namespace vmm
