// Commands that change images, their jobs, and the events of these.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/unit/control/schema_check.h"
#include "tests/unit/fakes/fake_guest.h"
#include "vmm/control/qmp_job_events.h"
#include "vmm/control/qmp_session.h"

namespace vmm::control {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class QmpJobs : public testing::Test {
 protected:
  json ask(const std::string& text) { return json::parse(session_.answer(text)); }
  json run(const char* command, const json& arguments = json::object()) {
    json answer = ask(json{{"execute", command}, {"arguments", arguments}}.dump());
    if (answer.contains("return")) {
      const json told = schema_.find(command, "command");
      EXPECT_EQ(schema_.complaint(told.value("arg-type", ""), arguments), "") << command;
      EXPECT_EQ(schema_.complaint(told.value("ret-type", ""), answer["return"]), "") << command;
    }
    return answer;
  }
  void expect_done(const char* command, const json& arguments, const std::string& asked) {
    EXPECT_EQ(run(command, arguments), json::parse(R"({"return":{}})")) << command;
    ASSERT_FALSE(guest_.disk_jobs()->asked.empty()) << command;
    EXPECT_EQ(guest_.disk_jobs()->asked.back(), asked);
  }
  std::string refused(const char* command, const json& arguments) {
    const size_t before = guest_.disk_jobs()->asked.size();
    const json answer = run(command, arguments);
    EXPECT_TRUE(answer.contains("error")) << answer;
    EXPECT_EQ(guest_.disk_jobs()->asked.size(), before);
    return answer.contains("error") ? answer["error"]["desc"].get<std::string>() : "";
  }

  FakeGuest guest_;
  QmpSession session_{guest_};
  const SchemaCheck schema_{read_schema()};

 private:
  json read_schema() {
    session_.answer(R"({"execute":"qmp_capabilities"})");
    return ask(R"({"execute":"query-qmp-schema"})")["return"];
  }
};

TEST_F(QmpJobs, ImagesAreChangedByTheNameOfTheDiskOrOfItsNode) {
  expect_done("block_resize", {{"device", "vda"}, {"size", 1 << 21}}, "resize vda 2097152");
  expect_done("block_resize", {{"node-name", "#vda"}, {"size", 512}}, "resize vda 512");
  expect_done("blockdev-snapshot-sync", {{"device", "vda"}, {"snapshot-file", "/s"}, {"format", "qcow2"}},
              "snapshot vda /s");
  expect_done("blockdev-snapshot-sync",
              {{"node-name", "#vda"}, {"snapshot-file", "/s"}, {"mode", "existing"}},
              "snapshot vda /s existing");
}

TEST_F(QmpJobs, JobsBeginWithWhatTheyAreToDo) {
  expect_done("block-commit", {{"device", "vda"}}, "commit vda '' ''");
  expect_done("block-commit",
              {{"device", "vda"}, {"job-id", "one"}, {"top", "/disk.qcow2"}, {"base-node", "#vda.1"}},
              "commit vda '/disk.qcow2' '/base.raw'");
  expect_done("block-stream", {{"device", "vda"}, {"job-id", "two"}, {"base", "/base.raw"}, {"speed", 1000}},
              "stream vda '/base.raw'");
  expect_done("drive-backup", {{"device", "vda"}, {"job-id", "three"}, {"target", "/b"}, {"sync", "full"}},
              "backup vda /b qcow2");
  expect_done("blockdev-backup",
              {{"device", "vda"},
               {"job-id", "four"},
               {"target", "/b"},
               {"sync", "top"},
               {"format", "raw"},
               {"mode", "existing"}},
              "backup vda /b raw top existing");
  const json jobs = run("query-block-jobs")["return"];
  ASSERT_EQ(jobs.size(), 5U);
  EXPECT_EQ(jobs[0]["device"], "vda");
  EXPECT_EQ(jobs[0]["type"], "commit");
  EXPECT_EQ(jobs[2]["speed"], 1000);
  EXPECT_EQ(run("query-jobs")["return"][1]["id"], "one");
}

TEST_F(QmpJobs, JobsAreControlledByTheirIds) {
  run("block-commit", {{"device", "vda"}, {"job-id", "j"}, {"auto-dismiss", false}});
  expect_done("block-job-pause", {{"device", "j"}}, "pause j");
  expect_done("job-resume", {{"id", "j"}}, "resume j");
  expect_done("block-job-set-speed", {{"device", "j"}, {"speed", 5}}, "speed j 5");
  expect_done("block-job-cancel", {{"device", "j"}}, "cancel j");
  expect_done("block-job-cancel", {{"device", "j"}, {"force", true}}, "cancel j forced");
  expect_done("job-cancel", {{"id", "j"}}, "cancel j forced");
  expect_done("block-job-complete", {{"device", "j"}}, "complete j");
  expect_done("job-dismiss", {{"id", "j"}}, "dismiss j");
  // As QEMU 7.2 has it.
  json answer = run("block-job-pause", {{"device", "j"}});
  EXPECT_EQ(answer["error"]["class"], "DeviceNotActive");
  EXPECT_EQ(answer["error"]["desc"], "Block job 'j' not found");
  answer = run("job-pause", {{"id", "j"}});
  EXPECT_EQ(answer["error"]["class"], "GenericError");
  EXPECT_EQ(answer["error"]["desc"], "Job not found");
}

TEST_F(QmpJobs, WhatCannotBeIsRefused) {
  EXPECT_THAT(refused("block_resize", {{"device", "vda"}, {"node-name", "#vda"}, {"size", 512}}),
              HasSubstr("exactly one of 'device' and 'node-name'"));
  EXPECT_THAT(refused("block_resize", {{"size", 512}}), HasSubstr("exactly one of 'device' and 'node-name'"));
  EXPECT_THAT(refused("block_resize", {{"device", "vdz"}, {"size", 512}}),
              HasSubstr("Cannot find device='vdz' nor node-name=''"));
  EXPECT_EQ(run("block-commit", {{"device", "vdz"}})["error"]["class"], "DeviceNotFound");
  EXPECT_THAT(refused("block-commit", {{"device", "vda"}, {"job-id", "1 a"}}),
              HasSubstr("Invalid job ID '1 a'"));
  EXPECT_THAT(refused("blockdev-snapshot-sync", {{"device", "vda"}, {"snapshot-file", ""}}),
              HasSubstr("no file"));
  EXPECT_THAT(refused("block_resize", {{"node-name", "#vda.1"}, {"size", 512}}), HasSubstr("below"));
  EXPECT_THAT(refused("block_resize", {{"node-name", "none"}, {"size", 512}}), HasSubstr("node-name='none'"));
  EXPECT_THAT(refused("block_resize", {{"device", "vda"}, {"size", -1}}), HasSubstr("expects a >0 size"));
  EXPECT_THAT(refused("block-commit", {{"device", "vda"}, {"base", "/b"}, {"base-node", "#vda.1"}}),
              HasSubstr("either a node or a file"));
  EXPECT_THAT(refused("block-commit", {{"device", "vda"}, {"base-node", "#hdc"}}),
              HasSubstr("not in the chain"));
  EXPECT_THAT(refused("block-commit", {{"device", "vda"}, {"auto-finalize", false}}),
              HasSubstr("auto-finalize"));
  EXPECT_THAT(refused("block-stream", {{"device", "vda"}, {"on-error", "stop"}}),
              HasSubstr("does not accept"));
  EXPECT_THAT(refused("drive-backup", {{"device", "vda"}, {"target", "/b"}}), HasSubstr("'sync' is missing"));
  EXPECT_THAT(
      refused("blockdev-snapshot-sync", {{"device", "vda"}, {"snapshot-file", std::string("/a\0b", 4)}}),
      HasSubstr("NUL"));
  guest_.disk_jobs()->answer = fail("disk vda is busy");
  EXPECT_EQ(run("block-commit", {{"device", "vda"}})["error"]["desc"], "disk vda is busy");
}

TEST_F(QmpJobs, EventsHaveTheFieldsThatTheSchemaTells) {
  const DiskJob job{.id = "j",
                    .disk = "vda",
                    .kind = DiskJob::Kind::kStream,
                    .state = DiskJob::State::kAborting,
                    .done_bytes = 7,
                    .all_bytes = 9,
                    .error = "no room"};
  const auto line = [&](DiskJobEvent::Kind kind) {
    json event = json::parse(job_event_line({.kind = kind, .job = job}, {}));
    const json told = schema_.find(event["event"], "event");
    EXPECT_EQ(schema_.complaint(told.value("arg-type", ""), event["data"]), "") << event;
    event.erase("timestamp");
    return event.dump();
  };
  EXPECT_EQ(line(DiskJobEvent::Kind::kState),
            R"({"data":{"id":"j","status":"aborting"},"event":"JOB_STATUS_CHANGE"})");
  EXPECT_EQ(line(DiskJobEvent::Kind::kDismissed),
            R"({"data":{"id":"j","status":"null"},"event":"JOB_STATUS_CHANGE"})");
  EXPECT_EQ(line(DiskJobEvent::Kind::kCompleted),
            R"({"data":{"device":"j","error":"no room","len":9,"offset":7,"speed":0,"type":"stream"},)"
            R"("event":"BLOCK_JOB_COMPLETED"})");
  EXPECT_EQ(line(DiskJobEvent::Kind::kError),
            R"({"data":{"action":"report","device":"j","operation":"write"},"event":"BLOCK_JOB_ERROR"})");
  EXPECT_THAT(line(DiskJobEvent::Kind::kReady), HasSubstr("BLOCK_JOB_READY"));
  EXPECT_THAT(line(DiskJobEvent::Kind::kCancelled), HasSubstr("BLOCK_JOB_CANCELLED"));
}

}  // namespace
}  // namespace vmm::control
