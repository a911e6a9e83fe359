#include "vmm/machine/entropy.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <span>
#include <utility>

#include "vmm/base/unique_fd.h"

namespace vmm {
namespace {

size_t count_of(ssize_t result) { return result > 0 ? static_cast<size_t>(result) : 0; }

}  // namespace

Result<virtio::VirtioRng::Source> open_entropy(const std::filesystem::path& path) {
  if (path.empty()) {
    return [](std::span<std::byte> to) { return count_of(::getrandom(to.data(), to.size(), GRND_NONBLOCK)); };
  }
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file) {
    return fail("{}: cannot be opened: {}; give another source, as /dev/urandom", path.native(),
                errno_text(errno));
  }
  struct stat status{};
  if (::fstat(file.get(), &status) != 0 || !S_ISCHR(status.st_mode)) {
    // A file would end, and repeat itself at the next start.
    return fail_configuration("{}: is no character device; give another source, as /dev/urandom",
                              path.native());
  }
  // std::function wants to be copied.
  return [shared = std::make_shared<UniqueFd>(std::move(file))](std::span<std::byte> to) {
    return count_of(::read(shared->get(), to.data(), to.size()));
  };
}

}  // namespace vmm
