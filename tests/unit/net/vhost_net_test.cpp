// What the kernel's vhost-net is told, in what order; with one that only notes it.
#include "vmm/net/vhost_net.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#define VIRTIO_RING_NO_LEGACY
#include <linux/vhost.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "tests/unit/fakes/guest_ram.h"

namespace vmm::net {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kMergeable = uint64_t{1} << 15U;
constexpr uint64_t kIndirect = uint64_t{1} << 28U;
constexpr uint64_t kEventIndex = uint64_t{1} << 29U;
constexpr uint64_t kModern = uint64_t{1} << 32U;
constexpr uint64_t kOfNet = uint64_t{1} << 5U;  // VIRTIO_NET_F_MAC: nothing to vhost

// What vhost holds. It outlives the handle, which is given away.
struct Told {
  struct Ring {
    unsigned size = 0;
    unsigned base = 0;
    vhost_vring_addr addresses{};
    int kick = -1;
    int call = -1;
    int error = -1;
    int tap = -1;
  };
  std::vector<unsigned long> requests;
  std::vector<vhost_memory_region> memory;
  uint64_t has_features = kMergeable | kIndirect | kEventIndex | kModern;
  uint64_t features = 0;
  std::array<Ring, 2> rings;
  unsigned long refused = 0;  // a request
};

class NotingHandle final : public VhostHandle {
 public:
  explicit NotingHandle(Told& told) : told_(told) {}

  int control(unsigned long request, void* argument) override {
    told_.requests.push_back(request);
    if (request == told_.refused) {
      return EINVAL;
    }
    switch (request) {
      case VHOST_SET_OWNER:
        return argument == nullptr ? 0 : EFAULT;
      case VHOST_GET_FEATURES:
        *static_cast<uint64_t*>(argument) = told_.has_features;
        return 0;
      case VHOST_SET_FEATURES:
        told_.features = *static_cast<uint64_t*>(argument);
        return 0;
      case VHOST_SET_MEM_TABLE:
        return note_memory(argument);
      case VHOST_SET_VRING_ADDR: {
        const auto* const addresses = static_cast<vhost_vring_addr*>(argument);
        told_.rings.at(addresses->index).addresses = *addresses;
        return 0;
      }
      case VHOST_SET_VRING_NUM:
      case VHOST_SET_VRING_BASE:
      case VHOST_GET_VRING_BASE:
        return note_state(request, *static_cast<vhost_vring_state*>(argument));
      default:
        return note_file(request, *static_cast<vhost_vring_file*>(argument));
    }
  }

 private:
  int note_memory(void* argument) {
    uint32_t count = 0;  // the first field
    std::memcpy(&count, argument, sizeof count);
    told_.memory.resize(count);
    std::memcpy(told_.memory.data(), static_cast<std::byte*>(argument) + sizeof(vhost_memory),
                count * sizeof(vhost_memory_region));
    return 0;
  }
  int note_state(unsigned long request, vhost_vring_state& state) {
    Told::Ring& ring = told_.rings.at(state.index);
    if (request == VHOST_SET_VRING_NUM) {
      ring.size = state.num;
    } else if (request == VHOST_SET_VRING_BASE) {
      ring.base = state.num;
    } else {
      state.num = ring.base;
    }
    return 0;
  }
  int note_file(unsigned long request, const vhost_vring_file& file) {
    const std::map<unsigned long, int Told::Ring::*> places = {{VHOST_SET_VRING_KICK, &Told::Ring::kick},
                                                               {VHOST_SET_VRING_CALL, &Told::Ring::call},
                                                               {VHOST_SET_VRING_ERR, &Told::Ring::error},
                                                               {VHOST_NET_SET_BACKEND, &Told::Ring::tap}};
    told_.rings.at(file.index).*places.at(request) = file.fd;
    return 0;
  }

  Told& told_;
};

struct VhostRig {
  Result<std::unique_ptr<VhostNet>> create(size_t pairs = 1) {
    std::vector<UniqueFd> taps;
    std::vector<std::unique_ptr<VhostHandle>> handles;
    for (size_t i = 0; i < pairs; ++i) {
      taps.emplace_back(::open("/dev/null", O_RDWR | O_CLOEXEC));
      tap_fds.push_back(taps.back().get());
      handles.push_back(std::make_unique<NotingHandle>(told[i]));
    }
    return VhostNet::create(memory, std::move(taps), std::move(handles));
  }
  HostedRing ring(uint16_t next_available = 0) const {
    return {.size = 256,
            .descriptors = GuestAddress(0x10'2000),
            .available = GuestAddress(0x3000),
            .used = GuestAddress(0x4000),
            .next_available = next_available,
            .kick = kick,
            .call = call,
            .error = error};
  }

  GuestMemory memory = make_guest_ram({{0, 64U << 10}, {1U << 20, 64U << 10}});
  std::array<Told, 2> told;
  std::vector<int> tap_fds;
  EventFd kick = *EventFd::create();
  EventFd call = *EventFd::create();
  EventFd error = *EventFd::create();
};

TEST(VhostNetwork, KnowsTheGuestsMemory) {
  VhostRig rig;
  ASSERT_TRUE(rig.create());
  EXPECT_THAT(rig.told[0].requests, ElementsAre(VHOST_SET_OWNER, VHOST_GET_FEATURES, VHOST_SET_MEM_TABLE));
  ASSERT_EQ(rig.told[0].memory.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    const GuestMemory::Region& region = rig.memory.regions()[i];
    EXPECT_EQ(rig.told[0].memory[i].guest_phys_addr, region.start.value());
    EXPECT_EQ(rig.told[0].memory[i].memory_size, region.mapping.size());
    EXPECT_EQ(rig.told[0].memory[i].userspace_addr, reinterpret_cast<uint64_t>(region.mapping.data()));
  }
}

TEST(VhostNetwork, TakesARingAndItsTapLast) {
  VhostRig rig;
  auto vhost = *rig.create();
  rig.told[0].requests.clear();
  ASSERT_TRUE(vhost->take(1, rig.ring(7), kModern | kEventIndex | kOfNet));
  EXPECT_EQ(rig.told[0].features, kModern | kEventIndex);
  EXPECT_EQ(rig.told[0].requests.front(), VHOST_SET_FEATURES);
  EXPECT_EQ(rig.told[0].requests.back(), VHOST_NET_SET_BACKEND);
  const Told::Ring& ring = rig.told[0].rings[1];
  EXPECT_EQ(ring.size, 256U);
  EXPECT_EQ(ring.base, 7U);
  EXPECT_EQ(ring.kick, rig.kick.fd());
  EXPECT_EQ(ring.call, rig.call.fd());
  EXPECT_EQ(ring.error, rig.error.fd());
  EXPECT_EQ(ring.tap, rig.tap_fds[0]);
  const auto host_address = [&](size_t region, size_t offset) {
    return reinterpret_cast<uint64_t>(rig.memory.regions()[region].mapping.data() + offset);
  };
  EXPECT_EQ(ring.addresses.desc_user_addr, host_address(1, 0x2000));
  EXPECT_EQ(ring.addresses.avail_user_addr, host_address(0, 0x3000));
  EXPECT_EQ(ring.addresses.used_user_addr, host_address(0, 0x4000));
  EXPECT_EQ(rig.told[0].rings[0].tap, -1);
}

TEST(VhostNetwork, SaysWhereItIsWhenItGivesARingBack) {
  VhostRig rig;
  auto vhost = *rig.create();
  ASSERT_TRUE(vhost->take(0, rig.ring(), kModern));
  rig.told[0].rings[0].base = 0xfffe;
  rig.told[0].requests.clear();
  EXPECT_EQ(*vhost->give_back(0), 0xfffe);
  EXPECT_THAT(rig.told[0].requests,
              ElementsAre(VHOST_NET_SET_BACKEND, VHOST_SET_VRING_KICK, VHOST_GET_VRING_BASE));
  EXPECT_EQ(rig.told[0].rings[0].tap, -1);
  EXPECT_EQ(rig.told[0].rings[0].kick, -1);
}

TEST(VhostNetwork, HasAHandleForEachPair) {
  VhostRig rig;
  auto vhost = *rig.create(2);
  ASSERT_TRUE(vhost->take(3, rig.ring(), kModern));
  EXPECT_EQ(rig.told[0].rings[1].tap, -1);
  EXPECT_EQ(rig.told[1].rings[1].tap, rig.tap_fds[1]);
  const EventFd other = *EventFd::create();
  ASSERT_TRUE(vhost->set_call(3, other));
  EXPECT_EQ(rig.told[1].rings[1].call, other.fd());
}

// The kernel refuses other features while it serves a ring.
TEST(VhostNetwork, SetsFeaturesWhileNothingIsTaken) {
  VhostRig rig;
  auto vhost = *rig.create();
  ASSERT_TRUE(vhost->take(0, rig.ring(), kModern));
  ASSERT_TRUE(vhost->take(1, rig.ring(), kModern));
  EXPECT_EQ(std::ranges::count(rig.told[0].requests, VHOST_SET_FEATURES), 1);
  ASSERT_TRUE(vhost->give_back(0));
  ASSERT_TRUE(vhost->give_back(1));
  ASSERT_TRUE(vhost->take(0, rig.ring(), kModern | kMergeable));
  EXPECT_EQ(rig.told[0].features, kModern | kMergeable);
}

TEST(VhostNetwork, LeavesARingAloneThatItCannotTake) {
  VhostRig rig;
  auto vhost = *rig.create();
  rig.told[0].refused = VHOST_NET_SET_BACKEND;
  const Status done = vhost->take(0, rig.ring(), kModern);
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message(), HasSubstr("the tap"));
  EXPECT_EQ(rig.told[0].rings[0].kick, -1);
  rig.told[0].refused = 0;
  EXPECT_TRUE(vhost->take(0, rig.ring(), kModern));
}

TEST(VhostNetwork, OfAnOldKernelIsRefused) {
  VhostRig rig;
  rig.told[0].has_features = kIndirect | kEventIndex;
  const auto vhost = rig.create();
  ASSERT_FALSE(vhost);
  EXPECT_THAT(vhost.error().message(), HasSubstr("too old"));
}

}  // namespace
}  // namespace vmm::net
