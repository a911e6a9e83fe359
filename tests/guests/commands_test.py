#!/usr/bin/env python3
"""Guest programs under the commands that need no domain file, or make one: vmm run, vmm clone.

Usage: commands_test.py, with the path of vmm in VMM, and the folder of the guest programs in GUESTS.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import unittest

# Writes to its disk, here and there.
WRITER = ("--kernel", os.path.join(os.environ["GUESTS"], "blkbench.elf"), "--append", "ops=20 op=randwrite", "--memory", "64")
VMM, GUESTS = os.environ["VMM"], os.environ["GUESTS"]
MIB = 1 << 20
STATUS_SKIPPED = 77


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Commands(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="vmm-guest.", dir=os.environ.get("VMM_LAB_SCRATCH"))
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        with open(self.path("base.img"), "wb") as file:
            file.write(os.urandom(8 * MIB))
        self.before = digest(self.path("base.img"))

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_in_folder(self, *command):
        done = subprocess.run(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, errors="replace", timeout=200, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def test_a_program_alone_on_each_machine(self):
        for machine in ("pc", "microvm"):
            with self.subTest(machine=machine):
                self.assertEqual(self.run_in_folder(VMM, "run", "--kernel", os.path.join(GUESTS, "hello.elf"), "--machine", machine).stderr, "")

    def test_all_that_is_told_of_a_run_is_json_where_that_is_wanted(self):
        done = self.run_in_folder(VMM, "run", "--kernel", os.path.join(GUESTS, "hello.elf"), "--disk", "base.img", "--set", "serial.0.type=pty",
                                  "--message-format=json")
        told = [json.loads(line) for line in done.stderr.splitlines()]
        self.assertTrue(told[0]["message"].startswith("serial port 0 is on /dev/pts/"), told)
        self.assertEqual({each["severity"] for each in told}, {"note"})

    def test_what_it_writes_is_thrown_away(self):
        done = self.run_in_folder(VMM, "run", *WRITER, "--disk", "base.img")
        self.assertIn("BENCH randwrite ", done.stdout)
        self.assertIn("what the guest wrote is thrown away", done.stderr)
        self.assertEqual(digest(self.path("base.img")), self.before)
        self.assertEqual(os.listdir(self.folder), ["base.img"])

    def test_or_kept(self):
        self.run_in_folder(VMM, "run", *WRITER, "--disk", "base.img", "--keep", "kept.qcow2")
        self.assertEqual(digest(self.path("base.img")), self.before)
        self.run_in_folder("qemu-img", "check", "-q", "-f", "qcow2", "kept.qcow2")

    def test_several_at_once(self):
        command = [VMM, "run", *WRITER, "--disk", "base.img"]
        guests = [subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True) for _ in range(4)]
        for guest in guests:
            output, errors = guest.communicate(timeout=200)
            self.assertEqual(guest.returncode, 0, output + errors)
            self.assertIn("BENCH randwrite ", output)
            self.assertNotIn("warning", errors)  # each is found by its name
        self.assertEqual(digest(self.path("base.img")), self.before)

    def test_a_hundred_by_one_shell_loop(self):
        count = 100
        script = f'n=0; while [ $n -lt {count} ]; do n=$((n+1)); "$@" >out.$n 2>err.$n || echo $n & done; wait'
        loop = self.run_in_folder("sh", "-c", script, "sh", VMM, "run", *WRITER[:-1], "32", "--disk", "base.img")
        self.assertEqual(loop.stdout, "")
        for number in range(1, count + 1):
            with open(self.path(f"out.{number}"), encoding="utf-8") as out, open(self.path(f"err.{number}"), encoding="utf-8") as err:
                self.assertIn("BENCH randwrite ", out.read())
                self.assertRegex(err.read(), r"^vmm: what the guest wrote is thrown away: \d+\.\d MiB of vda\n$")
        self.assertEqual(digest(self.path("base.img")), self.before)
        self.assertEqual(len(os.listdir(self.folder)), 2 * count + 1)

    def test_a_clone_writes_to_disks_of_its_own(self):
        printed = self.run_in_folder(VMM, "run", *WRITER, "--disk", "base.img", "--name", "first", "--print").stdout
        with open(self.path("first.xml"), "w", encoding="utf-8") as file:
            file.write(printed.replace("<transient/>", ""))
        second = f"second-{os.getpid()}"  # two guests of one name are refused, and tests run side by side
        self.run_in_folder(VMM, "clone", "first.xml", second)
        self.run_in_folder(VMM, "--domain", f"{second}.xml")
        self.assertEqual(digest(self.path("base.img")), self.before)
        self.run_in_folder("qemu-img", "check", "-q", "-f", "qcow2", f"{second}-vda.qcow2")
        compared = subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", "base.img", f"{second}-vda.qcow2"],
                                  cwd=self.folder, check=False)
        self.assertEqual(compared.returncode, 1, "the guest wrote nothing to its disk")


def kvm_usable():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
        return True
    except OSError:
        return False


if __name__ == "__main__":
    if not kvm_usable() and os.environ.get("VMM_TESTS_WITHOUT_KVM") == "1":
        print("SKIPPED: no usable /dev/kvm, and VMM_TESTS_WITHOUT_KVM=1")
        sys.exit(STATUS_SKIPPED)
    unittest.main()
