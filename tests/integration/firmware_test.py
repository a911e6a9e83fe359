#!/usr/bin/env python3
"""SeaBIOS, as Debian ships it, and what it boots: boot sectors, and loaders that are not ours: isolinux, SYSLINUX, GRUB."""

import os
import re
import shutil
import socket
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from firmware_guest import SECONDS, FirmwareTest  # noqa: E402
from linux_guest import VMM  # noqa: E402
from media import boot_disk, floppy_iso, grub_disk, grub_iso, isolinux_iso, memtest_iso, syslinux_disk  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SEABIOS = "/usr/share/seabios/bios.bin"


class Example(FirmwareTest):
    """configs/network.xml, whose guest is one that was installed: any disk that boots by itself, and a port that is free here."""

    def test_network_xml(self):
        boot_disk(self.path("disk.raw"), "the first disk")
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", self.path("disk.raw"), self.path("guest.qcow2")], check=True)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with open(f"{TOP}/configs/network.xml", encoding="utf-8") as example, open(self.path("guest.xml"), "w", encoding="utf-8") as file:
            text = example.read()
            self.assertIn("<range start='2222' to='22'/>", text)
            file.write(text.replace("<name>network<", f"<name>{self.name}<").replace("'2222'", f"'{port}'")
                       .replace("/var/lib/libvirt/images/", f"{self.folder}/"))
        with self.start(self.path("guest.xml")) as session:
            session.wait_for(rb"the first disk", SECONDS)
            socket.create_connection(("127.0.0.1", port), 10).close()
            session.type("\x01x")
            self.assertEqual(session.wait_end(), 0)


class Boot(FirmwareTest):
    def test_a_boot_sector_prints_and_starts_the_machine_again(self):
        with self.start(self.domain(self.boot_disk("disk", "the first disk"))) as session:
            session.wait_for(rb"SeaBIOS \(version", SECONDS)
            for _ in range(3):
                session.wait_for(rb"the first disk", SECONDS)
                session.type("x")
            session.wait_for(rb"the first disk", SECONDS)
            session.type("\x01x")
            self.assertEqual(session.wait_end(), 0)

    def test_isolinux_boots_an_isohybrid_image_as_a_disk_and_restarts(self):
        isolinux_iso(self.path("disc.iso"))
        # isolinux writes to the serial port by itself.
        domain = self.domain(("disc.iso", "raw", "<readonly/>"), os_elements="<bios useserial='no'/>", vcpus=2, memory=3072)
        with self.start(domain) as session:
            for _ in range(2):
                session.wait_for(rb"ISOLINUX 6", SECONDS)
                session.wait_for(rb"boot: ", SECONDS)
                session.type("reboot\r")
            session.type("\x01x")
            self.assertEqual(session.wait_end(), 0)

    def test_isolinux_boots_from_a_cd_where_the_disk_is_blank(self):
        isolinux_iso(self.path("disc.iso"))
        self.blank_disk("blank")
        with self.start(self.domain(("blank", "raw", ""), cdrom="disc.iso",
                                    os_elements="<boot dev='hd'/><boot dev='cdrom'/><bios useserial='no'/>")) as session:
            session.wait_for(rb"ISOLINUX 6", SECONDS)
            session.wait_for(rb"boot: ", SECONDS)

    def test_grub_boots_from_a_cd_and_restarts(self):
        grub_iso(self.path("disc.iso"))
        with self.start(self.domain(cdrom="disc.iso")) as session:
            for _ in range(2):
                session.wait_for(rb"grub> ", SECONDS)
                session.type("reboot\r")

    def test_a_cd_that_boots_as_a_floppy(self):
        floppy_iso(self.path("disc.iso"), "from a floppy")
        with self.start(self.domain(cdrom="disc.iso")) as session:
            session.wait_for(rb"from a floppy", SECONDS)

    def test_the_cd_comes_first_where_the_domain_says_so(self):
        isolinux_iso(self.path("disc.iso"))
        domain = self.domain(self.boot_disk("disk", "the first disk"), cdrom="disc.iso",
                             os_elements="<boot dev='cdrom'/><boot dev='hd'/><bios useserial='no'/>")
        with self.start(domain) as session:
            session.wait_for(rb"ISOLINUX 6", SECONDS)

    def test_the_order_is_the_domains(self):
        one, two = self.boot_disk("one", "the first disk"), self.boot_disk("two", "the second disk")
        with self.start(self.domain((*one[:2], "<boot order='2'/>"), (*two[:2], "<boot order='1'/>"))) as session:
            session.wait_for(rb"the second disk", SECONDS)

    def test_nothing_to_boot_from_is_said_and_tried_again_when_the_domain_wants_it(self):
        self.blank_disk("empty")
        domain = self.domain(("empty", "raw", ""), os_elements="<bios rebootTimeout='100'/>")
        with self.start(domain) as session:
            for _ in range(2):
                session.wait_for(rb"No bootable device", SECONDS)

    def test_the_boot_menu_lists_the_disks(self):
        disk = self.boot_disk("disk", "the first disk")
        with self.start(self.domain(disk, os_elements="<bootmenu enable='yes' timeout='60000'/>")) as session:
            session.wait_for(rb"Press ESC for boot menu", SECONDS)
            session.type("\x1b")
            session.wait_for(rb"1\. Virtio disk", SECONDS)
            session.type("1")
            session.wait_for(rb"the first disk", SECONDS)

    def test_another_firmware_is_taken_by_its_name(self):
        shutil.copy(SEABIOS, self.path("mine.bin"))
        disk = self.boot_disk("disk", "the first disk")
        with self.start(self.domain(disk, os_elements="<loader type='rom'>mine.bin</loader>")) as session:
            session.wait_for(rb"the first disk", SECONDS)


class Loader(FirmwareTest):
    """Disks as they are installed: every partition table on every bus and in every format."""

    def boot(self, make, table, banner, prompt):
        make(self.path("disk.raw"), table)
        subprocess.run([f"{os.path.dirname(VMM)}/vmm-img", "convert", "-f", "raw", "-O", "qcow2", self.path("disk.raw"),
                        self.path("disk.qcow2")], check=True)
        pairs = {"mbr": (("raw", "virtio"), ("qcow2", "ide")), "gpt": (("qcow2", "virtio"), ("raw", "ide"))}[table]
        for form, bus in pairs:
            domain = self.domain((f"disk.{form}", form, ""), bus=bus, os_elements="<bios useserial='no'/>")
            with self.subTest(form=form, bus=bus), self.start(domain) as session:
                for _ in range(2):
                    session.wait_for(banner, SECONDS)
                    session.wait_for(prompt, SECONDS)
                    session.type("reboot\r")

    def test_syslinux_on_an_mbr_disk(self):
        self.boot(syslinux_disk, "mbr", rb"SYSLINUX 6", rb"boot: ")

    def test_syslinux_on_a_gpt_disk(self):
        self.boot(syslinux_disk, "gpt", rb"SYSLINUX 6", rb"boot: ")

    def test_grub_on_an_mbr_disk(self):
        self.boot(grub_disk, "mbr", rb"grub\.cfg was read", rb"grub> ")

    def test_grub_on_a_gpt_disk(self):
        self.boot(grub_disk, "gpt", rb"grub\.cfg was read", rb"grub> ")

    def test_isolinux_on_an_isohybrid_image_as_an_ide_disk(self):
        isolinux_iso(self.path("disc.iso"))
        with self.start(self.domain(("disc.iso", "raw", ""), bus="ide", os_elements="<bios useserial='no'/>")) as session:
            session.wait_for(rb"ISOLINUX 6", SECONDS)
            session.wait_for(rb"boot: ", SECONDS)


class Program(FirmwareTest):
    """What people boot besides systems. They look at other parts of the chipset than systems do."""

    def package(self, name):
        done = subprocess.run([f"{TOP}/scripts/guest-package", name], check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    def test_ipxe_from_its_disc_and_as_a_disk(self):
        shutil.copy(f"{self.package('ipxe')}/usr/lib/ipxe/ipxe.iso", self.path("ipxe.iso"))
        for domain in (self.domain(cdrom="ipxe.iso"), self.domain(("ipxe.iso", "raw", "<readonly/>"))):
            with self.subTest(domain=domain), self.start(domain) as session:
                for _ in range(2):
                    session.wait_for(rb"iPXE initialising devices\.\.\.ok", SECONDS)
                    session.wait_for(rb"Press Ctrl-B", SECONDS)
                    session.type("\x02")
                    session.wait_for(rb"iPXE> ", SECONDS)
                    session.type("reboot\r")

    def memtest(self, domain):
        with self.start(domain) as session:
            for _ in range(2):
                session.wait_for(rb"Memtest86\+ v6", SECONDS)
                session.wait_for(rb"#[5-9] +\[", SECONDS)
                screen = session.wait_for(rb"CPU: (\S+ / \S+ / \S+)(?s:.*?)Errors: +(\d+)", SECONDS)
                self.assertEqual(screen.groups(), (b"2S / 2C / 2T", b"0"))
                session.type("\x1b")

    def test_memtest_from_a_disc(self):
        memtest_iso(self.path("disc.iso"), f"{self.package('memtest86+')}/boot/memtest86+x64.bin")
        self.memtest(self.domain(cdrom="disc.iso", vcpus=2))

    def test_memtest_as_the_kernel(self):
        shutil.copy(f"{self.package('memtest86+')}/boot/memtest86+x64.bin", self.path("memtest"))
        self.memtest(self.domain(os_elements="<kernel>memtest</kernel><cmdline>console=ttyS0,115200</cmdline>", vcpus=2))


class BadFirmware(FirmwareTest):
    def test_is_refused_by_name(self):
        disk = self.boot_disk("disk", "the first disk")
        for name, size, reason in (("missing", None, "No such file"), ("odd", 1000, "multiple of 64 KiB"), ("empty", 0, "empty")):
            if size is not None:
                with open(self.path(name), "wb") as file:
                    file.truncate(size)
            errors = self.refusal(self.domain(disk, os_elements=f"<loader>{name}</loader>"), 1)
            self.assertTrue(re.search(rf"guest\.xml:1: <os>/<loader>: .*{name}.*{reason}", errors), errors)


if __name__ == "__main__":
    unittest.main()
