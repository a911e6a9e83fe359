#include "devices/pci/settler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace vmm::pci {
namespace {

TEST(Settler, WhatIsWantedLastIsAppliedLast) {
  Settler settler;
  std::atomic<int> wanted{0};
  std::atomic<int> inside{0};
  std::atomic<bool> ran_twice_at_once{false};
  int applied = 0;
  const auto apply = [&] {
    ran_twice_at_once = ran_twice_at_once || inside.fetch_add(1) != 0;
    applied = wanted.load();
    inside.fetch_sub(1);
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        ++wanted;
        settler.settle(apply);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(applied, 15'000);
  EXPECT_FALSE(ran_twice_at_once);
}

TEST(Settler, AChangeMadeWhileApplyingIsAppliedToo) {
  Settler settler;
  int wanted = 1;
  int applied = 0;
  int turns = 0;
  const auto apply = [&] {
    applied = wanted;
    if (++turns == 1) {
      wanted = 2;
      settler.settle([] { FAIL() << "nested"; });
    }
  };
  settler.settle(apply);
  EXPECT_EQ(applied, 2);
  EXPECT_EQ(turns, 2);
}

}  // namespace
}  // namespace vmm::pci
