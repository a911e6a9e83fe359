"""vmm-img dd makes what qemu-img dd makes."""

import hashlib
import json
import os
import random
import unittest

from tool import ToolTest

MIB = 1 << 20


class Dd(ToolTest):
    def digest(self, path):
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def source(self, size):
        numbers = random.Random(size)
        path = self.write("source", b"")
        os.truncate(path, size)
        with open(path, "r+b") as file:
            for _ in range(6 if size else 0):
                file.seek(numbers.randrange(size))
                file.write(numbers.randbytes(5000))
            file.truncate(size)
        return path

    def expect_like_qemu(self, *operands, format="raw", target="raw", source=None):
        words = ["dd", "-f", format, "-O", target, f"if={source or self.path('source')}", *operands]
        for name in ("theirs", "ours"):
            if os.path.exists(self.path(name)):
                os.remove(self.path(name))
        theirs = self._run("qemu-img", *words, f"of={self.path('theirs')}")
        ours = self.img(*words, f"of={self.path('ours')}")
        with self.subTest(words=words, errors=ours.errors):
            self.assertEqual((ours.status, ours.output), (theirs.status, theirs.output))
            self.assertEqual(os.path.exists(self.path("ours")), os.path.exists(self.path("theirs")))
            self.assertEqual("cannot skip" in ours.errors, "cannot skip" in theirs.errors)
            if ours.status == 0 and target == "raw":
                self.assertEqual(self.digest(self.path("ours")), self.digest(self.path("theirs")))
            elif ours.status == 0:
                self.qemu("qemu-img", "compare", "-f", target, "-F", target, self.path("ours"), self.path("theirs"))
                self.qemu("qemu-img", "check", "-q", self.path("ours"))
                sizes = {json.loads(self.qemu("qemu-img", "info", "--output=json", self.path(name)))["virtual-size"] for name in ("ours", "theirs")}
                self.assertEqual(len(sizes), 1)
        return ours

    def test_blocks_of_each_size_counted_and_skipped(self):
        self.source(10000)
        for operands in ((), ("bs=1000", "count=3"), ("bs=1000", "count=8", "skip=3"), ("bs=1000", "skip=3"), ("skip=100",), ("count=0",),
                         ("bs=1M",), ("bs=1k", "count=1k"), ("skip=19",), ("skip=20",), ("bs=1000", "skip=10", "count=4"), ("bs=7", "skip=1"),
                         ("bs=7", "skip=1", "count=9E"), ("bs=2147483647", "skip=7E"), ("bs=4k", "bs=1k", "count=2")):
            self.expect_like_qemu(*operands)
            self.expect_like_qemu(*operands, target="qcow2")

    def test_files_of_each_length(self):
        for size in (0, 1, 511, 513, 3 * MIB + 77):
            self.source(size)
            for operands in ((), ("bs=77", "skip=3"), ("bs=64k", "skip=1", "count=20")):
                self.expect_like_qemu(*operands)
                self.expect_like_qemu(*operands, target="qcow2")

    def test_images_with_holes_compression_and_a_backing_file(self):
        self.source(2 * MIB)
        path = self.create("image", "-b", "source", "-F", "raw", size="3M")
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 1 100k 300k", "-c", "write -c -P 2 1M 64k", "-c", "write -z 1500k 100k", path)
        for operands in ((), ("bs=1000", "skip=150", "count=2000"), ("bs=300k", "skip=3")):
            self.expect_like_qemu(*operands, format="qcow2", source=path)
            self.expect_like_qemu(*operands, format="qcow2", target="qcow2", source=path)
        self.img("dd", "-f", "qcow2", "-O", "qcow2", f"if={path}", f"of={self.path('ours')}", "bs=1M", "skip=2")
        self.assertLess(os.stat(self.path("ours")).st_blocks * 512, MIB // 2)  # what is not there is not stored

    def test_an_encrypted_image(self):
        path = self.create("image", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10")
        self.qemu("qemu-io", "--object", self.secret, "--image-opts", "-c", "write -P 7 0 100k", "-c", "write -P 8 100k 100k",
                  f"driver=qcow2,encrypt.key-secret=s,file.filename={path}")
        result = self.img("dd", "-f", "qcow2", "--object", self.secret, f"if={path}", f"of={self.path('raw')}", "bs=1000", "skip=102", "count=103")
        self.assertEqual(result.status, 0, result.errors)
        with open(self.path("raw"), "rb") as file:
            self.assertEqual(file.read(), b"\7" * 400 + b"\10" * 600 + b"\0" * 24)

    def test_nothing_is_lost_where_it_fails(self):
        path = self.source(MIB)
        before = self.digest(path)
        overlay = self.create("overlay", "-b", "source", "-F", "raw")
        os.link(path, self.path("link"))
        for source, format in ((path, "raw"), (self.path("link"), "raw"), (overlay, "qcow2"), (self.path("missing"), "raw")):
            result = self.img("dd", "-f", format, f"if={source}", f"of={path}")
            self.assertEqual(result.status, 1)
            self.assertTrue(result.errors)
        self.assertEqual(self.digest(path), before)
        self.assertEqual(sorted(os.listdir(self.folder)), ["link", "overlay", "passphrase", "source"])

    def test_errors_are_told(self):
        self.source(1000)
        for operands in (("bs=0",), ("bs=2G",), ("bs=x",), ("count=-1",), ("count=",), ("foo",), ("foo=1",), ("skip",)):
            self.assertEqual(self.expect_like_qemu(*operands).status, 1)
        for words in (["-f", "raw", "if=source"], ["-f", "raw", "of=ours"], ["if=source", "of=ours"], ["-f", "raw", "-O", "qcow", "if=source", "of=ours"],
                      ["-f", "raw", "if=", "of=ours"]):
            result = self.img("dd", *words)
            self.assertEqual(result.status, 1)
            self.assertFalse(os.path.exists(self.path("ours")))


if __name__ == "__main__":
    unittest.main()
