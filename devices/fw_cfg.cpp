#include "devices/fw_cfg.h"

#include <algorithm>
#include <array>
#include <utility>

#include "vmm/base/bytes.h"
#include "vmm/base/check.h"

namespace vmm {
namespace {

constexpr uint32_t kInterfaceTraditional = 1U << 0U;
constexpr uint32_t kInterfaceDma = 1U << 1U;
constexpr uint64_t kDmaSignature = 0x51'45'4d'55'20'43'46'47;  // "QEMU CFG"

// The control field of FWCfgDmaAccess.
constexpr uint32_t kDmaError = 1U << 0U;
constexpr uint32_t kDmaRead = 1U << 1U;
constexpr uint32_t kDmaSkip = 1U << 2U;
constexpr uint32_t kDmaSelect = 1U << 3U;
constexpr uint32_t kDmaWrite = 1U << 4U;
constexpr uint32_t kDmaSelectShift = 16;
constexpr size_t kDmaDescriptorBytes = 16;

constexpr size_t kDirectoryEntryBytes = 64;
constexpr size_t kDirectoryNameAt = 8;

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

}  // namespace

FwCfg::FwCfg(const GuestMemory& memory) : memory_(memory) {
  set_item(Item::kSignature, bytes_of("QEMU"));
  set_number<uint32_t>(Item::kInterface, kInterfaceTraditional | kInterfaceDma);
  describe_files();
}

void FwCfg::set_item(Item item, std::vector<std::byte> content) {
  items_[static_cast<uint16_t>(item)] = std::move(content);
}

void FwCfg::set_file(std::string_view name, std::vector<std::byte> content) {
  VMM_CHECK(!name.empty() && name.size() <= kMaxNameBytes, "the name of a firmware file is too long");
  auto place = files_.find(name);
  if (place == files_.end()) {
    uint16_t number = static_cast<uint16_t>(Item::kFirstFile);
    while (items_.contains(number)) {
      ++number;
    }
    VMM_CHECK(files_.size() < kMaxFiles, "there are too many firmware files");
    place = files_.emplace(name, number).first;
  }
  items_[place->second] = std::move(content);
  describe_files();
}

void FwCfg::remove_file(std::string_view name) {
  if (const auto place = files_.find(name); place != files_.end()) {
    items_.erase(place->second);
    files_.erase(place);
    describe_files();
  }
}

void FwCfg::describe_files() {
  std::vector<std::byte> directory(sizeof(uint32_t) + files_.size() * kDirectoryEntryBytes);
  store_be<uint32_t>(directory.data(), static_cast<uint32_t>(files_.size()));
  std::byte* entry = directory.data() + sizeof(uint32_t);
  for (const auto& [name, number] : files_) {
    store_be<uint32_t>(entry, static_cast<uint32_t>(items_[number].size()));
    store_be<uint16_t>(entry + 4, number);
    std::ranges::copy(std::as_bytes(std::span(name)), entry + kDirectoryNameAt);
    entry += kDirectoryEntryBytes;
  }
  set_item(Item::kFileDirectory, std::move(directory));
}

void FwCfg::reset() {
  const MutexLock lock(mutex_);
  state_ = State();
}

// --- What is selected ---

void FwCfg::select(uint16_t item) {
  state_.selected = item;
  state_.offset = 0;
}

// Of an item that is not there, and past the end of one that is: nothing, which reads as zeroes.
std::span<const std::byte> FwCfg::rest() const {
  const auto place = items_.find(state_.selected);
  if (place == items_.end() || state_.offset >= place->second.size()) {
    return {};
  }
  return std::span(place->second).subspan(state_.offset);
}

void FwCfg::advance(uint32_t bytes) {
  state_.offset += std::min(bytes, static_cast<uint32_t>(rest().size()));
}

std::byte FwCfg::next_byte() {
  const auto left = rest();
  const std::byte value = left.empty() ? std::byte{0} : left.front();
  advance(1);
  return value;
}

// --- Ports ---

void FwCfg::read_port(uint64_t offset, std::span<std::byte> data) {
  const MutexLock lock(mutex_);
  for (size_t i = 0; i < data.size(); ++i) {
    // The selector cannot be read.
    data[i] = offset + i == 1 ? next_byte() : std::byte{0};
  }
}

void FwCfg::write_port(uint64_t offset, std::span<const std::byte> data) {
  if (offset == 0 && data.size() == sizeof(uint16_t)) {
    const MutexLock lock(mutex_);
    select(load_le<uint16_t>(data.data()));
  }
}

void FwCfg::read_dma_port(uint64_t offset, std::span<std::byte> data) {
  std::array<std::byte, kDmaPorts> signature{};
  store_be<uint64_t>(signature.data(), kDmaSignature);
  std::ranges::copy(std::span(signature).subspan(offset, data.size()), data.begin());
}

// --- DMA ---

// Two big-endian halves, of which the lower one starts the transfer; or both at once.
void FwCfg::write_dma_port(uint64_t offset, std::span<const std::byte> data) {
  const MutexLock lock(mutex_);
  if (offset == 0 && data.size() == sizeof(uint64_t)) {
    state_.dma_address = load_be<uint64_t>(data.data());
  } else if (offset == 0 && data.size() == sizeof(uint32_t)) {
    state_.dma_address = uint64_t{load_be<uint32_t>(data.data())} << 32U;
    return;
  } else if (offset == sizeof(uint32_t) && data.size() == sizeof(uint32_t)) {
    state_.dma_address |= load_be<uint32_t>(data.data());
  } else {
    return;
  }
  run_dma(GuestAddress(std::exchange(state_.dma_address, 0)));
}

void FwCfg::run_dma(GuestAddress descriptor) {
  std::array<std::byte, kDmaDescriptorBytes> access{};
  if (!memory_.read_bytes(descriptor, access)) {
    return;  // there is no place for an answer
  }
  const auto control = load_be<uint32_t>(access.data());
  const auto length = load_be<uint32_t>(access.data() + 4);
  const GuestAddress address(load_be<uint64_t>(access.data() + 8));
  if ((control & kDmaSelect) != 0) {
    select(static_cast<uint16_t>(control >> kDmaSelectShift));
  }
  bool is_good = true;
  if ((control & kDmaRead) != 0) {
    is_good = copy_to_guest(address, length);
  } else if ((control & kDmaWrite) != 0) {
    is_good = false;
  } else if ((control & kDmaSkip) != 0) {
    advance(length);
  }
  std::array<std::byte, sizeof(uint32_t)> answer{};
  store_be<uint32_t>(answer.data(), is_good ? 0 : kDmaError);
  static_cast<void>(memory_.write_bytes(descriptor, answer));
}

bool FwCfg::copy_to_guest(GuestAddress to, uint32_t bytes) {
  if (bytes > kMaxDmaBytes || !memory_.contains(to, bytes)) {
    return bytes == 0;
  }
  const auto content = rest().first(std::min<size_t>(rest().size(), bytes));
  const bool is_done =
      memory_.write_bytes(to, content) &&
      memory_.fill(GuestAddress(to.value() + content.size()), bytes - content.size(), std::byte{0});
  advance(bytes);
  return is_done;
}

}  // namespace vmm
