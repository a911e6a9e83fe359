#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/domain/domain_text.h"

namespace vmm::domain {
namespace {

using testing::DomainText;
using ::testing::ElementsAre;
using testing::errors;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::read;
using ::testing::SizeIs;
using testing::warnings;

constexpr const char* kMicrovm = "<os><type machine='microvm'>hvm</type><kernel>/k</kernel></os>";

Reading with_disks(const std::string& disks) {
  return read(DomainText{.others = "<iothreads>1</iothreads>", .devices = disks});
}

// A disk of which `inside` is what a test is about.
std::string disk(const std::string& inside, const std::string& target = "vda") {
  return "<disk>" + inside + "<source file='" + target + ".img'/><target dev='" + target + "'/></disk>";
}

Disk only_disk(const Reading& reading) {
  EXPECT_TRUE(reading.domain) << (errors(reading).empty() ? "" : errors(reading).front());
  if (!reading.domain || reading.domain->disks.size() != 1) {
    ADD_FAILURE() << "not one disk";
    return {};
  }
  return reading.domain->disks[0];
}

TEST(DomainDisk, HasLibvirtsDefaultsAndIsNeverGuessed) {
  const auto reading = with_disks(disk(""));
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  const Disk found = only_disk(reading);
  EXPECT_EQ(found.line, 8);
  EXPECT_EQ(found.source_type, DiskSource::kFile);
  EXPECT_EQ(found.source, "/images/vda.img");
  EXPECT_EQ(found.format, ImageFormat::kRaw);
  EXPECT_EQ(found.target, "vda");
  EXPECT_EQ(found.bus, DiskBus::kVirtio);
  EXPECT_EQ(found.cache, CacheMode::kWriteback);
  EXPECT_EQ(found.io, IoMode::kIoUring);
  EXPECT_EQ(found.discard, DiscardMode::kIgnore);
  EXPECT_EQ(found.detect_zeroes, DetectZeroes::kOff);
  EXPECT_EQ(found.write_error, ErrorPolicy::kEnospace);
  EXPECT_EQ(found.read_error, ErrorPolicy::kReport);
  EXPECT_FALSE(found.read_only);
  EXPECT_FALSE(found.shareable);
  EXPECT_FALSE(found.iothread);
  EXPECT_FALSE(found.queues);
  EXPECT_FALSE(found.queue_size);
  EXPECT_FALSE(found.address);
}

TEST(DomainDisk, EverythingIsRead) {
  const Disk found = only_disk(with_disks(
      "<disk type='block' device='disk' snapshot='no'>"
      "<driver name='qemu' type='raw' cache='none' io='threads' discard='unmap' detect_zeroes='unmap'"
      " error_policy='stop' rerror_policy='report' iothread='1' queues='4' queue_size='1024' event_idx='off'"
      " ioeventfd='off' copy_on_read='off'/>"
      "<source dev='/dev/sdx' index='1'/><backingStore/><target dev='vdb' "
      "bus='virtio'/><serial>abc-1</serial>"
      "<readonly/><shareable/><boot order='2'/>"
      "<blockio logical_block_size='4096' physical_block_size='8192'/><alias name='ua-data'/>"
      "<address type='pci' domain='0x0000' bus='0x00' slot='0x1f' function='0x0'/></disk>"));
  EXPECT_EQ(found.source_type, DiskSource::kBlock);
  EXPECT_EQ(found.source, "/dev/sdx");
  EXPECT_EQ(found.target, "vdb");
  EXPECT_EQ(found.serial, "abc-1");
  EXPECT_EQ(found.cache, CacheMode::kNone);
  EXPECT_EQ(found.io, IoMode::kThreads);
  EXPECT_EQ(found.discard, DiscardMode::kUnmap);
  EXPECT_EQ(found.detect_zeroes, DetectZeroes::kUnmap);
  EXPECT_EQ(found.write_error, ErrorPolicy::kStop);
  EXPECT_EQ(found.read_error, ErrorPolicy::kReport);
  EXPECT_EQ(found.iothread, 1U);
  EXPECT_EQ(found.queues, 4U);
  EXPECT_EQ(found.queue_size, 1024U);
  EXPECT_FALSE(found.event_idx);
  EXPECT_FALSE(found.ioeventfd);
  EXPECT_TRUE(found.read_only);
  EXPECT_TRUE(found.shareable);
  EXPECT_EQ(found.boot_order, 2U);
  EXPECT_EQ(found.logical_block_bytes, 4096U);
  EXPECT_EQ(found.physical_block_bytes, 8192U);
  EXPECT_EQ(found.alias, "ua-data");
  ASSERT_TRUE(found.address);
  EXPECT_EQ(found.address->slot, 31);
}

TEST(DomainDisk, CacheModesAreRead) {
  const auto cache = [](const std::string& name) {
    return only_disk(with_disks(disk("<driver name='qemu' cache='" + name + "'/>"))).cache;
  };
  EXPECT_EQ(cache("default"), CacheMode::kWriteback);
  EXPECT_EQ(cache("none"), CacheMode::kNone);
  EXPECT_EQ(cache("writeback"), CacheMode::kWriteback);
  EXPECT_EQ(cache("writethrough"), CacheMode::kWritethrough);
  EXPECT_EQ(cache("directsync"), CacheMode::kDirectsync);
  EXPECT_EQ(cache("unsafe"), CacheMode::kUnsafe);
}

TEST(DomainDisk, ErrorPolicyHoldsForReadsUnlessItIsEnospace) {
  const auto policies = [](const std::string& attributes) {
    const Disk found = only_disk(with_disks(disk("<driver " + attributes + "/>")));
    return std::pair(found.write_error, found.read_error);
  };
  EXPECT_EQ(policies("error_policy='ignore'"), std::pair(ErrorPolicy::kIgnore, ErrorPolicy::kIgnore));
  EXPECT_EQ(policies("error_policy='enospace'"), std::pair(ErrorPolicy::kEnospace, ErrorPolicy::kReport));
  EXPECT_EQ(policies("rerror_policy='stop'"), std::pair(ErrorPolicy::kEnospace, ErrorPolicy::kStop));
  EXPECT_EQ(policies("error_policy='report' rerror_policy='ignore'"),
            std::pair(ErrorPolicy::kReport, ErrorPolicy::kIgnore));
}

TEST(DomainDisk, ZeroesAreUnmappedOnlyWhereDiscardUnmaps) {
  EXPECT_EQ(only_disk(with_disks(disk("<driver detect_zeroes='unmap'/>"))).detect_zeroes, DetectZeroes::kOn);
  EXPECT_EQ(only_disk(with_disks(disk("<driver detect_zeroes='unmap' discard='unmap'/>"))).detect_zeroes,
            DetectZeroes::kUnmap);
}

TEST(DomainDisk, Qcow2HasACacheOfItsOwn) {
  EXPECT_EQ(only_disk(with_disks(disk("<driver name='qemu' type='qcow2'/>"))).format, ImageFormat::kQcow2);
  const Disk found = only_disk(with_disks(disk(
      "<driver type='qcow2'><metadata_cache><max_size unit='KiB'>512</max_size></metadata_cache></driver>")));
  EXPECT_EQ(found.metadata_cache_bytes, 512U << 10U);
  EXPECT_THAT(
      errors(with_disks(disk("<driver type='raw'><metadata_cache><max_size>512</max_size></metadata_cache>"
                             "</driver>"))),
      ElementsAre(HasSubstr("only type='qcow2' has metadata")));
  EXPECT_THAT(errors(with_disks(disk("<driver type='qcow2'><metadata_cache><max_size unit='TiB'>2</max_size>"
                                     "</metadata_cache></driver>"))),
              ElementsAre(HasSubstr("give a size from 1 byte to 1 GiB")));
}

TEST(DomainDisk, EncryptionNamesItsSecretInEitherPlace) {
  EXPECT_EQ(only_disk(with_disks(disk("<driver type='qcow2'/><encryption format='luks'>"
                                      "<secret type='passphrase' uuid='5b0c' usage='x'/></encryption>")))
                .secret,
            "5b0c");
  EXPECT_EQ(only_disk(with_disks("<disk><driver type='qcow2'/><source file='a'><encryption format='luks'>"
                                 "<secret type='passphrase' usage='disk one'/></encryption></source>"
                                 "<target dev='vda'/></disk>"))
                .secret,
            "disk one");
  EXPECT_EQ(only_disk(with_disks(disk("<driver type='qcow2'/>"))).secret, std::nullopt);
}

TEST(DomainDisk, EncryptionThatCannotBeIsRefused) {
  EXPECT_THAT(
      errors(with_disks(disk("<encryption format='luks'><secret type='passphrase' uuid='5'/></encryption>"))),
      ElementsAre(HasSubstr("only images of type='qcow2' are decrypted")));
  EXPECT_THAT(errors(with_disks(disk("<driver type='qcow2'/><encryption format='luks'/>"))),
              ElementsAre(HasSubstr("has no <secret type='passphrase'")));
  EXPECT_THAT(errors(with_disks(disk("<driver type='qcow2'/><encryption format='luks2'>"
                                     "<secret type='passphrase' uuid='5'/></encryption>"))),
              ElementsAre(HasSubstr("LUKS1")));
}

TEST(DomainDisk, NativeIoIsIoUringWithAWarning) {
  const auto reading = with_disks(disk("<driver io='native' cache='none'/>"));
  EXPECT_EQ(only_disk(reading).io, IoMode::kIoUring);
  EXPECT_THAT(warnings(reading),
              ElementsAre(HasSubstr("<disk>/<driver io='native'>: vmm uses io_uring instead")));
}

TEST(DomainDisk, TransientIsForDisksThatAreWrittenTo) {
  EXPECT_TRUE(only_disk(with_disks(disk("<transient shareBacking='yes'/>"))).transient);
  EXPECT_FALSE(only_disk(with_disks(disk(""))).transient);
  EXPECT_FALSE(only_disk(with_disks(disk("<readonly/><transient/>"))).transient);
  EXPECT_THAT(errors(with_disks(disk("<shareable/><transient/>"))),
              ElementsAre(HasSubstr("<disk>/<transient>: what others write to a <shareable/> disk")));
}

TEST(DomainDisk, OtherKindsAreRefusedWithWhatToDo) {
  EXPECT_THAT(
      errors(with_disks("<disk><source file='a'/>\n<target dev='vda' bus='usb'/></disk>")),
      ElementsAre("guest.xml:9: <disk>/<target bus='usb'>: vmm has no USB; use bus='virtio', or 'ide' "
                  "for a CD-ROM drive"));
  EXPECT_THAT(errors(with_disks(
                  "<disk type='network'><source protocol='nbd' name='x'><host name='h'/></source></disk>")),
              ElementsAre(HasSubstr("<disk type='network'>: not there; use type='file' or 'block'")));
  EXPECT_THAT(errors(with_disks(disk("<encryption format='luks'/>"))),
              ElementsAre(HasSubstr("<disk>/<encryption>")));
}

TEST(DomainDisk, ADataFileIsNamedInTheSource) {
  const auto with_store = [](const std::string& store, const std::string& type = "qcow2") {
    return with_disks("<disk><driver type='" + type + "'/><source file='a'>" + store +
                      "</source><target dev='vda'/></disk>");
  };
  EXPECT_EQ(
      only_disk(with_store("<dataStore type='file'><format type='raw'/><source file='a.raw'/></dataStore>"))
          .data_file,
      "/images/a.raw");
  EXPECT_EQ(only_disk(with_store("<dataStore type='block'><source dev='/dev/sdx'/></dataStore>")).data_file,
            "/dev/sdx");
  EXPECT_FALSE(only_disk(with_store("")).data_file);
  EXPECT_THAT(errors(with_store("<dataStore><source file='b'/></dataStore>", "raw")),
              ElementsAre(HasSubstr("only images of type='qcow2'")));
  EXPECT_THAT(errors(with_store("<dataStore type='block'><source file='b'/></dataStore>")),
              ElementsAre(HasSubstr("has no <source dev='…'/>")));
  EXPECT_THAT(
      errors(with_store("<dataStore type='file'><format type='qcow2'/><source file='b'/></dataStore>")),
      ElementsAre(HasSubstr("use type='raw'")));
}

// As libvirt inserts them, so that vda is the first for firmware and guest.
TEST(DomainDisk, ThoseOfABusStandByTheirNamesWhateverTheirOrderInTheFile) {
  const auto one = [](const std::string& target, const std::string& bus) {
    return "<disk><source file='" + target + "'/><target dev='" + target + "' bus='" + bus + "'/></disk>";
  };
  const auto domain = with_disks(one("vdb", "virtio") + one("hdb", "ide") + one("vdaa", "virtio") +
                                 one("vda", "virtio") + one("vdz", "virtio") + one("hda", "ide"))
                          .domain;
  ASSERT_TRUE(domain);
  std::vector<std::string> targets;
  for (const Disk& disk : domain->disks) {
    targets.push_back(disk.target);
    EXPECT_EQ(disk.source.filename(), disk.target);
  }
  EXPECT_THAT(targets, ElementsAre("vda", "vdb", "vdz", "vdaa", "hda", "hdb"));
}

// As libvirt writes it of a guest that runs.
TEST(DomainDisk, AChainIsReadToItsEnd) {
  const Disk disk = only_disk(with_disks(
      "<disk><driver type='qcow2'/><source file='a' index='1'/>"
      "<backingStore type='file' index='2'><format type='qcow2'/><source file='b'/>"
      "<backingStore type='block' index='3'><format type='raw'/><source dev='/dev/c'/><backingStore/>"
      "</backingStore></backingStore><target dev='vda'/></disk>"));
  ASSERT_THAT(disk.backing_stores, SizeIs(2));
  EXPECT_EQ(disk.backing_stores[0].source, "/images/b");
  EXPECT_EQ(disk.backing_stores[0].format, ImageFormat::kQcow2);
  EXPECT_EQ(disk.backing_stores[1].source_type, DiskSource::kBlock);
  EXPECT_EQ(disk.backing_stores[1].source, "/dev/c");
  EXPECT_TRUE(disk.backing_ends);
}

TEST(DomainDisk, AnEmptyBackingStoreIsTheEndAndAnAbsentOneSaysNothing) {
  const auto with_store = [](const std::string& store) {
    return only_disk(with_disks(disk("<driver type='qcow2'/>" + store)));
  };
  EXPECT_TRUE(with_store("<backingStore/>").backing_ends);
  EXPECT_FALSE(with_store("").backing_ends);
  EXPECT_FALSE(with_store("<backingStore type='file'><format type='raw'/><source file='b'/></backingStore>")
                   .backing_ends);
  EXPECT_TRUE(only_disk(with_disks(disk("<backingStore/>"))).backing_ends);  // of a raw image: what it is
}

TEST(DomainDisk, BackingStoresOfOtherKindsAreRefused) {
  const auto errors_of = [](const std::string& store) {
    return errors(with_disks(disk("<driver type='qcow2'/>" + store)));
  };
  EXPECT_THAT(errors_of("<backingStore type='network'><source protocol='nbd'/></backingStore>"),
              ElementsAre(HasSubstr("images stand on files and block devices")));
  EXPECT_THAT(errors_of("<backingStore type='file'><source file='b'/></backingStore>"),
              ElementsAre(HasSubstr("<disk>/<backingStore>: has no <format type='…'/>")));
  EXPECT_THAT(errors_of("<backingStore type='block'><format type='raw'/><source file='b'/></backingStore>"),
              ElementsAre(HasSubstr("<disk>/<backingStore>/<source>: has no dev=")));
  EXPECT_THAT(
      errors_of("<backingStore type='file'><format type='raw'/><source file='b'/><backingStore type='file'>"
                "<nonsense/></backingStore></backingStore>"),
      ElementsAre(HasSubstr("<nonsense>: unknown element")));
}

TEST(DomainDisk, TheFormatOfTheBackingFileCanBeSaid) {
  const auto with_format = [](const std::string& format, const std::string& type = "qcow2") {
    return with_disks(disk("<driver type='" + type + "'/><backingStore type='file'><format type='" + format +
                           "'/></backingStore>"));
  };
  EXPECT_EQ(only_disk(with_format("raw")).backing_stores.at(0).format, ImageFormat::kRaw);
  EXPECT_EQ(only_disk(with_format("qcow2")).backing_stores.at(0).format, ImageFormat::kQcow2);
  EXPECT_THAT(errors(with_format("vmdk")), ElementsAre(HasSubstr("'raw' or 'qcow2'")));
  EXPECT_THAT(errors(with_format("qcow2", "raw")), ElementsAre(HasSubstr("only images of type='qcow2'")));
}

TEST(DomainDisk, BusIsThatOfTheNameWhereThereIsNone) {
  EXPECT_TRUE(with_disks("<disk><source file='a'/><target dev='sda' bus='virtio'/></disk>").domain);
  EXPECT_THAT(errors(with_disks("<disk><source file='a'/><target dev='sda'/></disk>")),
              ElementsAre(HasSubstr(
                  "<target dev='sda'>: means a bus that vmm does not have; add bus='virtio' or 'ide'")));
}

TEST(DomainDisk, SourceAndTargetAreNeeded) {
  EXPECT_THAT(errors(with_disks("<disk><target dev='vda'/></disk>")),
              ElementsAre(HasSubstr("has no <source file='…'/>")));
  EXPECT_THAT(errors(with_disks("<disk type='block'><source/><target dev='vda'/></disk>")),
              ElementsAre(HasSubstr("<disk>/<source>: has no dev='…'")));
  EXPECT_THAT(errors(with_disks("<disk><source file=''/><target dev='vda'/></disk>")),
              ElementsAre(HasSubstr("has no file='…'")));
  EXPECT_THAT(
      errors(with_disks("<disk type='file'><source dev='/dev/sdx'/><target dev='vda'/></disk>")),
      ElementsAre(HasSubstr("<disk>/<source dev='/dev/sdx'>: the disk is of type='file'; use file=")));
  EXPECT_THAT(errors(with_disks("<disk><source file='a'/></disk>")),
              ElementsAre(HasSubstr("has no <target")));
  for (const std::string name : {"", "v", "../x", "VDA", "vda1", "vdaaaaaaaaa"}) {
    EXPECT_THAT(errors(with_disks("<disk><source file='a'/><target dev='" + name + "'/></disk>")),
                ElementsAre(HasSubstr("give dev= a name such as 'vda'")))
        << name;
  }
}

TEST(DomainDisk, BadNumbersAreRefused) {
  for (const std::string driver :
       {"queues='0'", "queues='256'", "queues='many'", "queue_size='1'", "queue_size='3'",
        "queue_size='2048'", "iothread='2'", "iothread='0'", "iothread='x'", "queues='4294967297'"}) {
    EXPECT_THAT(errors(with_disks(disk("<driver " + driver + "/>"))),
                ElementsAre(HasSubstr("<disk>/<driver " + driver)))
        << driver;
  }
  for (const std::string blockio :
       {"logical_block_size='500'", "logical_block_size='256'", "physical_block_size='65536'",
        "logical_block_size='4096' physical_block_size='512'"}) {
    EXPECT_THAT(errors(with_disks(disk("<blockio " + blockio + "/>"))),
                ElementsAre(HasSubstr("<disk>/<blockio")))
        << blockio;
  }
  EXPECT_THAT(errors(with_disks(disk("<boot order='0'/>"))),
              ElementsAre(HasSubstr("<disk>/<boot order='0'>")));
  EXPECT_THAT(errors(with_disks(disk("<boot/>"))), ElementsAre(HasSubstr("<disk>/<boot>: has no order=")));
}

TEST(DomainDisk, LongSerialIsCutWithAWarning) {
  const auto reading = with_disks(disk("<serial>0123456789abcdefghijk</serial>"));
  EXPECT_EQ(only_disk(reading).serial, "0123456789abcdefghij");
  EXPECT_THAT(warnings(reading), ElementsAre(HasSubstr("the guest sees '0123456789abcdefghij'")));
  EXPECT_THAT(errors(with_disks(disk("<serial>né</serial>"))), ElementsAre(HasSubstr("<disk>/<serial>")));
}

TEST(DomainDisk, AddressIsHonouredWhereItFitsAndElseReported) {
  const auto at = [](const std::string& attributes) {
    return disk("<address type='pci' " + attributes + "/>");
  };
  EXPECT_EQ(only_disk(with_disks(at("domain='0' bus='0' slot='5' function='0'"))).address->slot, 5);
  EXPECT_FALSE(only_disk(with_disks(at(""))).address);
  for (const std::string elsewhere : {"bus='0x03'", "function='1'", "bus='0x01' slot='0x00'", "slot='0'",
                                      "slot='1'", "slot='4' function='1'", "domain='1' slot='4'"}) {
    const auto reading = with_disks(at(elsewhere));
    EXPECT_FALSE(only_disk(reading).address) << elsewhere;
    EXPECT_THAT(warnings(reading), ElementsAre(HasSubstr("vmm chooses a slot"))) << elsewhere;
  }
  for (const std::string bad : {"slot='32'", "slot='x'", "bus='256' slot='4'", "slot='-1'"}) {
    EXPECT_THAT(errors(with_disks(at(bad))), ElementsAre(HasSubstr("<disk>/<address"))) << bad;
  }
  EXPECT_THAT(warnings(with_disks(disk("<address type='drive' bus='0'/>"))),
              ElementsAre(HasSubstr("has its virtio devices on pci")));
}

TEST(DomainDisk, PciAddressOnMicrovmIsReported) {
  const auto reading = read(DomainText{.os = kMicrovm, .devices = disk("<address type='pci' slot='4'/>")});
  EXPECT_FALSE(only_disk(reading).address);
  EXPECT_THAT(warnings(reading),
              ElementsAre(HasSubstr("machine='microvm' has its virtio devices on virtio-mmio")));
  EXPECT_THAT(read(DomainText{.os = kMicrovm, .devices = disk("<address type='virtio-mmio'/>")}).diagnostics,
              IsEmpty());
}

TEST(DomainDisks, NoTwoAtOnePlace) {
  EXPECT_THAT(
      errors(with_disks(disk("") + "\n<disk><source file='b'/><target dev='vda'/></disk>")),
      ElementsAre("guest.xml:9: <disk>/<target dev='vda'>: the disk of line 8 has this name; give another"));
  EXPECT_THAT(errors(with_disks(disk("<boot order='1'/>") + "\n" + disk("<boot order='1'/>", "vdb"))),
              ElementsAre(HasSubstr("guest.xml:9: <disk>/<boot order='1'>")));
  EXPECT_THAT(errors(with_disks(disk("<address type='pci' slot='4'/>") + "\n" +
                                disk("<address type='pci' slot='0x4'/>", "vdb"))),
              ElementsAre(HasSubstr("guest.xml:9: <disk>/<address slot='0x04'>")));
}

TEST(DomainDisks, BootOrderStandsInOnePlace) {
  EXPECT_THAT(errors(read(DomainText{.os = "<os><type>hvm</type><kernel>k</kernel><boot dev='hd'/></os>",
                                     .devices = disk("<boot order='1'/>")})),
              ElementsAre(HasSubstr("keep one of the two")));
}

TEST(DomainDisks, OneImageHasOneWriter) {
  const auto twice = [](const std::string& first, const std::string& second) {
    return with_disks("<disk><source file='a/../x.img'/><target dev='vda'/>" + first +
                      "</disk>\n<disk><source file='/images/x.img'/><target dev='vdb'/>" + second +
                      "</disk>");
  };
  EXPECT_THAT(errors(twice("", "")),
              ElementsAre(HasSubstr("guest.xml:9: <disk>/<source>: /images/x.img is the image of vda")));
  EXPECT_FALSE(twice("<readonly/>", "").domain);
  EXPECT_FALSE(twice("<shareable/>", "").domain);
  EXPECT_TRUE(twice("<readonly/>", "<readonly/>").domain);
  EXPECT_TRUE(twice("<shareable/>", "<shareable/>").domain);
}

TEST(DomainDisks, MoreThanTheMachineHasPlacesForAreRefused) {
  const auto many = [](uint32_t count) {
    std::string disks;
    for (uint32_t i = 0; i < count; ++i) {
      disks += disk("", std::string("vd") + static_cast<char>('a' + i % 26) + (i < 26 ? "" : "b")) + "\n";
    }
    return disks;
  };
  EXPECT_THAT(with_disks(many(kMaxPcDisks)).domain.value_or(Domain{}).disks, SizeIs(kMaxPcDisks));
  EXPECT_THAT(errors(with_disks(many(kMaxPcDisks + 1))),
              ElementsAre(HasSubstr("guest.xml:36: <disk>: more than 28 virtio disks")));
  EXPECT_TRUE(read(DomainText{.os = kMicrovm, .devices = many(kMaxMicrovmDisks)}).domain);
  EXPECT_THAT(errors(read(DomainText{.os = kMicrovm, .devices = many(kMaxMicrovmDisks + 1)})),
              ElementsAre(HasSubstr("guest.xml:16: <disk>: more than 8 virtio disks")));
}

TEST(DomainDisks, IdeTakesNoPlaceOfVirtio) {
  std::string disks = "<disk device='cdrom'><target dev='hdc'/></disk>";
  for (uint32_t i = 0; i < kMaxPcDisks; ++i) {
    disks += disk("", std::string("vd") + static_cast<char>('a' + i % 26) + (i < 26 ? "" : "b")) + "\n";
  }
  EXPECT_THAT(with_disks(disks).domain.value_or(Domain{}).disks, SizeIs(kMaxPcDisks + 1));
}

std::string ide(const std::string& attributes, const std::string& target, const std::string& inside = "") {
  return "<disk " + attributes + ">" + inside + "<target dev='" + target + "' bus='ide'/></disk>";
}
const std::string kSource = "<source file='a.img'/>";

TEST(DomainIde, TheLettersAreThePlaces) {
  const Disk first = only_disk(with_disks(ide("", "hda", kSource)));
  EXPECT_EQ(first.bus, DiskBus::kIde);
  EXPECT_EQ(first.ide_place, (IdePlace{.channel = 0, .drive = 0}));
  EXPECT_EQ(only_disk(with_disks(ide("", "hdd", kSource))).ide_place, (IdePlace{.channel = 1, .drive = 1}));
  EXPECT_EQ(only_disk(with_disks(disk("", "hdb"))).ide_place, (IdePlace{.channel = 0, .drive = 1}));
  EXPECT_THAT(errors(with_disks(ide("", "hde", kSource))),
              ElementsAre(HasSubstr("four IDE drives, hda to hdd")));
}

// On AHCI they have this order too.
TEST(DomainIde, SataDrivesKeepTheirOrder) {
  const auto sata = [](const std::string& target) {
    return "<disk><source file='" + target + ".img'/><target dev='" + target + "' bus='sata'/></disk>";
  };
  const auto disks = with_disks(sata("sde") + sata("sdb")).domain.value_or(Domain{}).disks;
  ASSERT_THAT(disks, SizeIs(2));
  EXPECT_EQ(disks[0].target, "sdb");
  EXPECT_EQ(disks[0].ide_place, (IdePlace{.channel = 0, .drive = 1}));
  EXPECT_EQ(disks[1].target, "sde");
  EXPECT_EQ(disks[1].ide_place, (IdePlace{.channel = 1, .drive = 0}));
}

TEST(DomainCdrom, IsEmptyWhereItsSourceNamesNothing) {
  for (const std::string source :
       {"<source/>", "<source file=''/>", "<source startupPolicy='optional'/>", ""}) {
    const auto reading =
        with_disks("<disk device='cdrom'>" + source + "<target dev='hdc' bus='ide'/></disk>");
    EXPECT_THAT(reading.diagnostics, IsEmpty()) << source;
    EXPECT_EQ(only_disk(reading).source, "") << source;
  }
}

TEST(DomainIde, AnAddressSaysAnotherPlace) {
  const std::string address = "<address type='drive' controller='0' bus='1' target='0' unit='0'/>";
  const auto reading = with_disks(ide("", "hda", kSource + address));
  EXPECT_THAT(reading.diagnostics, IsEmpty());
  EXPECT_EQ(only_disk(reading).ide_place, (IdePlace{.channel = 1, .drive = 0}));
}

TEST(DomainIde, AWorldWideNameIsOf16Digits) {
  const auto named = [](const std::string& name) { return with_disks(ide("", "hda", kSource + name)); };
  EXPECT_EQ(only_disk(named("<wwn>5000c500A0B1C2D3</wwn>")).world_wide_name, 0x5000'c500'a0b1'c2d3);
  EXPECT_EQ(only_disk(named("<wwn>0x0000000000000001</wwn>")).world_wide_name, 1U);
  EXPECT_FALSE(only_disk(named("")).world_wide_name);
  for (const std::string name : {"", "5000c500a0b1c2d", "5000c500a0b1c2d30", "5000c500a0b1c2dg",
                                 "-000c500a0b1c2d3", "0x5000c500a0b1c2", "0x0x00c500a0b1c2"}) {
    EXPECT_THAT(errors(named("<wwn>" + name + "</wwn>")),
                ElementsAre(HasSubstr("<disk>/<wwn>: give 16 hexadecimal digits")))
        << name;
  }
  EXPECT_THAT(errors(with_disks(disk("<wwn>5000c500a0b1c2d3</wwn>"))),
              ElementsAre(HasSubstr("virtio disks have no world wide name; use <serial>")));
}

TEST(DomainIde, ADiskMaySayHowFastItTurns) {
  const auto turning = [](const std::string& attributes, const std::string& bus, const std::string& rate) {
    return with_disks("<disk " + attributes + ">" + kSource + "<target dev='hda' bus='" + bus +
                      "' rotation_rate='" + rate + "'/></disk>");
  };
  EXPECT_EQ(only_disk(turning("", "ide", "1")).rotation_rate, 1);
  EXPECT_EQ(only_disk(turning("", "sata", "65534")).rotation_rate, 65534);
  for (const std::string rate : {"0", "2", "1024", "65535", "-1", "fast", ""}) {
    EXPECT_THAT(errors(turning("", "ide", rate)),
                ElementsAre(HasSubstr("give 1, which says that nothing turns")))
        << rate;
  }
  EXPECT_THAT(errors(turning("", "virtio", "7200")), ElementsAre(HasSubstr("is for IDE disks; remove it")));
  EXPECT_THAT(errors(turning("device='cdrom'", "ide", "7200")),
              ElementsAre(HasSubstr("is for IDE disks; remove it")));
}

TEST(DomainDisk, GeometryIsReadWithinTheBoundsOfItsBus) {
  const DiskGeometry small =
      only_disk(
          with_disks(ide("", "hda", kSource + "<geometry cyls='1' heads='16' secs='255' trans='lba'/>")))
          .geometry.value_or(DiskGeometry{});
  EXPECT_EQ(small.cylinders, 1U);
  EXPECT_EQ(small.heads, 16U);
  EXPECT_EQ(small.sectors_per_track, 255U);
  EXPECT_EQ(small.translation, ChsTranslation::kLba);
  const DiskGeometry large = only_disk(with_disks(disk("<geometry cyls='65535' heads='255' secs='63'/>")))
                                 .geometry.value_or(DiskGeometry{});
  EXPECT_EQ(large.cylinders, 65535U);
  EXPECT_EQ(large.heads, 255U);
  EXPECT_EQ(large.translation, ChsTranslation::kAuto);
}

TEST(DomainDisk, AGeometryThatTheDiskCannotHaveIsRefused) {
  const auto of_ide = [](const std::string& numbers) {
    return errors(with_disks(ide("", "hda", kSource + "<geometry " + numbers + "/>")));
  };
  EXPECT_THAT(of_ide("cyls='1' heads='17' secs='1'"), ElementsAre(HasSubstr("<geometry heads='17'>")));
  EXPECT_THAT(of_ide("cyls='65536' heads='1' secs='1'"), ElementsAre(HasSubstr("<geometry cyls='65536'>")));
  EXPECT_THAT(of_ide("cyls='0' heads='1' secs='256'"), SizeIs(2));
  EXPECT_THAT(of_ide("cyls='1' heads='1'"), ElementsAre(HasSubstr("<disk>/<geometry>: has no secs=")));
  EXPECT_THAT(errors(with_disks(disk("<geometry cyls='1' heads='1' secs='1' trans='none'/>"))),
              ElementsAre(HasSubstr("<geometry trans='none'>: is for IDE disks")));
  EXPECT_THAT(errors(with_disks(ide("device='cdrom'", "hdc", "<geometry cyls='1' heads='1' secs='1'/>"))),
              ElementsAre(HasSubstr("CD-ROM drives have no cylinders")));
}

TEST(DomainIde, TwoDrivesAtOnePlaceAreRefused) {
  const std::string address = "<address type='drive' bus='0' unit='0'/>";
  EXPECT_THAT(errors(with_disks(ide("", "hda", kSource) + ide("", "hdb", "<source file='b'/>" + address))),
              ElementsAre(HasSubstr("is the same IDE drive")));
}

TEST(DomainIde, ACdromIsReadOnlyAndMayBeEmpty) {
  const Disk found = only_disk(with_disks(ide("device='cdrom'", "hdc")));
  EXPECT_EQ(found.device, DiskDevice::kCdrom);
  EXPECT_TRUE(found.read_only);
  EXPECT_TRUE(found.source.empty());
}

TEST(DomainIde, ASataDriveStandsOnIdeAndSaysSo) {
  const auto reading = with_disks("<disk device='cdrom'><target dev='sda' bus='sata'/></disk>");
  EXPECT_THAT(warnings(reading), ElementsAre(HasSubstr("the drive stands on IDE instead")));
  EXPECT_EQ(only_disk(reading).bus, DiskBus::kIde);
}

std::string sata(const std::string& target) {
  return "<disk device='cdrom'><target dev='" + target + "' bus='sata'/></disk>\n";
}
std::vector<IdePlace> places(const Reading& reading) {
  EXPECT_TRUE(reading.domain) << errors(reading).front();
  std::vector<IdePlace> found;
  for (const Disk& each : reading.domain.value_or(Domain{}).disks) {
    found.push_back(each.ide_place);
  }
  return found;
}

TEST(DomainIde, ASataDriveTakesThePlaceOfItsLetterOrTheFirstFreeOne) {
  EXPECT_THAT(places(with_disks(sata("sdb"))), ElementsAre(IdePlace{0, 1}));
  EXPECT_THAT(places(with_disks(sata("sda") + ide("", "hda", kSource))),
              ElementsAre(IdePlace{0, 1}, IdePlace{0, 0}));
  EXPECT_THAT(places(with_disks(sata("sda") + sata("sdb") + ide("", "hda", kSource))),
              ElementsAre(IdePlace{0, 1}, IdePlace{0, 0}, IdePlace{1, 0}));  // sda, hda, sdb
  EXPECT_THAT(places(with_disks(sata("sdq"))), ElementsAre(IdePlace{0, 0}));
  EXPECT_THAT(errors(with_disks(sata("sda") + sata("sdb") + sata("sdc") + sata("sdd") + sata("sde"))),
              ElementsAre(HasSubstr("guest.xml:12: <disk>: stands on IDE, whose four places are taken")));
}

TEST(DomainIde, ADriveTooManyIsOneMistake) {
  std::string disks;
  for (const std::string name : {"hda", "hdb", "hdc", "hdd", "hde"}) {
    disks += ide("device='cdrom'", name);
  }
  EXPECT_THAT(errors(with_disks(disks)), ElementsAre(HasSubstr("four IDE drives, hda to hdd")));
}

TEST(DomainIde, DrivesHaveSerialNumbersThatTellThemApart) {
  EXPECT_EQ(only_disk(with_disks(ide("", "hda", kSource))).serial, "VMM00001");
  EXPECT_EQ(only_disk(with_disks(ide("device='cdrom'", "hdd"))).serial, "VMM00004");
  EXPECT_EQ(only_disk(with_disks(ide("", "hda", kSource + "<serial>mine</serial>"))).serial, "mine");
  EXPECT_EQ(only_disk(with_disks(disk(""))).serial, "");
}

TEST(DomainCdrom, MayBeThereWithoutItsFile) {
  const auto with_policy = [](const std::string& device, const std::string& policy) {
    return with_disks(
        ide("device='" + device + "'", "hdc", "<source file='a' startupPolicy='" + policy + "'/>"));
  };
  EXPECT_TRUE(only_disk(with_policy("cdrom", "optional")).source_is_optional);
  EXPECT_FALSE(only_disk(with_policy("cdrom", "requisite")).source_is_optional);
  EXPECT_FALSE(only_disk(with_policy("disk", "mandatory")).source_is_optional);
  EXPECT_THAT(errors(with_policy("disk", "optional")),
              ElementsAre(HasSubstr("<source startupPolicy='optional'>: only a CD-ROM drive")));
}

TEST(DomainCdrom, MayBeginWithItsTrayOpen) {
  const auto with_tray = [](const std::string& device, const std::string& tray) {
    return with_disks("<disk device='" + device + "'>" + kSource + "<target dev='hdc' bus='ide' tray='" +
                      tray + "'/></disk>");
  };
  EXPECT_TRUE(only_disk(with_tray("cdrom", "open")).tray_is_open);
  EXPECT_FALSE(only_disk(with_tray("cdrom", "closed")).tray_is_open);
  EXPECT_THAT(errors(with_tray("disk", "open")), ElementsAre(HasSubstr("only CD-ROM drives have a tray")));
}

TEST(DomainCdrom, OnAnotherBusIsOneMistake) {
  for (const std::string bus : {"scsi", "usb"}) {
    EXPECT_THAT(errors(with_disks("<disk device='cdrom'><target dev='sda' bus='" + bus + "'/></disk>")),
                ElementsAre(HasSubstr("'ide' for a CD-ROM drive")));
  }
  EXPECT_THAT(errors(with_disks("<disk device='cdrom'><target dev='sda'/></disk>")),
              ElementsAre(HasSubstr("means a bus that vmm does not have; add bus='ide'")));
}

TEST(DomainCdrom, HasBlocksOfItsOwn) {
  const auto with_blocks = [](const std::string& bytes) {
    return with_disks(ide("device='cdrom'", "hdc", "<blockio logical_block_size='" + bytes + "'/>"));
  };
  EXPECT_EQ(only_disk(with_blocks("2048")).logical_block_bytes, 0U);
  EXPECT_THAT(errors(with_blocks("4096")), ElementsAre(HasSubstr("logical blocks of 2048 bytes")));
}

TEST(DomainIde, WhatDoesNotGoTogetherIsRefused) {
  EXPECT_THAT(errors(with_disks("<disk device='cdrom'><target dev='vda' bus='virtio'/></disk>")),
              ElementsAre(HasSubstr("CD-ROM drives are on IDE; use dev='hdc' bus='ide'")));
  for (const std::string attribute : {"queues='2'", "queue_size='64'", "event_idx='off'", "ioeventfd='on'"}) {
    EXPECT_THAT(
        errors(with_disks(ide("", "hda", kSource + "<driver name='qemu' type='raw' " + attribute + "/>"))),
        ElementsAre(HasSubstr("is for virtio disks; remove it")));
  }
  for (const std::string where : {"controller='1'", "target='1'", "bus='2'", "unit='2'"}) {
    EXPECT_THAT(errors(with_disks(ide("", "hda", kSource + "<address type='drive' " + where + "/>"))),
                ElementsAre(HasSubstr("there is no such place on IDE")));
  }
  EXPECT_THAT(errors(with_disks(ide("", "hda", kSource + "<readonly/>"))),
              ElementsAre(HasSubstr("IDE disks cannot be <readonly/>")));
  EXPECT_THAT(errors(with_disks(ide("", "hda", kSource + "<blockio logical_block_size='4096'/>"))),
              ElementsAre(HasSubstr("logical blocks of 512 bytes")));
  EXPECT_THAT(errors(read(DomainText{.os = kMicrovm, .devices = ide("", "hda", kSource)})),
              ElementsAre(HasSubstr("only machine='pc' has IDE")));
}

}  // namespace
}  // namespace vmm::domain
