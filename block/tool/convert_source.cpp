#include "block/tool/convert_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "block/copy/receive.h"
#include "block/tool/create_options.h"

namespace vmm::block::tool {
namespace {

constexpr uint64_t kSpoolHoleBytes = 4096;

// From its beginning on: of what was read before, the command has nothing.
bool is_whole_file(int fd) {
  struct stat info{};
  return ::fstat(fd, &info) == 0 && (S_ISREG(info.st_mode) || S_ISBLK(info.st_mode)) &&
         ::lseek(fd, 0, SEEK_CUR) == 0;
}

Result<UniqueFd> nameless_file(const std::string& folder) {
  UniqueFd fd(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd) {
    return fd;
  }
  // Not every file system has such files.
  std::string pattern = folder + "/vmm-img.XXXXXX.part";
  fd = UniqueFd(::mkostemps(pattern.data(), 5, O_CLOEXEC));
  if (!fd) {
    return fail("{}: no file can be made there for what comes through standard input: {}", folder,
                errno_text(errno));
  }
  ::unlink(pattern.c_str());
  return fd;
}

}  // namespace

Result<SnapshotChoice> parse_snapshot_choice(const std::string& text) {
  if (text.empty()) {
    return fail_configuration("-l: the name or the ID of a snapshot is missing");
  }
  if (!text.starts_with("snapshot.")) {
    return SnapshotChoice{.either = text, .id = {}, .name = {}};
  }
  VMM_ASSIGN_OR_RETURN(CreateWords words, CreateWords::parse_pairs(text, "-l"));
  SnapshotChoice choice;
  choice.id = words.take("snapshot.id");
  choice.name = words.take("snapshot.name");
  if (const auto left = words.first_left()) {
    return fail_configuration("-l {}: is not known; snapshot.id and snapshot.name are", *left);
  }
  return choice;
}

bool has_standard_input_file() { return is_whole_file(STDIN_FILENO); }

Result<StandardInput> open_standard_input(const std::string& folder) {
  StandardInput input;
  if (is_whole_file(STDIN_FILENO)) {
    input.path = fmt::format("/proc/self/fd/{}", STDIN_FILENO);
    return input;
  }
  VMM_ASSIGN_OR_RETURN(input.fd, nameless_file(folder.empty() ? "." : folder));
  input.path = fmt::format("/proc/self/fd/{}", input.fd.get());
  VMM_TRY(receive(STDIN_FILENO, "standard input", input.fd.get(), folder + " (a copy of standard input)",
                  kSpoolHoleBytes));
  return input;
}

std::optional<std::vector<UniqueFd>> open_raw_files(const std::vector<std::string>& paths,
                                                    const std::vector<FileState>& opened) {
  std::vector<UniqueFd> files;
  for (size_t i = 0; i < paths.size(); ++i) {
    UniqueFd fd(::open(paths[i].c_str(), O_RDONLY | O_CLOEXEC));
    struct stat info{};
    if (!fd || i >= opened.size() || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode) ||
        FileState::of(info) != opened[i]) {
      return std::nullopt;
    }
    files.push_back(std::move(fd));
  }
  return files;
}

}  // namespace vmm::block::tool
