// What qemu-img check says of states that crashes leave: no errors; leaks are allowed.
#pragma once

#include <string>
#include <vector>

#include "tests/unit/block/disk_harness.h"
#include "tests/unit/block/qcow2/crash_options.h"
#include "tests/unit/block/qemu_tools.h"

namespace vmm::block::qcow2 {

class QemuJudge {
 public:
  // Judges so many states at most: each costs a process.
  explicit QemuJudge(uint64_t most) : left_(run_tool({"qemu-img", "--version"}).status == 0 ? most : 0) {}

  bool has_time() const { return left_ > 0; }
  uint64_t judged() const { return judged_; }

  void judge(const std::vector<std::byte>& image, const WorldOptions& options) {
    --left_;
    ++judged_;
    write_file(folder_.file("image"), image);
    write_file(folder_.file("base.raw"), base_content(options.base_sectors));
    std::string node = "driver=qcow2,file.filename=" + folder_.file("image");
    node += options.cipher ? ",encrypt.key-secret=s" : "";
    const ToolResult result =
        run_tool({"qemu-img", "check", "--object", std::string("secret,id=s,data=") + kCrashPassphrase,
                  "--image-opts", node});
    constexpr int kLeaks = 3;
    EXPECT_TRUE(result.status == 0 || result.status == kLeaks) << "qemu-img check: " << result.output;
  }

 private:
  TemporaryFolder folder_;
  uint64_t left_;
  uint64_t judged_ = 0;
};

}  // namespace vmm::block::qcow2
