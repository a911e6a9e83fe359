// disk_ops: does what a list of operations says to a disk image, through the disk stack that guests use.
//
// Usage: disk_ops [--read-only] [--format raw|qcow2] [--cache none|writeback|writethrough|unsafe] [--io
// threads]
//                 [--discard] [--depth N] [--passphrase-file FILE] [--data-file FILE] [--live] IMAGE <
//                 operations
// Operations, one a line; those between two barriers are under way together, N at most (default 16):
//   w OFFSET LENGTH SEED   write a pattern       W …  the same with force_unit_access
//   z OFFSET LENGTH        write zeroes          u …  the same, may unmap
//   d OFFSET LENGTH        discard               f    flush
//   c OFFSET LENGTH SEED   write a pattern, compressed where the image can and the range is a cluster
//   r OFFSET LENGTH        read, and throw away
//   b                      barrier: wait for all
//   dump FILE              barrier; the whole disk as a raw file (holes where it reads as zeroes)
//   say TEXT               barrier; prints it
//   live CHANGE            --live: a change of its images begins, when the one before has ended; see
//   live_driver.h kill                   barrier; ends the process without closing the disk
// Status 0: all done (failed operations are printed); 1: the image could not be opened, or a dump failed.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "block/compressed_writes.h"
#include "block/compressor.h"
#include "block/crypto/secret.h"
#include "block/open.h"
#include "tests/images/live_driver.h"
#include "vmm/base/bytes.h"
#include "vmm/base/event_loop.h"

namespace vmm::block {
namespace {

constexpr size_t kPatternBytes = 8;

// Eight bytes at each multiple of eight: the seed and the place.
void fill_pattern(std::span<std::byte> to, uint64_t offset, uint64_t seed) {
  for (size_t i = 0; i < to.size(); ++i) {
    const uint64_t at = offset + i;
    const uint64_t word = (seed << 40U) ^ (at / kPatternBytes) ^ 0x5a00'0000'0000'0000;
    to[i] = static_cast<std::byte>(word >> (8 * (at % kPatternBytes)));
  }
}

struct Operation {
  BlockRequest request;
  std::string line;
  std::vector<std::byte> data;
  std::vector<std::byte> stored;  // compressed
  std::array<iovec, 3> vectors{};
  bool is_done = true;
};

class Driver {
 public:
  // live: nullptr without --live
  Driver(EventLoop& loop, BlockDevice& disk, size_t depth, LiveDriver* live)
      : loop_(loop), disk_(disk), live_(live), operations_(depth) {
    for (auto& operation : operations_) {
      operation = std::make_unique<Operation>();
    }
  }

  bool run(std::istream& input) {
    for (std::string line; std::getline(input, line);) {
      if (!line.empty() && line[0] != '#' && !run_line(line)) {
        return false;
      }
    }
    wait_for_all();
    return true;
  }

 private:
  bool run_line(const std::string& line) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    if (name == "b") {
      wait_for_all();
    } else if (name == "dump") {
      std::string path;
      words >> path;
      wait_for_all();
      return dump(path);
    } else if (name == "say") {
      wait_for_all();
      std::cout << line.substr(4) << std::endl;
    } else if (name == "live" && live_ != nullptr) {
      std::string rest;
      std::getline(words, rest);
      live_->run(std::istringstream(rest));
    } else if (name == "kill") {
      wait_for_all();
      std::cout.flush();
      std::_Exit(0);
    } else {
      uint64_t offset = 0;
      uint64_t length = 0;
      uint64_t seed = 0;
      words >> offset >> length >> seed;
      start(name[0], line, offset, length, seed);
    }
    return true;
  }

  void start(char name, const std::string& line, uint64_t offset, uint64_t length, uint64_t seed) {
    Operation& operation = free_operation();
    operation.line = line;
    operation.is_done = false;
    BlockRequest request;
    request.offset = DiskOffset(offset);
    request.length_bytes = length;
    request.completion = Completion(&Driver::done, &operation, 0);
    switch (name) {
      case 'c':
      case 'w':
      case 'W':
        request.op = BlockOp::kWrite;
        request.force_unit_access = name == 'W';
        break;
      case 'r':
        request.op = BlockOp::kRead;
        break;
      case 'z':
      case 'u':
        request.op = BlockOp::kWriteZeroes;
        request.may_unmap = name == 'u';
        break;
      case 'd':
        request.op = BlockOp::kDiscard;
        break;
      default:
        request.op = BlockOp::kFlush;
        request.length_bytes = 0;
        break;
    }
    if (request.op == BlockOp::kWrite || request.op == BlockOp::kRead) {
      operation.data.resize(length);
      fill_pattern(operation.data, offset, seed);
      request.buffers = scatter(operation);
    }
    if (name == 'c' && compress(operation, offset)) {
      request.buffers = std::span(operation.vectors).first(1);
      disk_.compressed_writes()->submit_compressed(std::move(request));
      return;
    }
    disk_.submit(std::move(request));
  }

  // Into the first vector.
  bool compress(Operation& operation, uint64_t offset) {
    CompressedWrites* writes = disk_.compressed_writes();
    if (writes == nullptr || offset % writes->cluster_bytes() != 0 ||
        operation.data.size() != std::min(writes->cluster_bytes(), disk_.size_bytes() - offset)) {
      return false;
    }
    std::vector<std::byte> cluster = operation.data;
    cluster.resize(writes->cluster_bytes());
    operation.stored.resize(cluster.size() - 1);
    const auto compressor = make_compressor(writes->compression());
    const size_t bytes = compressor ? compressor->run(cluster, operation.stored) : 0;
    operation.vectors[0] = {.iov_base = operation.stored.data(), .iov_len = bytes};
    if (bytes == 0) {
      scatter(operation);
    }
    return bytes > 0;
  }

  // Three buffers of odd sizes, as a guest may have them.
  static std::span<const iovec> scatter(Operation& operation) {
    const size_t size = operation.data.size();
    const std::array<size_t, 4> cuts = {0, size / 3, size / 3 + std::min<size_t>(size / 3, 1), size};
    for (size_t i = 0; i < 3; ++i) {
      operation.vectors[i] = {.iov_base = operation.data.data() + cuts[i], .iov_len = cuts[i + 1] - cuts[i]};
    }
    return operation.vectors;
  }

  static void done(void* context, uint64_t /*cookie*/, IoStatus status) {
    auto& operation = *static_cast<Operation*>(context);
    operation.is_done = true;
    if (status != IoStatus::kOk) {
      std::cout << "failed (" << static_cast<int>(status) << "): " << operation.line << "\n";
    }
  }

  Operation& free_operation() {
    while (true) {
      for (auto& operation : operations_) {
        if (operation->is_done && disk_.can_accept()) {
          return *operation;
        }
      }
      loop_.run_once(std::chrono::milliseconds(100));
    }
  }

  void wait_for_all() {
    while (std::ranges::any_of(operations_, [](const auto& operation) { return !operation->is_done; })) {
      loop_.run_once(std::chrono::milliseconds(100));
    }
  }

  bool dump(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(disk_.size_bytes())) != 0) {
      std::cerr << path << " cannot be written\n";
      return false;
    }
    constexpr size_t kChunkBytes = size_t{1} << 20U;
    std::vector<std::byte> data;
    for (uint64_t offset = 0; offset < disk_.size_bytes(); offset += data.size()) {
      data.resize(std::min<uint64_t>(kChunkBytes, disk_.size_bytes() - offset));
      const iovec buffer{.iov_base = data.data(), .iov_len = data.size()};
      if (!read_now(offset, buffer)) {
        std::cerr << "the disk cannot be read at " << offset << "\n";
        return false;
      }
      const bool is_zero = std::ranges::all_of(data, [](std::byte byte) { return byte == std::byte{0}; });
      if (!is_zero && ::pwrite(fd.get(), data.data(), data.size(), static_cast<off_t>(offset)) < 0) {
        std::cerr << path << " cannot be written\n";
        return false;
      }
    }
    return true;
  }

  bool read_now(uint64_t offset, const iovec& buffer) {
    struct End {
      bool is_done = false;
      IoStatus status = IoStatus::kOk;
    } end;
    BlockRequest request;
    request.op = BlockOp::kRead;
    request.offset = DiskOffset(offset);
    request.length_bytes = buffer.iov_len;
    request.buffers = std::span(&buffer, 1);
    request.completion =
        Completion([](void* context, uint64_t /*cookie*/,
                      IoStatus status) { *static_cast<End*>(context) = {.is_done = true, .status = status}; },
                   &end, 0);
    disk_.submit(std::move(request));
    while (!end.is_done) {
      loop_.run_once(std::chrono::milliseconds(100));
    }
    return end.status == IoStatus::kOk;
  }

  EventLoop& loop_;
  BlockDevice& disk_;
  LiveDriver* live_;
  std::vector<std::unique_ptr<Operation>> operations_;
};

struct Arguments {
  DiskOptions options;
  size_t depth = 16;
  bool is_live = false;
};

Arguments parse(std::span<char*> words) {
  Arguments result;
  result.options.for_guest = false;
  result.options.format = Format::kQcow2;
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string word = words[i];
    const std::string value = i + 1 < words.size() ? words[i + 1] : "";
    if (word == "--read-only") {
      result.options.read_only = true;
    } else if (word == "--live") {
      result.is_live = true;
    } else if (word == "--discard") {
      result.options.discard = DiscardMode::kUnmap;
    } else if (word == "--format") {
      result.options.format = value == "raw" ? Format::kRaw : Format::kQcow2;
      ++i;
    } else if (word == "--cache") {
      result.options.cache = value == "none"           ? CacheMode::kNone
                             : value == "writethrough" ? CacheMode::kWritethrough
                             : value == "unsafe"       ? CacheMode::kUnsafe
                                                       : CacheMode::kWriteback;
      ++i;
    } else if (word == "--io") {
      result.options.io = value == "threads" ? EngineKind::kThreads : EngineKind::kIoUring;
      ++i;
    } else if (word == "--table-cache") {
      result.options.metadata_cache_bytes = std::strtoull(value.c_str(), nullptr, 10);
      ++i;
    } else if (word == "--data-file") {
      result.options.data_files.push_back(value);
      ++i;
    } else if (word == "--passphrase-file") {
      auto passphrase = passphrase_from_file(value);
      if (passphrase) {
        result.options.passphrases = {std::make_shared<const Secret>(std::move(*passphrase))};
      }
      ++i;
    } else if (word == "--depth") {
      result.depth = std::strtoull(value.c_str(), nullptr, 10);
      ++i;
    } else {
      result.options.path = word;
    }
  }
  return result;
}

int main_of(std::span<char*> words) {
  const Arguments arguments = parse(words);
  auto loop = EventLoop::create();
  if (!loop) {
    std::cerr << loop.error().message() << "\n";
    return 1;
  }
  auto disk = open_disk(**loop, arguments.options);
  if (!disk) {
    std::cerr << disk.error().message() << "\n";
    return 1;
  }
  std::unique_ptr<LiveDriver> live;
  if (arguments.is_live) {
    auto live_disk = std::make_unique<LiveDisk>(**loop, *std::move(disk), arguments.options);
    live = std::make_unique<LiveDriver>(**loop, *live_disk);
    disk = std::move(live_disk);
  }
  const bool is_done = Driver(**loop, **disk, arguments.depth, live.get()).run(std::cin);
  if (live != nullptr) {
    live->wait();
    live.reset();
  }
  if (!drain(**loop, **disk, std::chrono::seconds(60))) {
    std::cerr << "the disk did not come to rest\n";
    return 1;
  }
  return is_done ? 0 : 1;
}

}  // namespace
}  // namespace vmm::block

int main(int argc, char** argv) { return vmm::block::main_of({argv, static_cast<size_t>(argc)}); }
