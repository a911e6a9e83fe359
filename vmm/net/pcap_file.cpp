#include "vmm/net/pcap_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "vmm/base/bytes.h"
#include "vmm/base/log.h"
#include "vmm/base/output_file.h"
#include "vmm/core/net_end.h"

namespace vmm::net {
namespace {

constexpr uint32_t kMagicNanoseconds = 0xa1b23c4d;
constexpr uint16_t kVersionMajor = 2;
constexpr uint16_t kVersionMinor = 4;
constexpr uint32_t kLongestPacket = 262'144;  // what readers take; no frame is as long
constexpr uint32_t kLinkTypeEthernet = 1;
constexpr int kPipeBytes = 1 << 20;  // what the kernel lets every user have
static_assert(kMaxFrameBytes <= kLongestPacket);

std::array<std::byte, 24> file_header() {
  std::array<std::byte, 24> header{};
  store_le<uint32_t>(&header[0], kMagicNanoseconds);
  store_le<uint16_t>(&header[4], kVersionMajor);
  store_le<uint16_t>(&header[6], kVersionMinor);
  store_le<uint32_t>(&header[16], kLongestPacket);
  store_le<uint32_t>(&header[20], kLinkTypeEthernet);
  return header;
}

iovec part(std::span<const std::byte> bytes) {
  return {.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
}

}  // namespace

Result<PcapFile> PcapFile::create(const std::string& path) {
  VMM_ASSIGN_OR_RETURN(UniqueFd file,
                       open_output(path, O_CREAT, 0600, fmt::format("the file of packets {}", path)));
  struct stat info{};
  if (::fstat(file.get(), &info) != 0 || S_ISBLK(info.st_mode) ||
      (S_ISREG(info.st_mode) && info.st_size != 0)) {
    return fail_configuration("the file of packets {} is there already, and vmm does not write over it",
                              path);
  }
  if (S_ISFIFO(info.st_mode)) {  // a reader may be slow for a moment
    ::fcntl(file.get(), F_SETPIPE_SZ, kPipeBytes);
  }
  PcapFile pcap(path, std::move(file));
  const auto header = file_header();
  const iovec parts[] = {part(header)};
  pcap.put(parts);
  if (!pcap.is_open()) {
    return fail("cannot write to the file of packets {}", path);
  }
  return pcap;
}

void PcapFile::write(std::span<const std::byte> frame, Time time) {
  if (!is_open()) {
    return;
  }
  const auto since_epoch = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since_epoch);
  std::array<std::byte, 16> header{};
  store_le<uint32_t>(&header[0], static_cast<uint32_t>(seconds.count()));
  store_le<uint32_t>(&header[4], static_cast<uint32_t>((since_epoch - seconds).count()));
  store_le<uint32_t>(&header[8], static_cast<uint32_t>(frame.size()));
  store_le<uint32_t>(&header[12], static_cast<uint32_t>(frame.size()));
  const iovec parts[] = {part(header), part(frame)};
  put(parts);
}

// All of it, or the end: half a packet would make the rest unreadable.
void PcapFile::put(std::span<const iovec> parts) {
  size_t bytes = 0;
  for (const iovec& each : parts) {
    bytes += each.iov_len;
  }
  const ssize_t written = ::writev(file_.get(), parts.data(), static_cast<int>(parts.size()));
  if (written != static_cast<ssize_t>(bytes)) {
    log::warning("the file of packets {} ends here: {}", path_,
                 written < 0 ? errno_text(errno) : "there is no room for more");
    // What is no file cannot be cut.
    [[maybe_unused]] const int cut = ::ftruncate(file_.get(), static_cast<off_t>(bytes_));
    file_.reset();
    return;
  }
  bytes_ += bytes;
}

}  // namespace vmm::net
