#!/usr/bin/env python3
"""Throwaway guests: real ones, which write to their root disk and leave its image as it was."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from linux_guest import BOOT_SECONDS, VMM, Guest  # noqa: E402

VMM_IMG = f"{os.path.dirname(VMM)}/vmm-img"
MIB = 1 << 20
# Written at the first start, found again after a reboot; the guest then ends.
WRITE_AND_FIND = """
if [ -e /root/sum ]; then md5sum -c /root/sum; exit; fi
dd if=/dev/urandom of=/root/data bs=1M count=200 2>/dev/null
md5sum /root/data >/root/sum
sync
exec >/dev/null 2>&1
echo 0 >/proc/sys/kernel/printk
reboot -f
"""
ROOT_DRIVER = "<driver name='qemu' type='raw' cache='none' io='io_uring'/>"


def state_of(path):
    """What must not change: size, times, contents."""
    info = os.stat(path)
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOATIME)) as file:
        contents = hashlib.file_digest(file, "sha256").hexdigest()
    return info.st_size, info.st_blocks, info.st_atime_ns, info.st_mtime_ns, info.st_ctime_ns, contents


def free_bytes(folder):
    info = os.statvfs(folder)
    return info.f_bavail * info.f_bsize


def make_base(guest, form):
    """The guest's root disk as root.base in this format."""
    if form == "chain":
        make_base(guest, "qcow2")
        os.rename(guest.path("root.base"), guest.path("root.first"))
        below = "root.first"
        for name in ("root.second", "root.base"):
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", below, guest.path(name)], check=True)
            below = name
        return
    subprocess.run([VMM_IMG, "convert", "-f", "raw", "-O", form, guest.path("root.img"), guest.path("root.base")], check=True)


def base_guest(form, script, root_mib=512):
    """A guest whose root disk is an image of this format, which is never written to again."""
    driver = ROOT_DRIVER if form == "raw" else "<driver name='qemu' type='qcow2'/>"
    guest = Guest("command.xml", ["sh", "-c", script], root_mib=root_mib,
                  edit=((ROOT_DRIVER, driver), ("file='root.img'", "file='root.base'")))
    make_base(guest, form)
    return guest


class Ephemeral(unittest.TestCase):
    def check(self, form):
        with base_guest(form, WRITE_AND_FIND) as guest:
            before, files = state_of(guest.path("root.base")), sorted(os.listdir(guest.folder))
            ended = guest.run("--ephemeral")
            self.assertEqual((ended.stdout, ended.returncode), (b"/root/data: OK\n", 0), ended.stderr)
            said = re.fullmatch(rb"vmm: what the guest wrote is thrown away: (\d+)\.\d MiB of vda\n", ended.stderr)
            self.assertTrue(said, ended.stderr)
            self.assertTrue(200 <= int(said[1]) < 260, ended.stderr)
            self.assertEqual(state_of(guest.path("root.base")), before)
            self.assertEqual(sorted(os.listdir(guest.folder)), files)

    def test_a_raw_base_is_left_as_it_was(self):
        self.check("raw")

    def test_a_chain_of_three_is_left_as_it_was(self):
        self.check("chain")

    def test_kept_it_is_an_image_that_qemu_reads(self):
        script = "echo kept >/root/kept; dd if=/dev/urandom of=/root/data bs=1M count=20 2>/dev/null; md5sum </root/data"
        with base_guest("qcow2", script) as guest:
            before = state_of(guest.path("root.base"))
            ended = guest.run("--ephemeral", "--keep", guest.path("kept.qcow2"))
            self.assertEqual(ended.returncode, 0, ended.stderr)
            self.assertIn(b"is kept in " + guest.path("kept.qcow2").encode(), ended.stderr)
            self.assertEqual(state_of(guest.path("root.base")), before)
            subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", guest.path("kept.qcow2")], check=True)
            flat = guest.path("flat.img")
            subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", guest.path("kept.qcow2"), flat], check=True)
            environment = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
            self.assertEqual(subprocess.run(["e2fsck", "-fn", flat], env=environment, stdout=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL, check=False).returncode, 0)
            data = subprocess.run(["debugfs", "-R", "cat /root/data", flat], env=environment, check=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL).stdout
            summed = subprocess.run(["md5sum"], input=data, check=True, stdout=subprocess.PIPE).stdout
            self.assertEqual(ended.stdout, summed)

    def test_many_on_one_base_and_some_are_killed(self):
        count = 4
        script = "dd if=/dev/urandom of=/root/data bs=1M count=50 2>/dev/null; sync; echo written; sleep 1000"
        with base_guest("qcow2", script) as guest:
            before, files = state_of(guest.path("root.base")), sorted(os.listdir(guest.folder))
            free = free_bytes(guest.folder)
            guests = [subprocess.Popen([VMM, "--domain", guest.domain, "--ephemeral", "--log-level", "error"],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(count)]
            try:
                for each in guests:
                    self.assertEqual(each.stdout.readline(), b"written\n")
                writer = subprocess.run([VMM_IMG, "resize", "-f", "qcow2", guest.path("root.base"), "1G"], check=False,
                                        stderr=subprocess.PIPE)
                self.assertIn(b"in use by another process", writer.stderr)
                subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", guest.path("root.img"),
                                guest.path("root.base")], check=True)
            finally:
                for number, each in enumerate(guests):
                    each.send_signal(signal.SIGKILL if number % 2 else signal.SIGQUIT)
                for each in guests:
                    each.communicate(timeout=BOOT_SECONDS)
            self.assertEqual(state_of(guest.path("root.base")), before)
            self.assertEqual(sorted(os.listdir(guest.folder)), files)
            subprocess.run([VMM_IMG, "resize", "-f", "qcow2", guest.path("root.base"), "1G"], check=True, stdout=subprocess.DEVNULL)
            deadline = time.monotonic() + 30  # a file system may give space back a little later
            while time.monotonic() < deadline and free - free_bytes(guest.folder) > 20 * MIB:
                time.sleep(0.5)
            self.assertLess(free - free_bytes(guest.folder), 20 * MIB)

    def test_in_memory_where_that_is_asked_for(self):
        with base_guest("qcow2", WRITE_AND_FIND) as guest:
            before = state_of(guest.path("root.base"))
            ended = guest.run("--ephemeral=memory")
            self.assertEqual((ended.stdout, ended.returncode), (b"/root/data: OK\n", 0), ended.stderr)
            self.assertEqual(state_of(guest.path("root.base")), before)


if __name__ == "__main__":
    unittest.main()
