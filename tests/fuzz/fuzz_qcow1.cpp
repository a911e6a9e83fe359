// qcow images of version 1: every read of the disk ends, and in bounded memory.
//
// Input: the image file.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "block/chain_reader.h"
#include "block/crypto/sector_cipher.h"
#include "block/image_chain.h"
#include "block/image_file.h"
#include "block/open.h"
#include "block/qcow1/image.h"
#include "tests/fuzz/input.h"

namespace vmm::block {
namespace {

constexpr size_t kReadBytes = 70'000;  // more than a cluster

class Host {
 public:
  Host() : fd_(::memfd_create("qcow", MFD_CLOEXEC)), loop_(EventLoop::create().value()) {
    VMM_CHECK(fd_, "no memory for a file");
    path_ = "/proc/self/fd/" + std::to_string(fd_.get());
    engine_ = Engine::for_loop(*loop_, EngineKind::kThreads).value();
  }

  void fill(std::span<const std::byte> bytes) const {
    VMM_CHECK(::ftruncate(fd_.get(), 0) == 0 &&
                  ::pwrite(fd_.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()),
              "a file in memory cannot be written");
  }

  std::unique_ptr<ImageChain> open() {
    const DiskOptions options{.path = path_, .read_only = true, .for_guest = false};
    auto image = open_image_file(options);
    VMM_CHECK(image, "a file in memory cannot be opened");
    const auto sync = make_sync_file(image->files.main, path_);
    const auto header = qcow1::read_header(*sync);
    if (!header) {
      return nullptr;
    }
    auto file =
        std::make_unique<HostFile>(engine_, std::move(image->files), image->geometry, options.cache, false);
    HostFile& any_file = *file;
    std::unique_ptr<SectorCipher> cipher;
    if (header->is_encrypted) {
      cipher = make_legacy_aes_cipher(Secret::copy_of("swordfish")).value();
    }
    std::vector<std::unique_ptr<ImageFormat>> layers;
    layers.push_back(qcow1::Image::open(std::move(file), *sync, *header, std::move(cipher)).value());
    auto reader = std::make_unique<ChainReader>(std::vector{layers.front().get()}, any_file);
    return std::make_unique<ImageChain>(ImageChain::Layers{.own = std::move(layers)}, std::move(reader),
                                        nullptr, any_file, ImageChain::Options());
  }

  void read(ImageChain& disk, uint64_t offset) {
    std::vector<std::byte> to(std::min<uint64_t>(kReadBytes, disk.size_bytes() - offset));
    const iovec buffer{.iov_base = to.data(), .iov_len = to.size()};
    std::optional<IoStatus> status;
    BlockRequest request;
    request.offset = DiskOffset(offset);
    request.length_bytes = to.size();
    request.buffers = std::span(&buffer, 1);
    request.completion =
        Completion([](void* context, uint64_t,
                      IoStatus result) { *static_cast<std::optional<IoStatus>*>(context) = result; },
                   &status, 0);
    disk.submit(std::move(request));
    VMM_CHECK(drain(*loop_, disk, std::chrono::seconds(10)) && status, "a read did not end");
    VMM_CHECK(*status == IoStatus::kOk || *status == IoStatus::kIoError, "a read ended with another status");
  }

 private:
  UniqueFd fd_;
  std::string path_;
  std::unique_ptr<EventLoop> loop_;
  std::shared_ptr<Engine> engine_;
};

void run(std::span<const std::byte> input) {
  static Host host;
  host.fill(input);
  const auto disk = host.open();
  if (disk == nullptr) {
    return;
  }
  const uint64_t size = disk->size_bytes();
  host.read(*disk, 0);
  host.read(*disk, size / 2);
  host.read(*disk, size - 1);
}

}  // namespace
}  // namespace vmm::block

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::block::run(std::as_bytes(std::span(data, size)));
  return 0;
}
