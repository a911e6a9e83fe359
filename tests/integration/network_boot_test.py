#!/usr/bin/env python3
"""Booting from the network: a card's option ROM in its turn, and iPXE, which fetches a system by TFTP and HTTP."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from firmware_guest import SECONDS, FirmwareTest  # noqa: E402
from linux_guest import TOP, VMM  # noqa: E402
from media import option_rom, write  # noqa: E402

sys.path.insert(0, f"{TOP}/scripts/lib")
import initramfs  # noqa: E402

NETBOOT = "/usr/lib/debian-installer/images/12/amd64/text"
INSTALLER = f"{NETBOOT}/debian-installer/amd64"
INSTALLER_SECONDS = 500
NETWORK_FIRST = "<boot dev='network'/><boot dev='hd'/>"
HOST = "10.0.2.2"  # the user network's
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
/bin/busybox echo the system runs: $(/bin/busybox sed 's/.*\\(word=[a-z]*\\).*/\\1/' /proc/cmdline)
/bin/busybox poweroff -f
"""


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def card(inside="", kind="user"):
    return f"<interface type='{kind}'><model type='virtio'/>{inside}</interface>"


class OptionRom(FirmwareTest):
    """A ROM of a few bytes, which says that it was booted from."""

    def setUp(self):
        super().setUp()
        write(self.path("card.rom"), option_rom("from the card"))

    def boots(self, domain, *texts):
        with self.start(domain) as session:
            for text in texts:
                session.wait_for(text.encode(), SECONDS)
                session.type("x")

    def test_is_booted_from_in_its_turn(self):
        disk = self.boot_disk("disk", "the first disk")
        rom = "<rom file='card.rom'/>"
        self.boots(self.domain(disk, cards=card(rom), os_elements=NETWORK_FIRST), "from the card", "from the card")
        self.boots(self.domain(disk, cards=card(rom), os_elements="<boot dev='hd'/><boot dev='network'/>"), "the first disk")
        self.boots(self.domain((*disk[:2], "<boot order='2'/>"), cards=card() + card(f"{rom}<boot order='1'/>")), "from the card")

    def test_is_booted_from_where_the_disk_is_blank(self):
        self.blank_disk("blank")
        self.boots(self.domain(("blank", "raw", ""), cards=card("<rom file='card.rom'/>"),
                               os_elements="<boot dev='hd'/><boot dev='network'/>"), "from the card")

    def test_may_be_hidden_from_the_guest(self):
        disk = self.boot_disk("disk", "the first disk")
        self.boots(self.domain(disk, cards=card("<rom bar='off' file='card.rom'/>"), os_elements=NETWORK_FIRST), "from the card")

    def test_of_another_card_is_passed_over_and_told(self):
        write(self.path("card.rom"), option_rom("from the card", device=0x1000))
        disk = self.boot_disk("disk", "the first disk")
        with self.start(self.domain(disk, cards=card("<rom file='card.rom'/>"), os_elements=NETWORK_FIRST)) as session:
            session.wait_for(b"the first disk", SECONDS)
            session.type("\x01x")
            session.wait_end()
            self.assertIn("firmware passes over", session.process.stderr.read().decode())

    def test_where_there_is_none_the_card_is_passed_over(self):
        disk = self.boot_disk("disk", "the first disk")
        self.boots(self.domain(disk, cards=card("<rom enabled='no'/>"), os_elements=NETWORK_FIRST), "the first disk")

    def test_that_is_none_is_refused_by_name(self):
        good = option_rom("from the card")
        for content, reason in ((b"MZ" + good[2:], "at offset 0x0: no option ROM begins there"),
                                (good[:-1] + b"\0", "at offset 0x0: .*wrong checksum"),
                                (good[:300], "at offset 0x2c: an image of 512 bytes does not fit"),
                                (b"", "is empty"), (b"\0" * ((1 << 20) + 1), "more than the 1048576 that fit")):
            write(self.path("card.rom"), content)
            for options in ((), ("--check",)):
                errors = self.refusal(self.domain(cards=card("<rom file='card.rom'/>"), os_elements=NETWORK_FIRST), 1, *options)
                self.assertRegex(errors, r"guest\.xml:1: <interface>: <rom>: .*card\.rom.*" + reason if content
                                 else r"guest\.xml:1: <interface>: <rom>: the option ROM .*card\.rom is empty")


class Ipxe(FirmwareTest):
    """Debian's, without a word about it in the domain file."""

    def setUp(self):
        super().setUp()
        os.mkdir(self.path("boot"))
        handler = functools.partial(QuietHandler, directory=self.folder)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def netboot_domain(self, bootfile, memory=256, folder="boot"):
        network = f"<metadata><vmm:user-network xmlns:vmm='urn:vmm:domain:1' tftp='{folder}' bootfile='{bootfile}'/></metadata>"
        return self.domain(cards=card(), os_elements="<boot dev='network'/>", others=network, memory=memory)

    def write_system(self, name):
        archive = initramfs.Archive()
        archive.folder("dev")
        archive.device("dev/console", 5, 1)
        archive.file("init", INIT.encode(), 0o755)
        archive.file("bin/busybox", initramfs.static_busybox(), 0o755)
        write(self.path(name), archive.finish())

    def test_starts_a_kernel_from_tftp_with_an_initrd_from_http(self):
        shutil.copy(f"{INSTALLER}/linux", self.path("boot/linux"))
        self.write_system("initrd")
        write(self.path("boot/start.ipxe"), f"""#!ipxe
kernel linux console=ttyS0 quiet word=fetched
initrd http://{HOST}:{self.server.server_port}/initrd
boot
""".encode())
        with self.start(self.netboot_domain("start.ipxe")) as session:
            session.wait_for(rb"iPXE initialising devices\.\.\.ok", SECONDS)
            for name in ("start.ipxe", "linux"):
                session.wait_for(name.encode() + rb"\.\.\.[ 0-9%\b]* ok", SECONDS)
            # The kernel, which comes at once, empties the port: the last letters may be lost.
            session.wait_for(rb"initrd\.\.\.", SECONDS)
            session.wait_for(rb"the system runs: word=fetched", SECONDS)
            self.assertEqual(session.wait_end(SECONDS), 0)

    def test_starts_pxelinux_which_starts_a_kernel(self):
        for name in ("linux", "pxelinux.0", "boot-screens/ldlinux.c32"):
            shutil.copy(f"{INSTALLER}/{name}", self.path("boot"))
        self.write_system("boot/initrd")
        os.mkdir(self.path("boot/pxelinux.cfg"))
        write(self.path("boot/pxelinux.cfg/default"), b"DEFAULT it\nLABEL it\n  KERNEL linux\n  INITRD initrd\n"
                                                      b"  APPEND console=ttyS0 quiet word=pxe\n")
        with self.start(self.netboot_domain("pxelinux.0")) as session:
            session.wait_for(rb"PXELINUX 6", SECONDS)
            session.wait_for(rb"the system runs: word=pxe", SECONDS)
            self.assertEqual(session.wait_end(SECONDS), 0)

    def test_that_finds_nothing_makes_way_for_the_next_card_and_for_the_disk(self):
        disk = self.boot_disk("disk", "the first disk")
        cards = card("<link state='down'/><boot order='1'/>") + card("<boot order='2'/>")
        with self.start(self.domain((*disk[:2], "<boot order='3'/>"), cards=cards, memory=128)) as session:
            for _ in range(2):
                session.wait_for(rb"using virtio-net on 0000:00:03\.0", SECONDS)
                session.wait_for(rb"No configuration methods", SECONDS)
                session.wait_for(rb"using virtio-net on 0000:00:04\.0", SECONDS)
                session.wait_for(rb": 10\.0\.2\.15/", SECONDS)
                session.wait_for(rb"the first disk", SECONDS)
                session.type("x")

    def test_that_is_not_installed_is_named(self):
        for options in ((), ("--check",)):
            command = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /usr/lib/ipxe && exec "$@"', "sh", VMM, "--domain",
                       self.netboot_domain("start.ipxe"), *options]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=SECONDS,
                                  text=True, check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertRegex(done.stderr, r"guest\.xml:1: <interface>: .*install Debian's package ipxe-qemu")

    def test_starts_debians_installer(self):
        write(self.path("boot/start.ipxe"), f"""#!ipxe
kernel linux console=ttyS0 quiet
initrd http://{HOST}:{self.server.server_port}/initrd.gz
boot
""".encode())
        shutil.copy(f"{INSTALLER}/linux", self.path("boot/linux"))
        os.symlink(f"{INSTALLER}/initrd.gz", self.path("initrd.gz"))
        with self.start(self.netboot_domain("start.ipxe", memory=800)) as session:
            session.wait_for(rb"Select a language", INSTALLER_SECONDS)


if __name__ == "__main__":
    unittest.main()
