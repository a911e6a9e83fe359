#include "vmm/cli/options.h"

#include <getopt.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace vmm::cli {
namespace {

using ::testing::HasSubstr;

Result<Command> read(std::vector<std::string> words, Options& options) {
  words.insert(words.begin(), "vmm");
  std::vector<char*> arguments;
  for (std::string& word : words) {
    arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);
  optind = 0;  // getopt(3) begins anew
  return read_command_line(static_cast<int>(words.size()), arguments.data(), options);
}

// Why it is refused; empty: it is not, or the message is no sentence about the command line.
std::string refusal(const std::vector<std::string>& words) {
  Options options;
  const auto command = read(words, options);
  const bool is_refused = !command && command.error().kind() == ErrorKind::kConfiguration;
  return is_refused ? command.error().message() : std::string();
}

TEST(CommandLine, OptionsAreTaken) {
  Options options;
  const auto command = read({"--domain", "g.xml", "--install=d.iso", "--control", "c", "--metrics", "9100",
                             "--log", "l", "--ephemeral-dir", "e"},
                            options);
  ASSERT_TRUE(command) << command.error().message();
  EXPECT_EQ(*command, Command::kRun);
  EXPECT_EQ(options.domain_path, "g.xml");
  EXPECT_EQ(options.install_path, "d.iso");
  EXPECT_EQ(options.control_path, "c");
  EXPECT_EQ(options.metrics_place, "9100");
  EXPECT_EQ(options.log_path, "l");
  EXPECT_EQ(options.throwaway.folder, "e");
}

TEST(CommandLine, LogLevelsMayBeOfAPart) {
  Options options;
  ASSERT_TRUE(read({"--domain", "g.xml", "--log-level", "disk=debug,error,kvm=off"}, options));
  EXPECT_EQ(options.log_levels.of(log::Component::kDisk), log::Level::kDebug);
  EXPECT_EQ(options.log_levels.of(log::Component::kKvm), log::Level::kOff);
  EXPECT_EQ(options.log_levels.of(log::Component::kMachine), log::Level::kError);
  Options others;
  ASSERT_TRUE(read({"--domain", "g.xml", "--log-level", "ide=info"}, others));
  EXPECT_EQ(others.log_levels.of(log::Component::kDisk), log::Level::kWarning);
  EXPECT_THAT(refusal({"--domain", "g.xml", "--log-level", "disk=loud"}), HasSubstr("debug, info, warning"));
  EXPECT_THAT(refusal({"--domain", "g.xml", "--log-level", "dsk=info"}),
              HasSubstr("no part 'dsk'; it has vmm, boot, "));
  EXPECT_THAT(refusal({"--domain", "g.xml", "--log-level", "info,debug"}), HasSubstr("two levels"));
  EXPECT_THAT(refusal({"--domain", "g.xml", "--log-level", "info,"}), HasSubstr("debug, info, warning"));
}

TEST(CommandLine, AnEmptyValueIsNoAbsentOption) {
  for (const std::string option :
       {"--domain", "--install", "--control", "--metrics", "--dump-net", "--log", "--ephemeral-dir", "--keep",
        "--secret", "--log-level", "--ephemeral-limit"}) {
    EXPECT_THAT(refusal({"--domain", "g.xml", option, ""}), HasSubstr(option + ": its value is empty"));
    EXPECT_THAT(refusal({"--domain", "g.xml", option + "="}), HasSubstr(option + ": its value is empty"));
  }
}

TEST(CommandLine, WhatIsGivenTwiceIsRefused) {
  for (const std::string option : {"--domain", "--install", "--control", "--metrics", "--dump-net", "--log",
                                   "--ephemeral-dir", "--ephemeral-limit"}) {
    const std::string reason = refusal({"--domain", "g.xml", option, "first", option, "second"});
    EXPECT_THAT(reason, HasSubstr("was given already")) << option;
  }
  EXPECT_EQ(refusal({"--install", "one.iso", "--install", "two.iso"}),
            "--install two.iso: --install one.iso was given already; give one of them");
}

}  // namespace
}  // namespace vmm::cli
