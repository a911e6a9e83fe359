#!/usr/bin/env python3
"""Domain files of virt-install and libvirt (virt_install/*.xml, which virt_install/generate.py writes), as they are: all start
but those of virt_install/refused.txt. Why these are refused is tested where they are read: tests/unit/domain/virt_install_test.cpp."""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from xml.etree import ElementTree

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
from firmware_guest import SECONDS, FirmwareTest  # noqa: E402
from linux_guest import VMM, with_a_name_of_its_own  # noqa: E402
from media import boot_disk, floppy_iso  # noqa: E402

FILES = os.path.join(HERE, "virt_install")
PROGRAM = os.path.join(os.path.dirname(VMM), "guests", "hello.elf")
VMM_IMG = os.path.join(os.path.dirname(VMM), "vmm-img")
MIB = 1 << 20
# What a host may not have: a processor with all features of the model, or a bridge.
OF_THE_HOST = {"cpu-model.xml": r"<cpu>/<model>: this host cannot give the feature",
               "network-bridge-1.xml": r"<interface>.*\bbr0\b", "network-bridge-2.xml": r"<interface>.*\bbr0\b"}


def refused_files():
    with open(os.path.join(FILES, "refused.txt"), encoding="utf-8") as file:
        return {line.split()[0] for line in file if not line.startswith("#")}


def disks_of(text):
    """Name and format of each file that is a disk, and whether it is a disc."""
    for disk in ElementTree.fromstring(text).iter("disk"):
        source, driver = disk.find("source"), disk.find("driver")
        if source is not None:
            yield source.get("file"), driver.get("type", "raw"), disk.get("device") == "cdrom"


class Starts(unittest.TestCase):
    """With a program of ours in place of what the firmware would boot, which switches the guest off: on all devices of the
    file, in milliseconds."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="vmm-virt-install.", dir=os.environ.get("VMM_LAB_SCRATCH"))
        self.addCleanup(shutil.rmtree, self.folder)
        shutil.copy(PROGRAM, os.path.join(self.folder, "guest.elf"))
        with open(os.path.join(self.folder, "initrd.img"), "wb") as file:
            file.truncate(MIB)

    def make_disks(self, text):
        for name, form, _ in disks_of(text):
            path = os.path.join(self.folder, name)
            if form == "raw":
                with open(path, "wb") as file:
                    file.truncate(MIB)
            else:
                subprocess.run([VMM_IMG, "create", "-q", "-f", form, path, str(MIB)], check=True)

    def run_domain(self, name):
        with open(os.path.join(FILES, name), encoding="utf-8") as file:
            text = with_a_name_of_its_own(file.read())
        if "<kernel>" not in text:
            text = text.replace("</os>", "<kernel>guest.elf</kernel></os>")
        self.make_disks(text)
        domain = os.path.join(self.folder, name)
        with open(domain, "w", encoding="utf-8") as file:
            file.write(text)
        return subprocess.run([VMM, "--domain", domain, "--timeout", "60s"], check=False, timeout=SECONDS, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def test_all_that_are_taken(self):
        refused = refused_files()
        names = sorted(os.path.basename(path) for path in glob.glob(os.path.join(FILES, "*.xml")))
        for name in names:
            with self.subTest(name):
                done = self.run_domain(name)
                if os.path.splitext(name)[0] in refused:
                    # Nothing but the file itself is wrong: no path, no device that cannot be made of it.
                    self.assertEqual(done.returncode, 2, done.stderr)
                    self.assertRegex(done.stderr, rf"{re.escape(name)}:\d+: <")
                    continue
                if done.returncode == 1 and name in OF_THE_HOST:
                    self.assertRegex(done.stderr, OF_THE_HOST[name])
                    continue
                self.assertEqual((done.returncode, done.stderr if done.returncode else ""), (0, ""))


class Boots(FirmwareTest):
    """By firmware, from what the file names first."""

    def start_file(self, name, *options):
        with open(os.path.join(FILES, name), encoding="utf-8") as file:
            text = re.sub(r"""(<(?:serial|console) type=)["']pty["']""", r"\1'stdio'", with_a_name_of_its_own(file.read()))
        for disk, form, is_disc in disks_of(text):
            if is_disc:
                floppy_iso(self.path(disk), "from the disc")
            else:
                boot_disk(self.path("raw"), f"from {disk}")
                subprocess.run([VMM_IMG, "convert", "-f", "raw", "-O", form, self.path("raw"), self.path(disk)], check=True)
        with open(self.path("guest.xml"), "w", encoding="utf-8") as file:
            file.write(text)
        return self.start(self.path("guest.xml"), *options)

    def boots_from(self, name, what):
        with self.start_file(name) as session:
            session.wait_for(what, SECONDS)

    def test_the_first_step_of_an_installation_from_its_disc(self):
        self.boots_from("debian11-1.xml", rb"from the disc")

    def test_the_second_step_from_its_disk(self):
        self.boots_from("debian11-2.xml", rb"from disk\.qcow2")

    def test_a_windows_disk_that_stands_on_sata(self):
        self.boots_from("win10-2.xml", rb"from disk\.qcow2")

    def test_many_disks_from_the_first(self):
        self.boots_from("disks-many-dumpxml.xml", rb"from disk\.qcow2")

    def test_by_the_order_of_the_devices(self):
        self.boots_from("boot-order.xml", rb"from the disc")


if __name__ == "__main__":
    unittest.main(verbosity=2)
