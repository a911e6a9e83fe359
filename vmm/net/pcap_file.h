// PcapFile: a file of packets for Wireshark and tcpdump (draft-ietf-opsawg-pcap): Ethernet frames with their
// times, in nanoseconds of the system's clock.
//
// The first error of the file (it is full) ends it behind the last whole packet, with one line in the log.
// Threads: its owner's.
#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "vmm/base/error.h"
#include "vmm/base/unique_fd.h"

namespace vmm::net {

class PcapFile {
 public:
  using Time = std::chrono::sys_time<std::chrono::nanoseconds>;

  // Made anew, readable by its owner only, since it holds what the guest says to others. An error where there
  // is such a file with something in it; pipes and character devices may be there.
  static Result<PcapFile> create(const std::string& path);

  void write(std::span<const std::byte> frame, Time time);
  // Until an error.
  bool is_open() const { return static_cast<bool>(file_); }

 private:
  PcapFile(std::string path, UniqueFd file) : path_(std::move(path)), file_(std::move(file)) {}
  void put(std::span<const iovec> parts);

  std::string path_;
  UniqueFd file_;
  uint64_t bytes_ = 0;  // of the file
};

}  // namespace vmm::net
