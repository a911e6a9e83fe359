#include "devices/virtio/balloon.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "vmm/base/bytes.h"

namespace vmm::virtio {
namespace {

// Feature bits (section 5.5.3).
constexpr uint8_t kFeatureDeflateOnOom = 2;
constexpr uint8_t kFeatureReporting = 5;

// Queues (section 5.5.2). The reporting queue is 4, behind those of features that are not offered here; but
// drivers (Linux before 6.11) leave no gap for these, and find it as 2. Nothing else can be there.
constexpr uint16_t kInflateQueue = 0;
constexpr uint16_t kDeflateQueue = 1;
constexpr uint16_t kUsualQueues = 2;
constexpr uint16_t kQueuesWithReporting = 5;

// struct virtio_balloon_config (section 5.5.4).
constexpr uint32_t kConfigActual = 4;
constexpr uint32_t kBalloonConfigBytes = 8;

}  // namespace

VirtioBalloon::VirtioBalloon(const GuestMemory& memory, Options options, GiveBack give_back)
    : memory_(memory), options_(options), give_back_(std::move(give_back)) {}

uint64_t VirtioBalloon::features() const {
  return (options_.deflates_on_oom ? feature_mask(kFeatureDeflateOnOom) : 0) |
         (options_.reports_free_pages ? feature_mask(kFeatureReporting) : 0);
}

uint16_t VirtioBalloon::queue_count() const {
  return options_.reports_free_pages ? kQueuesWithReporting : kUsualQueues;
}

void VirtioBalloon::read_config(uint32_t offset, std::span<std::byte> data) const {
  std::array<std::byte, kBalloonConfigBytes> config{};
  store_le<uint32_t>(&config[0], options_.target_pages);
  store_le<uint32_t>(&config[kConfigActual], actual_pages_);
  for (size_t i = 0; i < data.size(); ++i) {
    data[i] = offset + i < kBalloonConfigBytes ? config[offset + i] : std::byte{0};
  }
}

void VirtioBalloon::write_config(uint32_t offset, std::span<const std::byte> data) {
  // The one field that the driver may write, as a whole (section 4.1.3.1).
  if (offset == kConfigActual && data.size() == sizeof(uint32_t)) {
    actual_pages_ = load_le<uint32_t>(data.data());
  }
}

void VirtioBalloon::start(ChainReturn& chains, uint64_t features, std::span<const uint16_t> /*queue_sizes*/) {
  chains_ = &chains;
  takes_reports_ = (features & feature_mask(kFeatureReporting)) != 0;
}

VirtioDevice::Handled VirtioBalloon::handle(uint16_t queue, Chain& chain) {
  if (!chain.has_bad_buffer) {
    if (queue == kInflateQueue) {
      inflate(chain);
    } else if (queue > kDeflateQueue && takes_reports_) {
      report(chain);
    }
  }
  chains_->give_back(queue, chain.head, 0);
  return Handled::kTaken;
}

// Section 5.5.6: an array of page numbers. In order they are fewer and longer ranges.
void VirtioBalloon::inflate(Chain& chain) const {
  std::array<std::byte, kMaxPagesOfRequest * sizeof(uint32_t)> bytes{};
  const size_t count = std::min<uint64_t>(chain.readable.size() / sizeof(uint32_t), kMaxPagesOfRequest);
  if (!chain.readable.read(std::span(bytes).first(count * sizeof(uint32_t)))) {
    return;
  }
  std::array<uint32_t, kMaxPagesOfRequest> pages{};
  for (size_t i = 0; i < count; ++i) {
    pages[i] = load_le<uint32_t>(&bytes[i * sizeof(uint32_t)]);
  }
  const auto sorted = std::span(pages).first(count);
  std::ranges::sort(sorted);
  for (size_t i = 0; i < count;) {
    size_t next = i + 1;
    while (next < count && sorted[next] - sorted[next - 1] <= 1) {
      ++next;
    }
    give_back_pages(sorted[i], uint64_t{sorted[next - 1]} - sorted[i] + 1);
    i = next;
  }
}

void VirtioBalloon::give_back_pages(uint64_t first_page, uint64_t count) const {
  const GuestRange range{GuestAddress(first_page * kPageBytes), count * kPageBytes};
  if (const std::optional<iovec> pages = memory_.io_buffer(range)) {
    give_back_(*pages);
  } else if (count > 1) {
    // Some of it is no memory; a page that is none is all that the guest gets wrong.
    for (uint64_t i = 0; i < count; ++i) {
      give_back_pages(first_page + i, 1);
    }
  }
}

// Section 5.5.6.6: each buffer is a range of free memory.
void VirtioBalloon::report(const Chain& chain) const {
  for (const iovec& buffer : chain.writable.buffers()) {
    // Guest memory begins on a page, in the guest's addresses and in the host's.
    const auto start = reinterpret_cast<uintptr_t>(buffer.iov_base);
    const uintptr_t skipped = align_up(start, kPageBytes) - start;
    if (buffer.iov_len < skipped + kPageBytes) {
      continue;
    }
    const size_t length = align_down(buffer.iov_len - skipped, kPageBytes);
    give_back_({.iov_base = static_cast<std::byte*>(buffer.iov_base) + skipped, .iov_len = length});
  }
}

}  // namespace vmm::virtio
