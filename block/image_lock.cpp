#include "block/image_lock.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>

#include "vmm/base/log.h"

namespace vmm::block {
namespace {

constexpr off_t kUsedBase = 100;
constexpr off_t kForbiddenBase = 200;

constexpr uint32_t kConsistentRead = 1U << 0;
constexpr uint32_t kWrite = 1U << 1;
constexpr std::array<int, 4> kPermissionBits = {0, 1, 2, 3};

// A descriptor that was closed while io_uring's worker still had a hold of the file keeps its locks for an
// instant, with nobody to be named for it: that long they are waited for.
constexpr std::chrono::milliseconds kLastHoldTime{500};
constexpr std::chrono::milliseconds kLookAgainTime{5};

struct Claim {
  uint32_t used = 0;
  uint32_t forbidden = 0;
};

Claim claim_of(ImageUse use) {
  switch (use) {
    case ImageUse::kRead:
      return {.used = kConsistentRead, .forbidden = kWrite};
    case ImageUse::kWrite:
      return {.used = kConsistentRead | kWrite, .forbidden = kWrite};
    case ImageUse::kReadShared:
      return {.used = kConsistentRead, .forbidden = 0};
    case ImageUse::kWriteShared:
      return {.used = kConsistentRead | kWrite, .forbidden = 0};
  }
  return {};
}

struct flock byte_lock(short type, off_t byte) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

// 0, or an errno.
int take_byte(int fd, off_t byte) {
  struct flock lock = byte_lock(F_RDLCK, byte);
  return ::fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
}

// Of an exclusive lock (F_WRLCK) someone else's of any kind is in the way, of F_RDLCK an exclusive one.
bool is_in_the_way(int fd, off_t byte, short of) {
  struct flock lock = byte_lock(of, byte);
  return ::fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

int take_bytes(int fd, uint32_t permissions, off_t base) {
  for (const int bit : kPermissionBits) {
    if ((permissions >> bit & 1U) != 0) {
      if (const int error = take_byte(fd, base + bit); error != 0) {
        return error;
      }
    }
  }
  return 0;
}

bool any_in_the_way(int fd, uint32_t permissions, off_t base, short of) {
  for (const int bit : kPermissionBits) {
    if ((permissions >> bit & 1U) != 0 && is_in_the_way(fd, base + bit, of)) {
      return true;
    }
  }
  return false;
}

// /proc/PID/fdinfo/N has a line "lock: … OFDLCK …" for each lock that the descriptor holds (proc(5)).
bool holds_ofd_lock(const std::filesystem::path& fdinfo) {
  std::ifstream file(fdinfo);
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("lock:") && line.find("OFDLCK") != std::string::npos) {
      return true;
    }
  }
  return false;
}

bool is_same_file(const std::filesystem::path& path, const struct stat& image) {
  struct stat other{};
  return ::stat(path.c_str(), &other) == 0 && other.st_dev == image.st_dev && other.st_ino == image.st_ino;
}

// but_fd: a descriptor that does not count, or -1.
bool process_holds_lock(const std::filesystem::path& process, const struct stat& image, int but_fd) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(process / "fd", error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename();
    if (name != std::to_string(but_fd) && is_same_file(it->path(), image) &&
        holds_ofd_lock(process / "fdinfo" / name)) {
      return true;
    }
  }
  return false;
}

// The kernel does not tell whose an OFD lock is: found by looking at every process, as far as we may.
std::optional<int> find_holder(int fd) {
  struct stat image{};
  if (::fstat(fd, &image) != 0) {
    return std::nullopt;
  }
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc", error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename();
    int pid = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (parsed.ec == std::errc() && parsed.ptr == name.data() + name.size() &&
        process_holds_lock(it->path(), image, pid == ::getpid() ? fd : -1)) {
      return pid;
    }
  }
  return std::nullopt;
}

bool is_writing(ImageUse use) { return use == ImageUse::kWrite || use == ImageUse::kWriteShared; }

// ", qemu-img": what the process calls itself, which can be anything (proc(5), "comm"); empty: not shown.
std::string process_name(int pid) {
  std::ifstream file(fmt::format("/proc/{}/comm", pid));
  std::string name;
  std::getline(file, name);
  for (char& character : name) {
    const auto byte = static_cast<unsigned char>(character);
    character = byte < 0x20 || byte >= 0x7f ? '?' : character;
  }
  return name.empty() ? "" : ", " + name;
}

std::string holder_text(std::optional<int> holder) {
  if (!holder) {
    return "another process";
  }
  return *holder == ::getpid() ? "another disk of this process"
                               : fmt::format("another process (pid {}{})", *holder, process_name(*holder));
}

std::string_view mend(ImageUse use, LockedFor whom, bool is_ours) {
  if (whom == LockedFor::kTool && is_ours) {
    return "what is read is not written to at once: give another name";
  }
  if (whom == LockedFor::kTool) {
    return is_writing(use)
               ? "try again when that is over"
               : "read it all the same with -U, where the command has that, if it may change meanwhile";
  }
  return is_writing(use) ? "make the disk <readonly/> on both sides, or <shareable/> if both may write"
                         : "make the disk <shareable/> if it may change meanwhile";
}

std::unexpected<Error> in_use(const std::string& path, ImageUse use, LockedFor whom,
                              std::optional<int> holder) {
  const bool is_ours = holder && *holder == ::getpid();
  return fail("{} is in use by {}; {}{}", path, holder_text(holder), is_ours ? "" : "stop it, or ",
              mend(use, whom, is_ours));
}

bool are_others_in_the_way(int fd, const Claim& claim) {
  return any_in_the_way(fd, claim.used, kForbiddenBase, F_WRLCK) ||
         any_in_the_way(fd, claim.forbidden, kUsedBase, F_WRLCK);
}

// 0, EAGAIN where somebody else's claim is in the way, or another errno.
int take_claim(int fd, const Claim& claim) {
  int error = take_bytes(fd, claim.used, kUsedBase);
  if (error == 0) {
    error = take_bytes(fd, claim.forbidden, kForbiddenBase);
  }
  if (error != 0) {
    // An exclusive lock is not QEMU's way, but a claim all the same.
    return error == EACCES ? EAGAIN : error;
  }
  // First claim, then look: of two that come together at least one sees the other.
  return are_others_in_the_way(fd, claim) ? EAGAIN : 0;
}

// The same without taking anything.
int look_at_claims(int fd, const Claim& claim) {
  const bool is_refused = any_in_the_way(fd, claim.used, kUsedBase, F_RDLCK) ||
                          any_in_the_way(fd, claim.forbidden, kForbiddenBase, F_RDLCK) ||
                          are_others_in_the_way(fd, claim);
  return is_refused ? EAGAIN : 0;
}

// attempt: take_claim() or look_at_claims().
Status try_for_a_while(const UniqueFd& image, const std::string& path, ImageUse use, LockedFor whom,
                       int (*attempt)(int, const Claim&)) {
  const Claim claim = claim_of(use);
  const auto deadline = std::chrono::steady_clock::now() + kLastHoldTime;
  for (;;) {
    const int error = attempt(image.get(), claim);
    if (error == 0) {
      return {};
    }
    unlock_image(image);
    if (error != EAGAIN) {
      log::warning("{} cannot be locked ({}); nothing keeps a second writer from it", path,
                   errno_text(error));
      return {};
    }
    const auto holder = find_holder(image.get());
    if (holder || std::chrono::steady_clock::now() >= deadline) {
      return in_use(path, use, whom, holder);
    }
    std::this_thread::sleep_for(kLookAgainTime);
  }
}

}  // namespace

Status lock_image(const UniqueFd& image, const std::string& path, ImageUse use, LockedFor whom) {
  return try_for_a_while(image, path, use, whom, take_claim);
}

Status look_at_locks(const UniqueFd& image, const std::string& path, ImageUse use, LockedFor whom) {
  return try_for_a_while(image, path, use, whom, look_at_claims);
}

void unlock_image(const UniqueFd& image) {
  struct flock lock = byte_lock(F_UNLCK, kUsedBase);
  lock.l_len = kForbiddenBase + static_cast<off_t>(kPermissionBits.size()) - kUsedBase;
  static_cast<void>(::fcntl(image.get(), F_OFD_SETLK, &lock));
}

}  // namespace vmm::block
