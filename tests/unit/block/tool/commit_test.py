"""vmm-img commit: the base has what the image held, the image is empty and reads as before, whatever interrupts it."""

import json
import os
import random
import shutil
import subprocess
import unittest

from tool import VMM_IMG, ToolTest

MIB = 1 << 20
SIZE = 4 * MIB


class Commit(ToolTest):
    def io(self, path, *commands):
        words = [word for command in commands for word in ("-c", command)]
        self.assertNotIn("failed", self.qemu("qemu-io", "-f", "qcow2", *words, path))

    def base(self, name, format="raw", size=SIZE):
        raw = self.write(name + ".data", random.Random(name).randbytes(size))
        self.qemu("qemu-img", "convert", "-f", "raw", "-O", format, raw, self.path(name))
        return self.path(name)

    def overlay(self, name, base, format, *options, size=SIZE):
        """With data, zeroes over data, and parts of clusters."""
        path = self.create(name, *options, "-b", base, "-F", format, size=str(size))
        self.io(path, "write -P 1 4k 100k", "write -z 1M 300k", "write -P 2 3000k 512", f"write -P 3 {size - 512} 512")
        return path

    def contents(self, path, format="qcow2"):
        raw = self.path("contents.raw")
        self.qemu("qemu-img", "convert", "-f", format, "-O", "raw", path, raw)
        with open(raw, "rb") as file:
            return file.read()

    def commit(self, *words):
        result = self.img("commit", *words)
        self.assertEqual((result.status, result.output), (0, "Image committed.\n"), result.errors)

    def refusal(self, *words):
        result = self.img("commit", *words)
        self.assertEqual((result.status, result.output), (1, ""))
        self.assertEqual(result.errors.count("\n"), 1)
        return result.errors

    def expect_empty(self, path):
        self.qemu("qemu-img", "check", "-q", path)
        check = json.loads(self.qemu("qemu-img", "check", "--output=json", path))
        self.assertEqual(check.get("allocated-clusters", 0), 0)
        self.assertLessEqual(os.path.getsize(path), check["image-end-offset"])

    def test_the_base_has_it_and_the_image_is_empty(self):
        for format in ("raw", "qcow2"):
            for options in ("compat=0.10", "cluster_size=512", "cluster_size=64k", "cluster_size=2M", "extended_l2=on"):
                with self.subTest(format=format, options=options):
                    base = self.base("base", format)
                    path = self.overlay("overlay", base, format, "-o", options)
                    before = self.contents(path)
                    self.commit("-f", "qcow2", path)
                    self.assertEqual(self.contents(base, format), before)
                    self.assertEqual(self.contents(path), before)
                    self.expect_empty(path)
                    self.assertLessEqual(os.path.getsize(path), 8 * MIB if options == "cluster_size=2M" else MIB)
                    if format == "qcow2":
                        self.qemu("qemu-img", "check", "-q", base)
                    self.io(path, "write -P 9 0 2M")
                    self.commit("-f", "qcow2", path)
                    self.assertEqual(self.contents(base, format)[:2 * MIB], b"\t" * (2 * MIB))

    def test_compressed_clusters_too(self):
        base = self.base("base")
        path = self.create("overlay", "-b", base, "-F", "raw", size=str(SIZE))
        self.io(path, "write -c -P 1 64k 64k", "write -c -P 2 1M 64k")
        before = self.contents(path)
        self.commit("-f", "qcow2", "-t", "none", path)
        self.assertEqual(self.contents(base, "raw"), before)
        self.expect_empty(path)

    def test_with_d_the_image_stays(self):
        base = self.base("base")
        path = self.overlay("overlay", base, "raw")
        with open(path, "rb") as file:
            before = file.read()
        self.commit("-d", "-f", "qcow2", path)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), before)
        self.assertEqual(self.contents(base, "raw"), self.contents(path))
        result = self.img("commit", "-q", "-p", "-d", "-f", "qcow2", path)
        self.assertEqual((result.status, result.output), (0, ""))
        result = self.img("commit", "-p", "-d", "-f", "qcow2", path)
        self.assertIn("(100.00/100%)", result.output)

    def test_all_images_above_the_one_that_b_names(self):
        """One of them is shorter than those around it, and hides what lies below."""
        os.mkdir(self.path("there"))
        for middle_size in (SIZE // 2, SIZE):
            with self.subTest(middle_size=middle_size):
                base = self.base("there/base")
                middle = self.create("there/middle", "-b", "base", "-F", "raw", size=str(middle_size))
                self.io(middle, "write -P 5 100k 200k", "write -P 6 1M 64k")
                top = self.overlay("there/top", "middle", "qcow2")
                before = self.contents(top)
                for name in ("base", "middle", "top"):
                    shutil.copy(self.path("there/" + name), self.path(name))
                with open(top, "rb") as file:
                    top_before = file.read()
                self.commit("-f", "qcow2", "-b", "base", top)
                self.qemu("qemu-img", "commit", "-f", "qcow2", "-b", "base", self.path("top"))
                with open(base, "rb") as ours, open(self.path("base"), "rb") as theirs:
                    self.assertEqual(ours.read(), before)
                    self.assertEqual(theirs.read(), before)
                with open(top, "rb") as file:
                    self.assertEqual(file.read(), top_before)
                self.assertEqual(self.contents(top), before)

    def test_a_base_of_another_length(self):
        for format in ("raw", "qcow2"):
            with self.subTest(format=format):
                base = self.base("base", format, size=2 * MIB)
                path = self.overlay("overlay", base, format)
                before = self.contents(path)
                self.commit("-f", "qcow2", path)
                self.assertEqual(self.contents(base, format), before)
                self.assertEqual(self.contents(path), before)
        long = self.base("long", size=2 * SIZE)
        path = self.overlay("overlay", long, "raw")
        before = self.contents(path)
        with open(long, "rb") as file:
            tail = file.read()[SIZE:]
        self.commit("-f", "qcow2", path)
        self.assertEqual(self.contents(long, "raw"), before + tail)

    def test_a_base_grows_over_a_longer_one_by_zeroes(self):
        root = self.base("root")
        base = self.create("base", "-b", root, "-F", "raw", size="1M")
        path = self.create("overlay", "-b", base, "-F", "qcow2", size="3M")
        self.io(path, "write -P 1 2M 64k")
        before = self.contents(path)
        self.commit("-f", "qcow2", path)
        self.assertEqual(self.contents(base), before)
        self.assertEqual(self.contents(path), before)

    def test_encrypted_images(self):
        encryption = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
        base = self.create("base", "-o", encryption, size=str(SIZE))
        self.assertEqual(self.img("create", "-f", "qcow2", "-b", base, "-F", "qcow2", "-o", encryption, "--object",
                                  self.secret, self.path("overlay")).status, 0)
        image = f"driver=qcow2,encrypt.key-secret=s,file.filename={self.path('overlay')},backing.encrypt.key-secret=s"
        io = ["qemu-io", "--object", self.secret, "--image-opts"]
        self.qemu(*io, "-c", "write -P 7 100k 256k", image)
        self.assertIn("secret", self.refusal("-f", "qcow2", self.path("overlay")))
        self.commit("-f", "qcow2", "--object", self.secret, self.path("overlay"))
        self.assertNotIn("failed", self.qemu(*io, "-c", "read -P 7 100k 256k", f"driver=qcow2,encrypt.key-secret=s,file.filename={base}"))
        self.assertNotIn("failed", self.qemu(*io, "-c", "read -P 7 100k 256k", image))
        self.assertEqual(self.json("check", "-f", "qcow2", "--output=json", self.path("overlay")).get("allocated-clusters", 0), 0)

    def test_an_external_data_file_gives_its_space_back(self):
        base, data = self.base("base"), self.path("data")
        path = self.overlay("overlay", base, "raw", "-o", f"data_file={data}")
        before = self.contents(path)
        self.assertIn("--data-file", self.refusal("-f", "qcow2", path))
        self.commit("-f", "qcow2", "--data-file", data, path)
        self.assertEqual(self.contents(base, "raw"), before)
        self.assertEqual(self.contents(path), before)
        self.expect_empty(path)
        self.assertLess(os.stat(data).st_blocks * 512, 65536)

    def test_an_image_of_version_1_is_committed_and_stays(self):
        base = self.base("base")
        path = self.path("overlay")
        self.qemu("qemu-img", "create", "-q", "-f", "qcow", "-b", base, "-F", "raw", path)
        self.qemu("qemu-io", "-f", "qcow", "-c", "write -P 4 64k 64k", path)
        words = ["-f", "qcow", "--backing-format", "raw", path]
        self.assertIn("-d leaves it", self.refusal(*words))
        self.commit("-d", *words)
        with open(base, "rb") as file:
            self.assertEqual(file.read()[64 << 10:128 << 10], b"\4" * (64 << 10))

    def test_dirty_bitmaps_stay_valid(self):
        base = self.base("base")
        path = self.overlay("overlay", base, "raw")
        self.qemu("qemu-img", "bitmap", "--add", path, "b0")
        self.commit("-f", "qcow2", path)
        info = json.loads(self.qemu("qemu-img", "info", "--output=json", path))
        self.assertEqual([(each["name"], each["flags"]) for each in info["format-specific"]["data"]["bitmaps"]], [("b0", ["auto"])])
        self.qemu("qemu-img", "check", "-q", path)

    def test_what_cannot_be_is_refused_and_nothing_changes(self):
        base = self.base("base")
        path = self.overlay("overlay", base, "raw")
        snapshots = self.overlay("snapshots", base, "raw")
        self.qemu("qemu-img", "snapshot", "-c", "s", snapshots)
        gone = self.create("gone", "-u", "-b", "nowhere", "-F", "raw")
        loop = self.create("loop", "-u", "-b", "loop", "-F", "qcow2")
        alone = self.create("alone")
        files = [base, path, snapshots, gone, loop, alone]
        before = [self.digest(file) for file in files]
        for words, text in ((["-f", "qcow2", alone], "stands on no other image"), (["-f", "raw", base], "stands on no other image"),
                            (["-f", "qcow2", "-b", "alone", path], "none of those that it stands on"),
                            (["-f", "qcow2", "-b", "overlay", path], "none of those"), (["-f", "qcow2", "-b", "", path], "empty"),
                            (["-f", "qcow2", snapshots], "internal snapshots"), (["-f", "qcow2", gone], "no such file"),
                            (["-f", "qcow2", loop], "stands on itself"), (["-f", "qcow2", "-t", "fast", path], "cache mode"),
                            (["-f", "qed", path], "qed"), ([path], "-f")):
            with self.subTest(words=words):
                self.assertIn(text, self.refusal(*words))
        self.assertEqual([self.digest(file) for file in files], before)

    def digest(self, path):
        with open(path, "rb") as file:
            return hash(file.read())

    def test_a_base_whose_guest_has_newer_data_elsewhere_is_left_alone(self):
        base = self.base("base.raw")
        other = self.overlay("other.qcow2", base, "raw", size=2 * SIZE)
        os.setxattr(base, "user.vmm.newer", f"- {self.path('newer.qcow2')}".encode())
        self.assertIn("would be spoiled", self.refusal("-f", "qcow2", other))
        self.assertEqual(os.path.getsize(base), SIZE)
        self.assertIn("newer.qcow2", self.img("info", "-f", "raw", base).output)
        forgotten = self.img("unmark", base)
        self.assertEqual((forgotten.status, forgotten.output), (0, f"Forgotten: that what its guest wrote since is in {self.path('newer.qcow2')}\n"))
        self.assertEqual((self.img("unmark", base).output, self.img("unmark", self.path("none")).status), ("", 1))
        self.commit("-f", "qcow2", other)
        self.assertEqual(os.path.getsize(base), 2 * SIZE)

    def test_images_in_use_are_left_alone(self):
        base = self.base("base", "qcow2")
        path = self.overlay("overlay", base, "qcow2")
        other = self.create("other", "-b", base, "-F", "qcow2", size=str(SIZE))
        files = [base, path]
        before = [self.digest(file) for file in files]
        for used, words in ((other, []), (path, []), (other, ["-d"]), (path, ["-d"])):
            with self.subTest(used=used, words=words):
                user = self.popen("qemu-io", "-f", "qcow2", used)
                user.stdin.write(b"read 0 512\n")
                user.stdin.flush()
                user.stdout.readline()
                errors = self.refusal("-f", "qcow2", *words, path)
                self.assertIn("in use", errors)
                self.assertIn(str(user.pid), errors)
                user.stdin.write(b"quit\n")
                user.stdin.flush()
                user.wait()
        self.assertEqual([self.digest(file) for file in files], before)
        self.commit("-f", "qcow2", path)

    def test_killed_at_any_moment_it_reads_as_before_and_is_done_again(self):
        size = 32 * MIB
        for format in ("raw", "qcow2"):
            base = self.base("base", format, size=size // 2)
            path = self.create("overlay", "-b", base, "-F", format, size=str(size))
            self.io(path, *(f"write -P {i + 1} {i * 2}M 1088k" for i in range(15)), "write -z 31M 1M")
            before = self.contents(path)
            killed = 0
            for step in range(60):
                child = subprocess.Popen([VMM_IMG, "commit", "-q", "-f", "qcow2", path], stdin=subprocess.DEVNULL)
                try:
                    child.wait(timeout=step * 0.002)
                except subprocess.TimeoutExpired:
                    child.kill()
                    killed += 1
                status = child.wait()
                # The kernel may keep the locks of one that was killed for an instant, for which qemu-img does not wait.
                self.json("info", "-f", "qcow2", "--backing-chain", "--output=json", path)
                if step % 4 == 0 or status == 0:
                    self.assertEqual(self.contents(path), before, f"at step {step}")
                    # What is leaked is found again by the next one.
                    self.assertIn(self.img("check", "-f", "qcow2", path).status, (0, 3))
                if status == 0:
                    break
            else:
                self.commit("-f", "qcow2", path)
            self.assertGreater(killed, 0)
            self.assertEqual(self.contents(base, format), before)
            self.expect_empty(path)
            if format == "qcow2":
                self.assertIn(self.img("check", "-q", "-f", "qcow2", base).status, (0, 3))


if __name__ == "__main__":
    unittest.main()
