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
NO_STATUS = 125  # vmm's own, where a guest has an exit port
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
SECRET = "0f0e0d0c-0b0a-4908-8706-050403020100"
ENCRYPTION = f"<encryption format='luks'><secret type='passphrase' uuid='{SECRET}'/></encryption>"
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
    options = []
    if form == "luks":
        with open(guest.path("passphrase"), "w", encoding="ascii") as file:
            file.write("open, sesame")
        options = ["--object", "secret," + secret_of(guest), "-o", f"encrypt.format=luks,encrypt.key-secret={SECRET},encrypt.iter-time=10"]
    subprocess.run([VMM_IMG, "convert", "-f", "raw", "-O", "raw" if form == "raw" else "qcow2", *options, guest.path("root.img"),
                    guest.path("root.base")], check=True)


def base_guest(form, script, root_mib=512):
    """A guest whose root disk is an image of this format, which is never written to again."""
    driver = ROOT_DRIVER if form == "raw" else "<driver name='qemu' type='qcow2'/>"
    inside = ENCRYPTION if form == "luks" else ""
    guest = Guest("command.xml", ["sh", "-c", script], root_mib=root_mib,
                  edit=((ROOT_DRIVER, driver + inside), ("file='root.img'", "file='root.base'")))
    make_base(guest, form)
    return guest


def secret_of(guest):
    """As --secret takes it."""
    return f"id={SECRET},file={guest.path('passphrase')}"


def tool_options(guest, form, name):
    """How qemu-img opens the guest's image of this name."""
    if form != "luks":
        return "-f", "raw" if form == "raw" else "qcow2", guest.path(name)
    # A name there begins with a letter.
    return ("--object", f"secret,id=s,file={guest.path('passphrase')}", "--image-opts",
            f"driver=qcow2,file.filename={guest.path(name)},encrypt.key-secret=s")


class SmallFileSystem:
    """An ext4 of its own in a file, mounted. Use as a context."""

    def __init__(self, guest, mib):
        self.image, self.folder = guest.path("small.ext4"), guest.path("small")
        with open(self.image, "wb") as file:
            file.truncate(mib * MIB)
        environment = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", self.image], env=environment, check=True)

    def __enter__(self):
        os.mkdir(self.folder)
        subprocess.run(["mount", "-o", "loop", self.image, self.folder], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", self.folder], check=True)


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


class Running:
    """vmm with lines of its standard error to wait for. Use as a context: at its end it is killed if it still runs."""

    def __init__(self, guest, *options):
        self.control = guest.path("control")
        self.process = subprocess.Popen([VMM, "--domain", guest.domain, "--control", self.control, *options],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def wait_for(self, stream, text):
        for line in stream:
            if text in line:
                return line
        raise AssertionError(f"vmm ended before it said {text!r}")

    def ctl(self, *command):
        return subprocess.run([VMM, "ctl", self.control, *command], check=True, stdout=subprocess.PIPE).stdout

    def end(self):
        output, errors = self.process.communicate(timeout=BOOT_SECONDS)
        return output, errors, self.process.returncode


class Bounded(unittest.TestCase):
    FILL = "dd if=/dev/urandom of=/root/data bs=1M count=80 2>/dev/null; sync; md5sum /root/data >/root/sum; md5sum -c /root/sum"

    def test_past_its_limit_the_guest_waits_until_that_is_raised(self):
        with base_guest("qcow2", self.FILL) as guest:
            before = state_of(guest.path("root.base"))
            with Running(guest, "--ephemeral", "--ephemeral-limit", "32M") as vmm:
                line = vmm.wait_for(vmm.process.stderr, b"is paused")
                self.assertRegex(line, rb"as much as --ephemeral-limit lets it \(vmm ctl command-\d+ ephemeral-limit SIZE raises it\)")
                status = vmm.ctl("status")
                self.assertIn(b"io-error", status)
                self.assertIn(b"of at most 32 MiB", status)
                vmm.ctl("ephemeral-limit", "1G")
                output, errors, code = vmm.end()
            self.assertEqual((output, code), (b"/root/data: OK\n", 0), errors)
            self.assertEqual(state_of(guest.path("root.base")), before)

    def test_before_the_hosts_disk_is_full_the_guest_waits_for_room(self):
        with base_guest("raw", self.FILL) as guest, SmallFileSystem(guest, 200) as small:
            filler = f"{small.folder}/filler"
            with open(filler, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, 150 * MIB)
            with Running(guest, "--ephemeral", "--ephemeral-dir", small.folder) as vmm:
                self.assertIn(b"the host's disk is full", vmm.wait_for(vmm.process.stderr, b"is paused"))
                self.assertGreater(free_bytes(small.folder), MIB)
                os.remove(filler)
                output, errors, code = vmm.end()
            self.assertEqual((output, code), (b"/root/data: OK\n", 0), errors)

    def test_encrypted_the_hosts_disk_holds_nothing_readable(self):
        mark = b"what nobody else may read"
        script = "yes 'what nobody else may read' | head -c 2000000 >/root/data; sync; sleep 1; echo written; sleep 1000"
        with base_guest("qcow2", script) as guest:
            for options, is_found in (((), True), (("--ephemeral-encrypt",), False)):
                with SmallFileSystem(guest, 200) as small:
                    with Running(guest, "--ephemeral", "--ephemeral-dir", small.folder, *options) as vmm:
                        vmm.wait_for(vmm.process.stdout, b"written")
                        os.sync()
                with open(small.image, "rb") as file:
                    self.assertEqual(mark in file.read(), is_found, options)
                os.rmdir(small.folder)


class Committed(unittest.TestCase):
    def check(self, form):
        script = "if [ -e /root/data ]; then md5sum -c /root/sum; else dd if=/dev/urandom of=/root/data bs=1M count=20; " \
                 "md5sum /root/data >/root/sum; fi 2>/dev/null"
        with base_guest(form, script) as guest:
            secret = ("--secret", secret_of(guest)) if form == "luks" else ()
            files = sorted(os.listdir(guest.folder))
            ended = guest.run("--ephemeral", "--commit", *secret)
            self.assertEqual(ended.returncode, 0, ended.stderr)
            self.assertRegex(ended.stderr, rb"^vmm: what the guest wrote to vda is committed to \S+root.base \(2\d\.\d MiB\)\n$")
            self.assertEqual(sorted({*os.listdir(guest.folder)} - {"status"}), files)
            if form != "raw":
                subprocess.run(["qemu-img", "check", "-q", *tool_options(guest, form, "root.base")], check=True)
            before = state_of(guest.path("root.base"))
            ended = guest.run("--ephemeral", *secret)
            self.assertEqual((ended.stdout, ended.returncode), (b"/root/data: OK\n", 0), ended.stderr)
            self.assertEqual(state_of(guest.path("root.base")), before)

    def test_to_a_raw_base(self):
        self.check("raw")

    def test_to_the_top_of_a_chain_of_three(self):
        self.check("chain")

    def test_to_an_encrypted_base(self):
        self.check("luks")

    def test_not_where_somebody_else_uses_the_base_but_nothing_is_lost(self):
        with base_guest("qcow2", "echo changed >/root/changed") as guest:
            with open(guest.path("root.base"), "rb") as file:
                before = hashlib.file_digest(file, "sha256").digest()
            other = subprocess.Popen([VMM_IMG, "bench", "-f", "qcow2", "-c", "1000000000", "-t", "writeback", guest.path("root.base")],
                                     stdout=subprocess.DEVNULL)
            try:
                ended = guest.run("--ephemeral", "--commit")
            finally:
                other.kill()
                other.wait()
            self.assertEqual(ended.returncode, NO_STATUS)
            said = re.search(rb"root.base is in use by .*; what the guest wrote to vda is kept in (\S+uncommitted-\d+)", ended.stderr)
            self.assertTrue(said, ended.stderr)
            with open(guest.path("root.base"), "rb") as file:
                self.assertEqual(hashlib.file_digest(file, "sha256").digest(), before)
            # What the message says to do.
            subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", said[1]], check=True)
            subprocess.run(["qemu-img", "commit", "-q", "-f", "qcow2", said[1]], check=True)
            subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", guest.path("root.base")], check=True)

    def test_not_where_the_guest_did_not_switch_itself_off(self):
        with base_guest("qcow2", "echo changed >/root/changed; sync; echo written; sleep 1000") as guest:
            before = state_of(guest.path("root.base"))
            with Running(guest, "--ephemeral", "--commit") as vmm:
                vmm.wait_for(vmm.process.stdout, b"written")
                vmm.ctl("kill")
                _, errors, code = vmm.end()
            self.assertEqual(code, NO_STATUS, errors)
            self.assertIn(b"(it has not switched itself off, so that nothing is committed)", errors)
            self.assertEqual(state_of(guest.path("root.base")), before)


if __name__ == "__main__":
    unittest.main()
