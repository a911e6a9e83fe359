// From the file on the host to the domain, and what is said where that fails.
#include "vmm/domain/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "tests/unit/domain/domain_text.h"

namespace vmm::domain {
namespace {

using testing::DomainText;
using ::testing::HasSubstr;

class LoadDomain : public ::testing::Test {
 protected:
  LoadDomain() {
    std::string pattern = (std::filesystem::temp_directory_path() / "vmm-domain-XXXXXX").native();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~LoadDomain() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path file(const std::string& text) const {
    const auto path = folder_ / "guest.xml";
    std::ofstream(path) << text;
    return path;
  }
  // 100 MB, of which the disk holds none.
  std::filesystem::path long_file() const {
    const auto path = folder_ / "long.xml";
    std::ofstream(path) << "<domain>";
    std::filesystem::resize_file(path, 100'000'000);
    return path;
  }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
};

TEST_F(LoadDomain, TakesRelativePathsFromTheFolderOfTheFile) {
  const auto path = file(DomainText{.os = "<os><type>hvm</type><kernel>vmlinuz</kernel></os>"}.text());
  const auto domain = load_domain(path);
  ASSERT_TRUE(domain) << domain.error().message();
  EXPECT_EQ(domain->os.kernel, folder() / "vmlinuz");
  EXPECT_EQ(domain->file_name, path.native());
  EXPECT_EQ(domain->where(14), path.native() + ":14");
  EXPECT_EQ(domain->where(0), path.native());
}

TEST_F(LoadDomain, ErrorIsOneLineForEachFaultAndOfTheConfiguration) {
  const auto path = file(DomainText{.others = "<vcpu>0</vcpu>", .devices = "<hostdev/>"}.text());
  const auto domain = load_domain(path);
  ASSERT_FALSE(domain);
  EXPECT_EQ(domain.error().kind(), ErrorKind::kConfiguration);
  EXPECT_EQ(domain.error().message(),
            path.native() + ":6: <vcpu>: 0; give at least 1\n" + path.native() +
                ":8: <hostdev>: devices of the host are not passed through; remove it");
}

TEST_F(LoadDomain, FileThatIsNotThereOrAFolderOrEndlessIsAnErrorOfTheConfiguration) {
  for (const auto& [path, text] :
       {std::pair(folder() / "none.xml", "none.xml: cannot open the domain file: No such file or directory"),
        std::pair(folder(), "is a folder; give the domain file in it"),
        std::pair(long_file(), "long.xml: longer than 1048576 bytes"),
        std::pair(std::filesystem::path("/dev/zero"), "/dev/zero: longer than 1048576 bytes")}) {
    const auto domain = load_domain(path);
    ASSERT_FALSE(domain);
    EXPECT_EQ(domain.error().kind(), ErrorKind::kConfiguration);
    EXPECT_THAT(domain.error().message(), HasSubstr(text));
  }
}

}  // namespace
}  // namespace vmm::domain
