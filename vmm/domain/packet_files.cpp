#include "vmm/domain/packet_files.h"

#include <filesystem>
#include <system_error>

namespace vmm::domain {
namespace {

namespace fs = std::filesystem;

// packets.pcap -> packets-net0.pcap
fs::path file_of(const fs::path& file, const std::string& interface) {
  fs::path name = file.stem();
  name += "-" + interface;
  name += file.extension();
  return file.parent_path() / name;
}

Status check_packet_file(const fs::path& file) {
  std::error_code error;
  const fs::file_status status = fs::status(file, error);
  if (fs::is_directory(status) || fs::is_block_file(status)) {
    return fail_configuration("--dump-net {}: is a folder or a disk; name a file", file.native());
  }
  if (fs::is_regular_file(status) && fs::file_size(file, error) != 0) {
    return fail_configuration(
        "--dump-net {}: there is such a file already, and vmm does not write over it; give another name, or "
        "remove it",
        file.native());
  }
  return {};
}

}  // namespace

std::string interface_name(const Domain& domain, size_t index) {
  const std::string& alias = domain.interfaces[index].alias;
  return alias.empty() ? "net" + std::to_string(index) : alias;
}

Status set_packet_files(Domain& domain, const std::string& file) {
  if (domain.interfaces.empty()) {
    return fail_configuration("--dump-net {}: the guest has no network interface; leave it out", file);
  }
  const fs::path path = fs::absolute(file);
  if (!path.has_filename()) {
    return fail_configuration("--dump-net {}: names no file", file);
  }
  for (size_t i = 0; i < domain.interfaces.size(); ++i) {
    const bool is_only = domain.interfaces.size() == 1;
    const fs::path own = is_only ? path : file_of(path, interface_name(domain, i));
    VMM_TRY(check_packet_file(own));
    domain.interfaces[i].packet_file = own;
  }
  return {};
}

}  // namespace vmm::domain
