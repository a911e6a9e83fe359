#include "vmm/net/vhost_net.h"

#include <fcntl.h>
#include <sys/ioctl.h>
// Without its code for old drivers, which is not C++.
#define VIRTIO_RING_NO_LEGACY
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>

#include "vmm/base/check.h"

namespace vmm::net {
namespace {

constexpr const char* kVhostPath = "/dev/vhost-net";
constexpr int kNobody = VHOST_FILE_UNBIND;
constexpr unsigned kMergeableBuffers = 15;  // VIRTIO_NET_F_MRG_RXBUF; linux/virtio_net.h is not C++

constexpr uint64_t vhost_bit(unsigned number) { return uint64_t{1} << number; }

// What the rings and the headers of a driver may be like. What is left to do to packets is the tap's affair.
constexpr uint64_t kRingFeatures = vhost_bit(VIRTIO_RING_F_INDIRECT_DESC) |
                                   vhost_bit(VIRTIO_RING_F_EVENT_IDX) | vhost_bit(VIRTIO_F_VERSION_1) |
                                   vhost_bit(kMergeableBuffers);

// Sections 2.7.5, 2.7.6 and 2.7.8 of virtio 1.2, with the event fields.
constexpr uint64_t descriptors_bytes(uint64_t size) { return 16 * size; }
constexpr uint64_t available_ring_bytes(uint64_t size) { return 4 + 2 * size + 2; }
constexpr uint64_t used_ring_bytes(uint64_t size) { return 4 + 8 * size + 2; }

class KernelHandle final : public VhostHandle {
 public:
  explicit KernelHandle(UniqueFd fd) : fd_(std::move(fd)) {}
  int control(unsigned long request, void* argument) override {
    return ::ioctl(fd_.get(), request, argument) == 0 ? 0 : errno;
  }

 private:
  UniqueFd fd_;
};

Status order(VhostHandle& handle, std::string_view what, unsigned long request, void* argument) {
  const int error = handle.control(request, argument);
  if (error != 0) {
    return fail("vhost does not take {}: {}", what, errno_text(error));
  }
  return {};
}

Status set_file(VhostHandle& handle, std::string_view what, unsigned long request, unsigned index, int fd) {
  vhost_vring_file file{};
  file.index = index;
  file.fd = fd;
  return order(handle, what, request, &file);
}

// To kicks. Without its tap the kernel does nothing for them anyway.
void stop_listening(VhostHandle& handle, unsigned index) {
  vhost_vring_file file{};
  file.index = index;
  file.fd = kNobody;
  handle.control(VHOST_SET_VRING_KICK, &file);
}

Status set_state(VhostHandle& handle, std::string_view what, unsigned long request, unsigned index,
                 unsigned value) {
  vhost_vring_state state{};
  state.index = index;
  state.num = value;
  return order(handle, what, request, &state);
}

Status set_memory_table(VhostHandle& handle, const GuestMemory& memory) {
  const std::vector<GuestMemory::Region>& regions = memory.regions();
  // The head of the table and its entries have the same alignment, and no padding.
  std::vector<uint64_t> table((sizeof(vhost_memory) + regions.size() * sizeof(vhost_memory_region)) /
                              sizeof(uint64_t));
  const auto count = static_cast<uint32_t>(regions.size());
  static_assert(offsetof(vhost_memory, nregions) == 0);
  std::memcpy(table.data(), &count, sizeof count);
  auto* to = reinterpret_cast<std::byte*>(table.data()) + sizeof(vhost_memory);
  for (const GuestMemory::Region& region : regions) {
    vhost_memory_region entry{};
    entry.guest_phys_addr = region.start.value();
    entry.memory_size = region.mapping.size();
    entry.userspace_addr = reinterpret_cast<uint64_t>(region.mapping.data());
    std::memcpy(to, &entry, sizeof entry);
    to += sizeof entry;
  }
  return order(handle, "the guest's memory", VHOST_SET_MEM_TABLE, table.data());
}

Status prepare(VhostHandle& handle, const GuestMemory& memory) {
  VMM_TRY(order(handle, "this process", VHOST_SET_OWNER, nullptr));
  uint64_t features = 0;
  VMM_TRY(order(handle, "a question", VHOST_GET_FEATURES, &features));
  if ((features & kRingFeatures) != kRingFeatures) {
    return fail("vhost of this host's kernel is too old: it has the features {:#x}, and {:#x} are needed",
                features, kRingFeatures);
  }
  return set_memory_table(handle, memory);
}

}  // namespace

Result<std::unique_ptr<VhostHandle>> open_vhost_handle() {
  UniqueFd fd(::open(kVhostPath, O_RDWR | O_CLOEXEC));
  if (!fd) {
    const int error = errno;
    const bool is_missing = error == ENOENT || error == ENODEV || error == ENXIO;
    return fail("{}: {}{}", kVhostPath, errno_text(error),
                is_missing        ? "; load the host's module vhost_net (modprobe vhost_net)"
                : error == EACCES ? "; its group may use it (ls -l /dev/vhost-net)"
                                  : "");
  }
  return std::make_unique<KernelHandle>(std::move(fd));
}

VhostNet::VhostNet(const GuestMemory& memory, std::vector<Pair> pairs)
    : memory_(memory), pairs_(std::move(pairs)) {}

Result<std::unique_ptr<VhostNet>> VhostNet::create(const GuestMemory& memory, std::vector<UniqueFd> taps,
                                                   std::vector<std::unique_ptr<VhostHandle>> handles) {
  VMM_CHECK(!taps.empty() && taps.size() == handles.size(), "one vhost for each queue of a tap");
  std::vector<Pair> pairs;
  for (size_t i = 0; i < taps.size(); ++i) {
    VMM_TRY(prepare(*handles[i], memory));
    pairs.push_back({.tap = std::move(taps[i]), .handle = std::move(handles[i])});
  }
  return std::unique_ptr<VhostNet>(new VhostNet(memory, std::move(pairs)));
}

Result<std::unique_ptr<VhostNet>> VhostNet::open(const GuestMemory& memory, std::vector<UniqueFd> taps) {
  std::vector<std::unique_ptr<VhostHandle>> handles;
  while (handles.size() < taps.size()) {
    VMM_ASSIGN_OR_RETURN(auto handle, open_vhost_handle());
    handles.push_back(std::move(handle));
  }
  return create(memory, std::move(taps), std::move(handles));
}

Status VhostNet::set_addresses(VhostHandle& handle, unsigned index, const HostedRing& ring) {
  const auto descriptors = memory_.io_buffer({ring.descriptors, descriptors_bytes(ring.size)});
  const auto available = memory_.io_buffer({ring.available, available_ring_bytes(ring.size)});
  const auto used = memory_.io_buffer({ring.used, used_ring_bytes(ring.size)});
  VMM_CHECK(descriptors && available && used, "a ring was not checked");
  vhost_vring_addr addresses{};
  addresses.index = index;
  addresses.desc_user_addr = reinterpret_cast<uint64_t>(descriptors->iov_base);
  addresses.avail_user_addr = reinterpret_cast<uint64_t>(available->iov_base);
  addresses.used_user_addr = reinterpret_cast<uint64_t>(used->iov_base);
  return order(handle, "the place of a ring", VHOST_SET_VRING_ADDR, &addresses);
}

// The tap comes last: with it the kernel begins.
Status VhostNet::set_up(Pair& pair, unsigned index, const HostedRing& ring, uint64_t features) {
  VhostHandle& handle = *pair.handle;
  if (pair.taken == 0) {
    uint64_t wanted = features & kRingFeatures;
    VMM_TRY(order(handle, "the driver's features", VHOST_SET_FEATURES, &wanted));
  }
  VMM_TRY(set_state(handle, "the size of a ring", VHOST_SET_VRING_NUM, index, ring.size));
  VMM_TRY(set_state(handle, "the index of a ring", VHOST_SET_VRING_BASE, index, ring.next_available));
  VMM_TRY(set_addresses(handle, index, ring));
  VMM_TRY(set_file(handle, "an eventfd", VHOST_SET_VRING_CALL, index, ring.call.fd()));
  VMM_TRY(set_file(handle, "an eventfd", VHOST_SET_VRING_ERR, index, ring.error.fd()));
  VMM_TRY(set_file(handle, "an eventfd", VHOST_SET_VRING_KICK, index, ring.kick.fd()));
  return set_file(handle, "the tap", VHOST_NET_SET_BACKEND, index, pair.tap.get());
}

Status VhostNet::take(uint16_t number, const HostedRing& ring, uint64_t features) {
  Pair& pair = pair_of(number);
  const unsigned index = number % kRingsOfPair;
  Status done = set_up(pair, index, ring, features);
  if (done) {
    ++pair.taken;
  } else {
    stop_listening(*pair.handle, index);
  }
  return done;
}

Status VhostNet::set_call(uint16_t number, const EventFd& call) {
  return set_file(*pair_of(number).handle, "an eventfd", VHOST_SET_VRING_CALL, number % kRingsOfPair,
                  call.fd());
}

// Without its tap, the kernel has done with the ring what it began.
Result<uint16_t> VhostNet::give_back(uint16_t number) {
  Pair& pair = pair_of(number);
  VhostHandle& handle = *pair.handle;
  const unsigned index = number % kRingsOfPair;
  --pair.taken;
  VMM_TRY(set_file(handle, "the end of a ring", VHOST_NET_SET_BACKEND, index, kNobody));
  stop_listening(handle, index);
  vhost_vring_state state{};
  state.index = index;
  VMM_TRY(order(handle, "a question for its index", VHOST_GET_VRING_BASE, &state));
  return static_cast<uint16_t>(state.num);
}

}  // namespace vmm::net
