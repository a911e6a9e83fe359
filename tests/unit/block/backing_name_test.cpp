// Names of other files in an image: what is understood, and what is refused by name.
#include "block/backing_name.h"

#include <gmock/gmock.h>

#include <string>
#include <utility>

namespace vmm::block {
namespace {

using testing::HasSubstr;

BackingName parsed(const std::string& name) {
  const auto result = parse_backing_name(name, "/images/overlay");
  EXPECT_TRUE(result) << name << ": " << result.error().message();
  return result.value_or(BackingName());
}

std::string refusal(const std::string& name) {
  const auto result = parse_backing_name(name, "/images/overlay");
  EXPECT_FALSE(result) << name;
  return result ? "" : result.error().message();
}

TEST(BackingNames, APlainNameStartsAtTheImagesFolder) {
  EXPECT_EQ(parsed("base").path, "/images/base");
  EXPECT_EQ(parsed("/other/base").path, "/other/base");
  EXPECT_EQ(parsed("file:base").path, "/images/base");
  EXPECT_EQ(parsed("./with:colon").path, "/images/./with:colon");
}

TEST(BackingNames, AJsonNameIsAFileInOneOfThreeForms) {
  for (const char* text : {R"({"driver":"qcow2","file":{"driver":"file","filename":"/a/b"}})",
                           R"({"driver":"qcow2","file":{"filename":"/a/b"}})",
                           R"({"driver":"qcow2","file.driver":"host_device","file.filename":"/a/b"})",
                           R"({"file.filename":"/a/b","driver":"qcow2"})"}) {
    const BackingName name = parsed(std::string("json:") + text);
    EXPECT_EQ(name.path, "/a/b") << text;
    EXPECT_EQ(name.format, "qcow2") << text;
  }
  EXPECT_EQ(parsed(R"(json:{"driver":"file","filename":"/a/b"})").path, "/a/b");
  EXPECT_EQ(parsed(R"(json:{"driver":"file","filename":"/a/b"})").format, std::nullopt);
  EXPECT_EQ(parsed(R"(json:{"file":{"driver":"file","filename":"/a/b"}})").format, std::nullopt);
}

TEST(BackingNames, ARelativeNameInJsonStartsWhereTheProgramRunsAsForQemu) {
  EXPECT_EQ(parsed(R"(json:{"driver":"raw","file":{"driver":"file","filename":"base"}})").path, "base");
}

TEST(BackingNames, AnOptionInJsonThatIsNotKnownIsRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"driver":"raw","offset":65536,"file":{"driver":"file","filename":"/a"}})", "\"offset\""},
      {R"({"driver":"raw","size":512,"file.filename":"/a"})", "\"size\""},
      {R"({"driver":"qcow2","backing":null,"file":{"driver":"file","filename":"/a"}})", "\"backing\""},
      {R"({"driver":"qcow2","file":{"driver":"file","filename":"/a","locking":"off"}})", "\"locking\""},
      {R"({"driver":"qcow2","file.filename":"/a","data-file.filename":"/b"})", "\"data-file.filename\""},
      {R"({"driver":"file","filename":"/a","x\u001b[2J":"1"})", R"("x\u001b[2J")"},
      {R"({"driver":"qcow2","file":{"driver":"file","filename":"/a"},"file.filename":"/b"})",
       "\"file.filename\""},
      {R"({"driver":"qcow2","file":"node"})", "\"file\""},
      {R"({"driver":["qcow2"],"file":{"filename":"/a"}})", "\"driver\""},
      {R"({"driver":"file","filename":7})", "\"filename\""},
  };
  for (const auto& [text, key] : cases) {
    const std::string message = refusal(std::string("json:") + text);
    EXPECT_THAT(message, HasSubstr(key)) << text;
    EXPECT_THAT(message, HasSubstr("/images/overlay")) << text;
    EXPECT_THAT(message, HasSubstr("by its path")) << text;
  }
}

TEST(BackingNames, ADriverInJsonThatReadsNoFileIsRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"driver":"http","url":"http://host/a"})", "\"http\""},
      {R"({"driver":"nbd","host":"h"})", "\"nbd\""},
      {R"({"driver":"vmdk","file":{"driver":"file","filename":"/a"}})", "\"vmdk\""},
      {R"({"driver":"qcow2","file":{"driver":"https","url":"https://host/a"}})", "\"https\""},
      {R"({"driver":"qcow2","file.driver":"ssh","file.path":"/a"})", "\"ssh\""},
      {R"({"driver":"qcow2","file":{"driver":"raw","file":{"driver":"file","filename":"/a"}}})", "\"raw\""},
  };
  for (const auto& [text, driver] : cases) {
    EXPECT_THAT(refusal(std::string("json:") + text), HasSubstr(driver)) << text;
  }
}

TEST(BackingNames, WhatIsNoJsonObjectIsRefused) {
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("7"), std::string(100'000, '['),
        std::string("{}"), std::string(R"({"driver":"qcow2"})")}) {
    refusal("json:" + text);
  }
  std::string deep = R"({"file":)";
  for (int i = 0; i < 5; ++i) {
    deep += deep;
  }
  refusal("json:" + deep);
}

TEST(BackingNames, AProtocolIsRefusedByName) {
  for (const char* name :
       {"nbd://host/x", "http://host/x", "rbd:pool/x", "fat:rw:/etc", "host_device:/dev/sda"}) {
    EXPECT_THAT(refusal(name), HasSubstr(name));
  }
}

TEST(BackingNames, AnEmptyNameIsRefused) {
  for (const char* name : {"", "file:", R"(json:{"driver":"file","filename":""})"}) {
    EXPECT_THAT(refusal(name), HasSubstr("empty")) << name;
  }
}

}  // namespace
}  // namespace vmm::block
