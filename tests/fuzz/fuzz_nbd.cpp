// The NBD server: whatever a client sends, in whatever pieces, while the disk answers late and replies are
// read slowly: the session stays within its bounds, ends, and leaves a qcow2 image without errors.
//
// Input: a byte (bit 0: read-only), then steps. A step is a byte modulo 4: 0, 1: a length of 16 bits, and as
// many bytes that the client sends; 2: the disk answers; 3: a length of 16 bits, so much of the replies is
// read.
#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "block/chain_reader.h"
#include "block/image_chain.h"
#include "block/nbd/session.h"
#include "block/qcow2/check.h"
#include "block/qcow2/create.h"
#include "block/qcow2/image.h"
#include "block/qcow2/open_image.h"
#include "block/qcow2/writer.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/memory_image.h"

namespace vmm::block::nbd {
namespace {

using fuzz::MemoryImage;
using fuzz::MemorySync;

constexpr uint64_t kDiskBytes = uint64_t{1} << 20U;

std::unique_ptr<ImageChain> open_disk(MemoryImage& file, bool is_read_only) {
  auto header = qcow2::read_header(file);
  VMM_CHECK(header && (is_read_only || qcow2::prepare_for_writing(file, *header)), "a new image is sound");
  qcow2::Image::Files files;
  files.sync = std::make_unique<MemorySync>(file);
  // The engine is the caller's.
  files.image =
      std::make_unique<HostFile>(std::shared_ptr<Engine>(std::shared_ptr<void>(), &file), HostFile::Files{},
                                 HostFile::Geometry{}, CacheMode::kWriteback, true);
  HostFile& host_file = *files.image;
  qcow2::Image::Options options;
  options.read_only = is_read_only;
  auto image = qcow2::Image::open(std::move(files), std::move(*header), std::move(options));
  VMM_CHECK(image, "a new image can be opened");
  auto reader = std::make_unique<ChainReader>(std::vector<ImageFormat*>{image->get()}, host_file);
  std::unique_ptr<ImageWriter> writer;
  if (!is_read_only) {
    VMM_CHECK(qcow2::note_metadata((*image)->sync_file(), (*image)->state()), "a new image has metadata");
    writer = std::make_unique<qcow2::Writer>(**image, *reader, qcow2::Writer::Options{.may_discard = true});
  }
  std::vector<std::unique_ptr<ImageFormat>> layers;
  layers.push_back(std::move(*image));
  return std::make_unique<ImageChain>(
      ImageChain::Layers{.own = std::move(layers)}, std::move(reader), std::move(writer), host_file,
      ImageChain::Options{.limits = {.discard_alignment_bytes = 4096, .can_write_zeroes = true}});
}

class Conversation {
 public:
  Conversation(MemoryImage& file, const Export& exported) : file_(file), session_(exported) {}

  void step(fuzz::Input& input) {
    switch (input.below(4)) {
      case 2:
        answer();
        break;
      case 3:
        read(input.take<uint16_t>());
        break;
      default:
        send(input.take_bytes(input.take<uint16_t>()));
        break;
    }
    VMM_CHECK(session_.in_flight() <= kMaxRequests, "there are too many requests");
  }

  void end() {
    answer();
    session_.end_of_input();
    answer();
    read(SIZE_MAX);
    VMM_CHECK(session_.is_over(), "a conversation did not end");
  }

 private:
  void answer() {
    file_.answer_all();
    session_.go_on();
  }

  // What is not taken is lost.
  void send(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      size_t done = 0;
      for (const iovec& space : session_.input_space()) {
        const size_t count = std::min(space.iov_len, bytes.size() - done);
        std::memcpy(space.iov_base, bytes.data() + done, count);
        done += count;
      }
      if (done == 0) {
        return;
      }
      session_.received(done);
      bytes = bytes.subspan(done);
    }
  }

  void read(size_t most) {
    while (most > 0 && session_.has_output()) {
      size_t done = 0;
      for (const iovec& piece : session_.output()) {
        done += std::min(piece.iov_len, most - done);
      }
      VMM_CHECK(done > 0, "an output has nothing in it");
      session_.sent(done);
      session_.go_on();
      file_.answer_all();
      most -= done;
    }
  }

  MemoryImage& file_;
  Session session_;
};

void run(fuzz::Input input) {
  fuzz::silence_log();
  MemoryImage file({});
  VMM_CHECK(qcow2::create(file, {.size_bytes = kDiskBytes, .cluster_bits = 12}), "an image can be made");
  {
    const auto disk = open_disk(file, input.chance());
    const Export exported{.name = "a", .description = "b", .disk = disk.get()};
    Conversation conversation(file, exported);
    while (!input.is_empty()) {
      conversation.step(input);
    }
    conversation.end();
    file.answer_all();
  }
  const auto header = qcow2::read_header(file);
  const auto result = header ? qcow2::check(file, *header) : std::unexpected(header.error());
  VMM_CHECK(result && result->corruptions == 0, "what a client wrote has made errors");
}

}  // namespace
}  // namespace vmm::block::nbd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  vmm::block::nbd::run(vmm::fuzz::Input(data, size));
  return 0;
}
