"""vmm --domain FILE --print and --set: the domain that would run, in full, as a domain file."""

import glob
import os
import shutil
import unittest
import xml.etree.ElementTree as ElementTree

from command import CommandTest

CONFIGS = os.environ["VMM_CONFIGS"]

GUEST = b"""<domain type='kvm'>
  <name>guest</name>
  <memory unit='MiB'>64</memory>
  <os><type>hvm</type><kernel>vmlinuz</kernel></os>
  <features><acpi/></features>
  <devices>
    <disk type='file'>
      <source file='a.qcow2'/>
      <target dev='vda'/>
    </disk>
    <graphics type='vnc'/>
  </devices>
</domain>
"""


class Print(CommandTest):
    def printed(self, *arguments):
        return ElementTree.fromstring(self.succeed("--domain", *arguments, "--print").stdout)

    def guest(self):
        return self.write("guest.xml", GUEST)

    def test_the_defaults_are_in_sight_and_paths_complete(self):
        self.guest()
        done = self.succeed("--domain", "guest.xml", "--print")
        self.assertIn("guest.xml:11: <graphics>", done.stderr)
        domain = ElementTree.fromstring(done.stdout)
        self.assertEqual(domain.findtext("os/kernel"), self.path("vmlinuz"))
        self.assertEqual(domain.find("devices/disk/source").get("file"), self.path("a.qcow2"))
        self.assertEqual(domain.find("devices/disk/driver").get("cache"), "writeback")
        self.assertIsNone(domain.find("devices/graphics"))

    def test_every_example_and_what_was_set_is_printed_the_same_from_its_print(self):
        for example in glob.glob(os.path.join(CONFIGS, "*.xml")):
            with self.subTest(example=example):
                first = self.succeed("--domain", example, "--print", "--set", "memory=1GiB").stdout
                path = self.write("printed.xml", first.encode())
                done = self.run_in_folder("sh", "-c", 'cd / && exec "$@"', "sh", os.environ["VMM"], "--domain", path, "--print")
                self.assertEqual(done.stdout, first, done.stderr)
                self.assertIn("<memory unit='KiB'>1048576</memory>", first)

    @unittest.skipUnless(shutil.which("virt-xml-validate"), "libvirt-clients is not installed")
    def test_libvirts_schema(self):
        for example in glob.glob(os.path.join(CONFIGS, "*.xml")):
            with self.subTest(example=example):
                path = self.write("printed.xml", self.succeed("--domain", example, "--print").stdout.encode())
                self.expect_valid(example)
                self.expect_valid(path)
        for name in ("minimal", "install", "throwaway", "microvm"):
            with self.subTest(name=name):
                self.expect_valid(self.write("example.xml", self.succeed("--print-example", name).stdout.encode()))

    def expect_valid(self, path):
        done = self.run_in_folder("virt-xml-validate", path, "domain")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_set_help_is_every_path(self):
        lines = self.succeed("--set", "help").stdout.splitlines()
        self.assertIn("disk.*.cache                                default, none, writeback, writethrough, directsync, unsafe", lines)
        self.assertGreater(len(lines), 50)
        self.refuse("--check: there is another option that runs nothing", "--set", "help", "--check")

    def test_set(self):
        self.guest()
        domain = self.printed("guest.xml", "--set", "memory=2GiB", "--set", "disk.vda.source=other.qcow2", "--set",
                              "disk.vda.cache=none", "--set", "os.cmdline=root=/dev/vda  'quoted'")
        self.assertEqual(domain.findtext("memory"), str(2 << 20))
        disk = domain.find("devices/disk")
        self.assertEqual((disk.find("source").get("file"), disk.find("driver").get("cache")), (self.path("other.qcow2"), "none"))
        self.assertEqual(domain.findtext("os/cmdline"), "root=/dev/vda  'quoted'")

    def test_set_is_for_a_run_too(self):
        self.guest()
        self.refuse("--set disk.vda.cache=nine: <disk>/<driver cache='nine'>: unknown value", "--domain", "guest.xml", "--log-level",
                    "error", "--set", "disk.vda.cache=nine")
        self.refuse("did you mean vcpu?", "--domain", "guest.xml", "--log-level", "error", "--set", "vpcu=2")
        self.write("k")
        done = self.succeed("run", "--kernel", "k", "--set", "on_reboot=destroy", "--print")
        self.assertIn("<on_reboot>destroy</on_reboot>", done.stdout)

    def test_ephemeral_is_printed_and_what_no_file_says_is_refused(self):
        self.guest()
        self.assertIsNotNone(self.printed("guest.xml", "--ephemeral").find("devices/disk/transient"))
        for option in (("--install", "disc.iso"), ("--ephemeral=memory",), ("--ephemeral-dir", "."), ("--keep", "kept"), ("--dump-net", "x.pcap"),
                       ("--ephemeral-limit", "1G"), ("--ephemeral-encrypt",), ("--commit",)):
            with self.subTest(option=option):
                self.refuse("no domain file says it", "--domain", "guest.xml", "--print", *option)


if __name__ == "__main__":
    unittest.main()
