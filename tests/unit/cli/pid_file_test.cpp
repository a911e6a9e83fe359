#include "vmm/cli/pid_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

namespace vmm::cli {
namespace {

using ::testing::HasSubstr;

class PidFiles : public testing::Test {
 protected:
  PidFiles() {
    std::string pattern = (std::filesystem::temp_directory_path() / "vmm-pid-file.XXXXXX").native();
    folder_ = ::mkdtemp(pattern.data());
    path_ = (folder_ / "pid").native();
  }
  ~PidFiles() override { std::filesystem::remove_all(folder_); }

  std::string text() const {
    std::stringstream text;
    text << std::ifstream(path_).rdbuf();
    return text.str();
  }
  std::string refusal() const {
    const auto file = PidFile::create(path_);
    return file ? "" : file.error().message();
  }

  std::filesystem::path folder_;
  std::string path_;
};

TEST_F(PidFiles, HoldsTheProcessAndGoesWithIt) {
  {
    const auto file = PidFile::create(path_);
    ASSERT_TRUE(file.has_value()) << file.error().message();
    EXPECT_EQ(text(), std::to_string(::getpid()) + "\n");
    EXPECT_THAT(refusal(), HasSubstr("another vmm that runs has it"));
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(PidFiles, WhatAKilledOneLeftIsTakenOver) {
  std::ofstream(path_) << "123456789\n";
  EXPECT_EQ(refusal(), "");
}

TEST_F(PidFiles, OverwritesNothingElse) {
  std::ofstream(path_) << "my notes";
  EXPECT_THAT(refusal(), HasSubstr("holds no number of a process"));
  EXPECT_EQ(text(), "my notes");
  path_ = folder_;
  EXPECT_THAT(refusal(), HasSubstr("cannot be opened"));
  path_ = "/dev/null";
  EXPECT_THAT(refusal(), HasSubstr("holds no number of a process"));
}

TEST_F(PidFiles, AnotherOfItsNameStays) {
  {
    const auto file = PidFile::create(path_);
    ASSERT_TRUE(file.has_value());
    std::filesystem::remove(path_);
    std::ofstream(path_) << "another\n";
  }
  EXPECT_EQ(text(), "another\n");
}

}  // namespace
}  // namespace vmm::cli
