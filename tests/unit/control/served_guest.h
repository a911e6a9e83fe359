// A fake guest with a control socket in a folder of its own.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "tests/unit/fakes/fake_guest.h"
#include "vmm/base/event_loop.h"
#include "vmm/control/control_server.h"

namespace vmm::control {

class ServedGuest : public testing::Test {
 protected:
  ServedGuest() {
    std::string pattern = "/tmp/vmm-control.XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    path_ = (folder_ / "control").native();
    auto loop = EventLoop::create();
    EXPECT_TRUE(loop.has_value());
    loop_ = std::move(*loop);
    auto listener = ControlServer::listen(path_);
    EXPECT_TRUE(listener.has_value()) << listener.error().message();
    auto server = ControlServer::create(*loop_, guest_, std::move(*listener));
    EXPECT_TRUE(server.has_value()) << server.error().message();
    server_ = std::move(*server);
  }
  ~ServedGuest() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::filesystem::path folder_;
  std::string path_;
  FakeGuest guest_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<ControlServer> server_;
};

}  // namespace vmm::control
