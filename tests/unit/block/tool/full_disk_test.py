"""A qcow2 image on a file system that is really full: requests fail, and go on once there is space.

The file system is a small tmpfs in a mount namespace of its own, for which a user namespace does where we are not root.
"""

import os
import subprocess
import sys
import unittest

from tool import ToolTest

DISK_OPS = os.environ["DISK_OPS"]
MIB = 1 << 20
INSIDE = "VMM_TEST_INSIDE"


class FullDisk(ToolTest):
    def setUp(self):
        super().setUp()
        self.small = self.path("small")
        os.mkdir(self.small)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6M", "none", self.small], check=True)
        self.addCleanup(subprocess.run, ["umount", self.small], check=True)
        self.image, self.ballast = os.path.join(self.small, "image"), os.path.join(self.small, "ballast")

    def operations(self, *options):
        return subprocess.Popen([DISK_OPS, *options, self.image], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def say(self, child, *lines):
        """What is printed till these are all done."""
        child.stdin.write("\n".join(lines) + "\nsay done\n")
        child.stdin.flush()
        printed = []
        for line in child.stdout:
            if line == "done\n":
                return printed
            printed.append(line)
        self.fail("".join(printed))

    def fill(self):
        with open(self.ballast, "wb", buffering=0) as file:
            for length in (65536, 4096):
                try:
                    while True:
                        file.write(bytes(length))
                except OSError:
                    pass

    def run_case(self, options, more):
        base = os.path.join(self.folder, "base")
        with open(base, "wb") as file:
            file.write(b"below" * 400_000)
        self.qemu("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", "-o", more, self.image, "8M")
        child = self.operations("--io", "threads", *options)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        self.assertEqual(self.say(child, "w 0 65536 1", "w 1000000 4096 2", "b", "f"), [])
        self.fill()
        writes = [f"w {512 * 1024 + i * 300_000} 40000 {10 + i}" for i in range(24)]
        failed = self.say(child, *writes, "b", "f")
        self.assertGreater(len([line for line in failed if " w " in f" {line}"]), 15, failed)
        self.assertEqual(self.say(child, "w 0 65536 3"), [], "what has its place needs no space")
        self.qemu("qemu-img", "check", "-U", "-q", "-f", "qcow2", self.image)
        os.remove(self.ballast)
        self.assertEqual(self.say(child, *writes, "b", "f", "d 0 4096", "b", "f"), [])
        self.assertEqual(self.say(child, f"dump {self.folder}/ours"), [])
        child.stdin.close()
        self.assertEqual(child.wait(60), 0)
        child.stdout.close()
        self.assertIn("No errors", self.qemu("qemu-img", "check", "-f", "qcow2", self.image))
        self.assertEqual(self.img("compare", "-f", "qcow2", "-F", "raw", self.image, self.path("ours")).status, 0)
        self.qemu("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", self.image, self.path("ours"))
        os.remove(self.image)

    def test_a_commit_that_cannot_fit_changes_nothing(self):
        for form in ("qcow2", "raw"):
            self.qemu("qemu-img", "create", "-q", "-f", form, self.image, "20M")
            overlay = self.create("overlay.qcow2", "-b", self.image, "-F", form, size="20M")
            self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 9M", overlay)
            with open(self.image, "rb") as file:
                before = file.read()
            result = self.img("commit", "-f", "qcow2", overlay)
            self.assertEqual(result.status, 1)
            self.assertRegex(result.errors, "image: needs .* more at least")
            with open(self.image, "rb") as file:
                self.assertEqual(file.read(), before)
            # What has its place already, and zeroes, need none.
            self.qemu("qemu-io", "-f", form, "-c", "write -P 2 0 5M", self.image)
            overlay = self.create("overlay.qcow2", "-b", self.image, "-F", form, size="20M")
            self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 5M", "-c", "write -z 5M 15M", overlay)
            self.assertEqual(self.img("commit", "-q", "-f", "qcow2", overlay).status, 0)
            self.qemu("qemu-io", "-r", "-f", form, "-c", "read -P 1 0 5M", self.image)
            os.remove(self.image)

    def test_writes_go_on_once_there_is_space(self):
        for options in (["--cache", "writeback"], ["--cache", "writethrough"], ["--cache", "writeback", "--table-cache", "1", "--discard"]):
            for more in ("cluster_size=4k", "cluster_size=64k", "cluster_size=32k,extended_l2=on,refcount_bits=64"):
                with self.subTest(options=options, more=more):
                    self.run_case(options, more)

    def test_a_conversion_for_which_there_is_no_space_says_so(self):
        self.fill()
        source = self.write("source", os.urandom(3 * MIB))
        result = self.img("convert", "-f", "raw", "-O", "qcow2", source, self.image)
        self.assertNotEqual(result.status, 0)
        self.assertIn("image", result.errors)
        os.remove(self.ballast)
        result = self.img("convert", "-f", "raw", "-O", "qcow2", source, self.image)
        self.assertEqual(result.status, 0, result.errors)
        self.qemu("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", source, self.image)

    def test_what_cannot_fit_is_refused_first_and_what_can_is_not(self):
        target = os.path.join(self.small, "new")
        sparse = self.write("sparse", b"")
        with open(sparse, "r+b") as file:
            file.truncate(64 * MIB)
            file.seek(40 * MIB)
            file.write(os.urandom(MIB))
        zeroes = self.write("zeroes", bytes(32 * MIB) + os.urandom(MIB))
        packed = self.write("packed", b"The quick brown fox. " * (MIB // 2))
        random = self.write("random", os.urandom(8 * MIB))
        for arguments in (["-O", "raw", sparse], ["-O", "qcow2", sparse], ["-O", "raw", zeroes], ["-O", "qcow2", zeroes], ["-c", "-O", "qcow2", packed]):
            result = self.img("convert", "-f", "raw", *arguments, target)
            self.assertEqual(result.status, 0, (arguments, result.errors))
            os.remove(target)
        calls = self.path("calls")
        for arguments, needed in ((["-O", "raw", random], "[6-8]"), (["-O", "qcow2", random], "[6-8]"), (["-O", "raw", packed], "[67]"),
                                  (["-S", "0", "-O", "raw", zeroes], "33"), (["-o", "preallocation=falloc", "-O", "raw", sparse], "64"),
                                  (["-o", "preallocation=full", "-O", "qcow2", sparse], "64")):
            result = self._run("strace", "-f", "-o", calls, "-e", "trace=pwrite64,write,fallocate,io_uring_enter,ftruncate", os.environ["VMM_IMG"], "convert",
                               "-f", "raw", *arguments, target)
            self.assertEqual(result.status, 1, arguments)
            self.assertRegex(result.errors, rf"{target}: needs {needed}[.\d]* MiB at least, and its file system has \d[.\d]* MiB free", arguments)
            self.assertEqual(os.listdir(self.small), [])
            with open(calls, encoding="utf-8") as file:
                self.assertNotIn("pwrite64(", file.read(), "nothing is written before")


if __name__ == "__main__":
    if INSIDE not in os.environ:
        own = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-m", "-U", "-r"]
        if subprocess.run([*own, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode != 0:
            print("no mount namespace can be made here")
            sys.exit(77)
        os.execvpe(own[0], [*own, sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})
    unittest.main()
