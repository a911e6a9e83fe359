#include "vmm/control/ctl.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/unit/control/served_guest.h"
#include "tests/unit/fakes/loop_thread.h"
#include "vmm/base/unix_socket.h"
#include "vmm/control/qmp_client.h"

namespace vmm::control {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::internal::CaptureStdout;
using ::testing::internal::GetCapturedStdout;

// The guest's loop runs while a command does, and stands still between them.
class Ctl : public ServedGuest {
 protected:
  // What it printed, or why it failed.
  std::string run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), path_);
    const LoopThread thread(*loop_);
    CaptureStdout();
    const Status status = run_ctl(arguments);
    const std::string printed = GetCapturedStdout();
    return status ? printed : "error: " + status.error().message();
  }
};

TEST_F(Ctl, TellsTheStatus) {
  const std::string printed = run({"status"});
  EXPECT_THAT(printed, HasSubstr("fake: running"));
  EXPECT_THAT(printed, HasSubstr("hdc      cdrom   /one.iso"));
  EXPECT_THAT(printed, HasSubstr("hdd      cdrom   (no disc)"));
  EXPECT_THAT(printed, HasSubstr("serial0  console pty:/dev/pts/3"));
}

TEST_F(Ctl, Ejects) {
  EXPECT_EQ(run({"eject", "hdc"}), "hdc: no disc\n");
  EXPECT_TRUE(guest_.find("hdc").file.empty());
}

TEST_F(Ctl, WaitsForAGuestThatHoldsItsDisc) {
  guest_.find("hdc").is_locked = true;
  EXPECT_EQ(run({"eject", "hdc"}), "hdc: no disc\n");
  EXPECT_THAT(guest_.done_, ElementsAre("asked hdc"));
}

TEST_F(Ctl, TakesADiscThatIsLockedNoMore) {
  guest_.find("hdc").is_locked = true;
  guest_.lets_go_ = false;
  guest_.unlocks_ = true;
  EXPECT_EQ(run({"eject", "hdc"}), "hdc: no disc\n");
  EXPECT_TRUE(guest_.find("hdc").file.empty());
  EXPECT_THAT(guest_.done_, ElementsAre("asked hdc"));
}

TEST_F(Ctl, TakesALockedDiscByForce) {
  guest_.find("hdc").is_locked = true;
  guest_.lets_go_ = false;
  EXPECT_EQ(run({"eject", "--force", "hdc"}), "hdc: no disc\n");
}

TEST_F(Ctl, InsertsIntoAnEmptyDriveOnly) {
  EXPECT_THAT(run({"insert", "hdc", "/two.iso"}), HasSubstr("error: hdc holds /one.iso"));
  EXPECT_EQ(run({"insert", "hdd", "/two.iso"}), "hdd: /two.iso\n");
}

TEST_F(Ctl, ChangesADiscThatTheGuestHolds) {
  guest_.find("hdc").is_locked = true;
  EXPECT_EQ(run({"change", "hdc", "/two.iso", "--format", "qcow2"}), "hdc: /two.iso\n");
  EXPECT_EQ(guest_.find("hdc").format, domain::ImageFormat::kQcow2);
}

TEST_F(Ctl, AFileThatIsMissingChangesNothing) {
  EXPECT_THAT(run({"change", "hdc", "missing.iso"}), HasSubstr("error: cannot open /"));
  EXPECT_EQ(guest_.find("hdc").file, "/one.iso");
  EXPECT_FALSE(guest_.find("hdc").is_tray_open);
}

TEST_F(Ctl, TheOnlyDriveNeedsNoName) {
  EXPECT_THAT(run({"eject"}), HasSubstr("has 2 CD-ROM drives; name one"));
  guest_.drives_.pop_back();
  EXPECT_EQ(run({"eject"}), "hdc: no disc\n");
  EXPECT_THAT(run({"eject", "vda"}), HasSubstr("no CD-ROM drive"));
  EXPECT_THAT(run({"eject", "sdx"}), HasSubstr("has no disk 'sdx'"));
}

TEST_F(Ctl, PressesButtons) {
  run({"shutdown"});
  run({"reset"});
  run({"boot-once", "vda"});
  run({"kill"});
  EXPECT_THAT(guest_.done_, ElementsAre("power_down", "reset", "boot once vda", "quit"));
}

TEST_F(Ctl, TellsItsInterfaces) {
  guest_.interfaces_ = {{.name = "net0", .target = "tap0", .mac = {0x52, 0x54, 0, 0, 0, 1}},
                        {.name = "net1", .mac = {0x52, 0x54, 0, 0, 0, 2}, .is_link_up = false}};
  const std::string printed = run({"status"});
  EXPECT_THAT(printed, HasSubstr("  net0     net     52:54:00:00:00:01 at tap0\n"));
  EXPECT_THAT(printed, HasSubstr("  net1     net     52:54:00:00:00:02 (the link is down)\n"));
  EXPECT_EQ(json::parse(run({"status", "--output", "json"}))["interfaces"],
            json::parse(R"([{"name":"net0","mac":"52:54:00:00:00:01","link-up":true,"target":"tap0"},
                            {"name":"net1","mac":"52:54:00:00:00:02","link-up":false}])"));
}

TEST_F(Ctl, PullsTheCableOfAnInterface) {
  EXPECT_THAT(run({"link", "down"}), HasSubstr("error: the guest has no network interface"));
  guest_.interfaces_ = {{.name = "net0"}};
  EXPECT_EQ(run({"link", "down"}), "");
  EXPECT_FALSE(guest_.interfaces_[0].is_link_up);
  guest_.interfaces_.push_back({.name = "lan"});
  EXPECT_THAT(run({"link", "down"}), HasSubstr("say which (net0, lan)"));
  run({"link", "lan", "down"});
  EXPECT_FALSE(guest_.interfaces_[1].is_link_up);
  run({"link", "net0", "up"});
  EXPECT_TRUE(guest_.interfaces_[0].is_link_up);
  EXPECT_THAT(run({"link", "net7", "up"}), HasSubstr("error: Device 'net7' not found"));
  EXPECT_THAT(run({"link", "net0", "sideways"}), HasSubstr("error: link sideways: up and down can be"));
}

TEST_F(Ctl, PausesAndResumes) {
  EXPECT_EQ(run({"pause"}), "");
  EXPECT_EQ(guest_.state_, Guest::State::kPaused);
  EXPECT_THAT(run({"status"}), HasSubstr("fake: paused"));
  EXPECT_EQ(run({"resume"}), "");
  EXPECT_EQ(guest_.state_, Guest::State::kRunning);
  run({"nmi"});
  EXPECT_THAT(guest_.done_, ElementsAre("nmi"));
  guest_.state_ = Guest::State::kKept;
  EXPECT_THAT(run({"resume"}), HasSubstr("error: the guest has ended"));
}

TEST_F(Ctl, SpeaksJsonToPrograms) {
  const json status = json::parse(run({"status", "--output=json"}));
  EXPECT_EQ(status["name"], "fake");
  EXPECT_EQ(status["status"], "running");
  EXPECT_EQ(status["drives"][0]["inserted"]["drv"], "qcow2");
  EXPECT_EQ(json::parse(run({"pause", "--output", "json"})), json::object());
  EXPECT_EQ(json::parse(run({"eject", "--output=json", "hdc"})), json::parse(R"({"device":"hdc"})"));
  EXPECT_THAT(run({"status", "--output", "xml"}), HasSubstr("error: --output xml: human and json can be"));
  EXPECT_THAT(run({"status", "--output"}), HasSubstr("error: --output: a value is missing"));
}

TEST_F(Ctl, LimitsThrowawayDisks) {
  guest_.throwaway_ = Guest::Throwaway{.used_bytes = 3 << 20, .limit_bytes = 4 << 20};
  run({"ephemeral-limit", "2G"});
  EXPECT_EQ(guest_.throwaway_->limit_bytes, uint64_t{2} << 30U);
  run({"ephemeral-limit", "none"});
  EXPECT_FALSE(guest_.throwaway_->limit_bytes);
  EXPECT_THAT(run({"ephemeral-limit", "much"}), HasSubstr("error: 'much' is no size"));
  guest_.throwaway_->limit_bytes = uint64_t{4} << 20U;
  EXPECT_THAT(run({"status"}), HasSubstr("throwaway: 3 MiB written of at most 4 MiB"));
}

TEST_F(Ctl, LimitsDisks) {
  EXPECT_EQ(run({"throttle", "vda"}), "vda: no limits\n");
  EXPECT_EQ(run({"throttle", "vda", "--read-bytes-sec", "10M", "--read-bytes-sec-max=20M", "--total-iops-sec",
                 "500"}),
            "vda:\n"
            "  read-bytes-sec             10 MiB\n"
            "  read-bytes-sec-max         20 MiB\n"
            "  total-iops-sec             500\n");
  EXPECT_EQ(guest_.find("vda").limits->read_bytes.per_second, 10U << 20U);
  EXPECT_EQ(guest_.find("vda").limits->total_operations.per_second, 500U);

  // What is said of operations leaves bytes alone, and the other way round.
  run({"throttle", "vda", "--write-iops-sec=7", "--size-iops-sec=4K"});
  EXPECT_EQ(guest_.find("vda").limits->read_bytes.burst_per_second, 20U << 20U);
  EXPECT_EQ(guest_.find("vda").limits->total_operations.per_second, 0U);
  EXPECT_EQ(guest_.find("vda").limits->operation_bytes, 4096U);
  const json told = json::parse(run({"throttle", "vda", "--total-bytes-sec", "1G", "--output=json"}));
  EXPECT_EQ(told["device"], "vda");
  EXPECT_EQ(told["total_bytes_sec"], 1U << 30U);
  EXPECT_EQ(told["read_bytes_sec"], 0);
  EXPECT_EQ(told["write_iops_sec"], 7);
  EXPECT_EQ(run({"throttle", "vda", "--total-bytes-sec=0", "--total-iops-sec=0"}), "vda: no limits\n");
  EXPECT_FALSE(guest_.find("vda").limits);
}

TEST_F(Ctl, SaysWhatIsWrongWithALimit) {
  EXPECT_THAT(run({"throttle", "vdz"}), HasSubstr("error: the guest has no disk 'vdz'"));
  EXPECT_THAT(run({"throttle", "vda", "--read-bytes-sec"}),
              HasSubstr("a value is missing behind --read-bytes-sec"));
  EXPECT_THAT(run({"throttle", "vda", "--read-iops-sec", "many"}),
              HasSubstr("--read-iops-sec many: a number is needed"));
  EXPECT_THAT(run({"throttle", "vda", "--read-iops"}), HasSubstr("there is no option --read-iops"));
  EXPECT_THAT(run({"throttle", "vda", "--read-iops-sec-max", "9"}), HasSubstr("error: "));
}

TEST_F(Ctl, TellsWhatAGuestUses) {
  EXPECT_THAT(run({"stats"}),
              HasSubstr("fake: running, CPU 0.0 %\n  memory 256 MiB, of which vmm has 64 MiB; the "
                        "balloon took 16 MiB\n"));
  const json report = json::parse(run({"stats", "--output=json"}));
  EXPECT_EQ(report["vcpus"].size(), 2U);
  EXPECT_EQ(report["disks"][0]["device"], "vda");
  for (const char* wrong : {"--watch=0", "--watch=x", "--watch=-1", "--watch=1.5", "--watch=99999999999"}) {
    EXPECT_THAT(run({"stats", wrong}), HasSubstr("seconds can be")) << wrong;
  }
  EXPECT_THAT(run({"stats", "--watch", "often"}), HasSubstr("1 arguments are too many"));
}

TEST_F(Ctl, BehindTwoDashesAllAreArguments) {
  EXPECT_THAT(run({"change", "hdc", "--", "--two.iso"}), HasSubstr("/--two.iso\n"));
  EXPECT_THAT(run({"change", "hdc", "--", "-h"}), HasSubstr("/-h\n"));
  EXPECT_THAT(run({"change", "--force", "--", "hdc", "-x.iso"}), HasSubstr("/-x.iso\n"));
  const Status status = run_ctl(std::vector<std::string>{"--", "-no-such-guest", "status"});
  ASSERT_FALSE(status.has_value());
  EXPECT_THAT(status.error().message(), HasSubstr("no guest of the name '-no-such-guest' runs"));
}

TEST_F(Ctl, PrintsNoControlCharactersOfNames) {
  guest_.find("hdc").layers.front().path = "/a\nb\x1b[2J.iso";
  EXPECT_THAT(run({"status"}), HasSubstr("hdc      cdrom   /a?b?[2J.iso\n"));
  EXPECT_THAT(run({"insert", "hdc", "/two.iso"}), HasSubstr("error: hdc holds /a?b?[2J.iso;"));
}

TEST_F(Ctl, WrongUsesAreOfTheCommandLine) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{},
                                                    {"x"},
                                                    {"x", "dance"},
                                                    {"x", "eject", "a", "b"},
                                                    {"x", "insert"},
                                                    {"x", "status", "--force"},
                                                    {"x", "ephemeral-limit"},
                                                    {"x", "change", "f", "--format"},
                                                    {"x", "change", "f", "--format", "vmdk"},
                                                    {"x", "change", "hdc", ""},
                                                    {"x", "eject", ""},
                                                    {"x", "console", "a", "b"},
                                                    {"x", "console", "--format", "raw"},
                                                    {"x", "boot-once", "--", "--force", "hdc"}}) {
    const Status status = run_ctl(arguments);
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().kind(), ErrorKind::kConfiguration) << status.error().message();
  }
}

TEST_F(Ctl, ASocketThatAKilledVmmLeftIsNoGuest) {
  const std::string path = folder_ / "left";
  {
    const auto listener = UnixListener::listen("a socket", path);
    ASSERT_TRUE(listener.has_value());
    std::filesystem::create_hard_link(path, folder_ / "again");
  }
  const Status status = run_ctl(std::vector<std::string>{folder_ / "again", "status"});
  ASSERT_FALSE(status.has_value());
  EXPECT_THAT(status.error().message(), HasSubstr("no guest of the name"));
}

TEST_F(Ctl, AFileThatIsNoSocketIsNothingThatWasLeft) {
  const std::string path = folder_ / "file";
  std::ofstream(path) << "text";
  const Status status = run_ctl(std::vector<std::string>{path, "status"});
  ASSERT_FALSE(status.has_value());
  EXPECT_THAT(status.error().message(), HasSubstr("it is no socket"));
}

// A vmm that hangs: it listens, and answers nothing.
TEST_F(Ctl, AVmmThatDoesNotAnswerIsToldByItsProcess) {
  const std::string path = folder_ / "hangs";
  const auto listener = UnixListener::listen("a socket", path);
  ASSERT_TRUE(listener.has_value());
  const auto client = QmpClient::connect(path, std::chrono::milliseconds(1));
  ASSERT_FALSE(client.has_value());
  EXPECT_THAT(client.error().message(),
              HasSubstr(fmt::format("vmm (process {}) does not answer", ::getpid())));
}

TEST_F(Ctl, APathWithTwoDotsIsTheKernelsToRead) {
  const std::filesystem::path there = folder_ / "there" / "deep";
  std::filesystem::create_directories(there);
  std::filesystem::create_directory_symlink(there, folder_ / "link");
  const std::string name = folder_ / "link" / ".." / "top.qcow2";
  run({"snapshot", "vda", name});
  EXPECT_EQ(guest_.disk_jobs()->asked.back(), "snapshot vda " + name);
  run({"snapshot", "vda", folder_ / "." / "top.qcow2"});
  EXPECT_EQ(guest_.disk_jobs()->asked.back(),
            fmt::format("snapshot vda {}", (folder_ / "top.qcow2").native()));
}

TEST(CtlWithoutGuest, SaysThatNoneRuns) {
  const std::vector<std::string> arguments = {"no-such-guest-runs", "status"};
  const Status status = run_ctl(arguments);
  ASSERT_FALSE(status.has_value());
}

TEST(CtlWithoutGuest, SaysWhereItCannotConnect) {
  const std::vector<std::string> arguments = {"./no-such-socket", "status"};
  const Status status = run_ctl(arguments);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().message(),
            "cannot connect to the control socket ./no-such-socket: No such file or directory");
}

}  // namespace
}  // namespace vmm::control
