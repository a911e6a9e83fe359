#!/usr/bin/env python3
"""The install loop: a blank qcow2 disk, an installer's disc, the restart, and the installed system, which QEMU boots too."""

import os
import resource
import signal
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from firmware_guest import FirmwareTest  # noqa: E402
from linux_guest import TOP, VMM, Session  # noqa: E402

SECONDS = 240
DEBIAN_SECONDS = 900
CTRL_A = "\x01\x01"  # twice: the first is vmm's own
DISK = "disk.qcow2"


class InstallLoop(FirmwareTest):
    def setUp(self):
        super().setUp()
        subprocess.run([f"{os.path.dirname(VMM)}/vmm-img", "create", "-q", "-f", "qcow2", self.path(DISK), "1G"], check=True)

    def make_disc(self, kind, *options):
        subprocess.run([f"{TOP}/scripts/make-installer-iso", kind, *options, self.path("disc.iso")], check=True)

    def qemu(self, *more):
        return Session(["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none", "-serial", "stdio",
                        "-m", "256", "-drive", f"if=virtio,format=qcow2,file={self.path(DISK)}", *more])

    def wait_until_installed(self, session):
        session.wait_for(rb"installer: the disk is /dev/vda", SECONDS)
        session.wait_for(rb"installer: installed on /dev/vda", SECONDS)

    def log_in_and_power_off(self, session):
        session.wait_for(rb"login: ", SECONDS)
        session.type("root\r")
        session.wait_for(rb"Password: ", SECONDS)
        session.type("vmm\r")
        session.wait_for(rb"guest:[^\r\n]*# ", SECONDS)
        session.type("grep -c ' / ext4 rw' /proc/mounts; dumpe2fs -h /dev/vda1 | grep 'Filesystem features'\r")
        session.wait_for(rb"\n1\r", SECONDS)
        session.wait_for(rb"Filesystem features: +has_journal", SECONDS)
        session.type("poweroff\r")
        self.assertEqual(session.wait_end(SECONDS), 0)

    def check_disk(self):
        """The image is clean, and so is the file system in it."""
        subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", self.path(DISK)], check=True)
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", self.path(DISK), self.path("disk.raw")], check=True)
        with open(self.path("disk.raw"), "rb") as disk, open(self.path("root.img"), "wb") as root:
            disk.seek(2048 * 512)
            while piece := disk.read(1 << 20):
                root.write(piece)
        found = subprocess.run(["e2fsck", "-f", "-n", self.path("root.img")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                               env=dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"))
        self.assertEqual(found.returncode, 0, found.stdout.decode(errors="replace"))

    def test_a_blank_disk_and_a_disc_become_a_system_that_qemu_boots_too(self):
        self.make_disc("isolinux")
        domain = self.domain((DISK, "qcow2", ""), cdrom="disc.iso", memory=256,
                             os_elements="<boot dev='hd'/><boot dev='cdrom'/><bios useserial='no'/>")
        with self.start(domain) as session:
            self.wait_until_installed(session)
            self.log_in_and_power_off(session)
        self.check_disk()
        with self.qemu() as session:
            self.log_in_and_power_off(session)
        self.check_disk()

    def test_grub_installs_grub_on_a_domain_without_a_drive(self):
        self.make_disc("grub")
        domain = self.domain((DISK, "qcow2", ""), memory=256, os_elements="<bios useserial='no'/>")
        with self.start(domain, "--install", self.path("disc.iso")) as session:
            self.wait_until_installed(session)
            self.log_in_and_power_off(session)
        self.check_disk()

    def test_what_qemu_installed_boots(self):
        self.make_disc("isolinux")
        disc = f"if=none,id=c,format=raw,readonly=on,file={self.path('disc.iso')}"
        with self.qemu("-drive", disc, "-device", "ide-cd,drive=c") as session:
            self.wait_until_installed(session)
            self.log_in_and_power_off(session)
        with self.start(self.domain((DISK, "qcow2", ""), memory=256)) as session:
            self.log_in_and_power_off(session)
        self.check_disk()


class DebianInstaller(FirmwareTest):
    def test_it_asks_for_the_language_and_finds_the_disc_and_the_disk(self):
        subprocess.run([f"{TOP}/scripts/make-installer-iso", "debian", "--append", "quiet DEBIAN_FRONTEND=text", self.path("disc.iso")],
                       check=True)
        self.blank_disk("disk.img")
        domain = self.domain(("disk.img", "raw", ""), cdrom="disc.iso", memory=1024,
                             os_elements="<boot dev='hd'/><boot dev='cdrom'/><bios useserial='no'/>")
        with self.start(domain) as session:
            session.wait_for(rb"Select a language", DEBIAN_SECONDS)
            session.wait_for(rb"Prompt: ", SECONDS)
            session.type(f"{CTRL_A}2")  # the second window has a shell, after Enter
            session.wait_for(rb"shell", SECONDS)
            session.type("\r")
            session.wait_for(rb"~ # ", SECONDS)
            session.type("echo disc=$(list-devices cd) disk=$(list-devices disk)\r")
            session.wait_for(rb"disc=/dev/sr0 disk=/dev/vda", SECONDS)
            session.type("mount -t iso9660 -o ro /dev/sr0 /media && ls /media/isolinux\r")
            session.wait_for(rb"isolinux\.bin", SECONDS)


class BadUse(FirmwareTest):
    def refused(self, status, reason, *arguments, **options):
        done = subprocess.run([f"{TOP}/scripts/make-installer-iso", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, check=False, **options)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(reason, done.stderr.splitlines()[-1])
        self.assertEqual(done.stdout, "")

    def test_is_refused_and_leaves_nothing(self):
        disc = self.path("disc.iso")
        self.refused(2, "invalid choice: 'lilo'", "lilo", disc)
        self.refused(2, "required: FILE", "debian")
        self.refused(2, "--loader", "debian", disc, "--loader", "grub")
        self.refused(2, "FILE: the name is empty", "isolinux", "")
        self.refused(2, "--append", "isolinux", disc, "--append", "a\nLABEL b")
        self.refused(1, f"there is no folder {self.path('missing')}", "debian", self.path("missing/disc.iso"))
        self.refused(1, f"{self.folder} is a folder", "debian", self.folder)
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_disc_that_does_not_fit_is_not_begun_in_its_place(self):
        disc = self.path("disc.iso")
        with open(disc, "w", encoding="ascii") as file:
            file.write("the disc of before")
        os.mkdir(self.path("temporary"))
        self.refused(1, "File too large; make room there", "debian", disc, preexec_fn=only_small_files,
                     env=dict(os.environ, TMPDIR=self.path("temporary")))
        with open(disc, encoding="ascii") as file:
            self.assertEqual(file.read(), "the disc of before")
        self.assertEqual(sorted(os.listdir(self.folder)), ["disc.iso", "temporary"])
        self.assertEqual(os.listdir(self.path("temporary")), [])


class GrubsDisc(FirmwareTest):
    def test_has_all_modules_that_it_loads(self):
        with open(self.path("before.iso"), "w", encoding="ascii") as file:
            file.write("the disc of before")
        os.symlink("before.iso", self.path("disc.iso"))
        subprocess.run([f"{TOP}/scripts/make-installer-iso", "grub", self.path("disc.iso")], check=True)
        self.assertTrue(os.path.islink(self.path("disc.iso")))
        subprocess.run(["xorriso", "-osirrox", "on", "-indev", self.path("before.iso"), "-extract", "/boot/grub", self.path("grub")],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(subprocess.run, ["chmod", "-R", "u+w", self.folder], check=True)
        with open(self.path("grub/i386-pc/partmap.lst"), encoding="ascii") as file:
            loaded = file.read().split()
        self.assertIn("part_msdos", loaded)
        for module in loaded:
            self.assertTrue(os.path.exists(self.path(f"grub/i386-pc/{module}.mod")), module)


def only_small_files():
    """In the child: files end at 1 MiB, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


if __name__ == "__main__":
    unittest.main()
