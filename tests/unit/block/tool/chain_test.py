"""What info tells of a chain, and the backing file as an option of create."""

import json
import os
import unittest

from tool import ToolTest


class Chain(ToolTest):
    def test_a_missing_base_is_named_with_its_whole_chain(self):
        for name, base in (("middle", "gone"), ("top", "middle")):
            self.create(name, "-u", "-b", base, "-F", "qcow2")
        result = self.img("info", "-f", "qcow2", "--backing-chain", self.path("top"))
        self.assertEqual((result.status, result.errors.count("\n")), (1, 1))
        self.assertIn(" -> ".join(self.path(name) for name in ("top", "middle", "gone")), result.errors)

    def test_a_loop_is_called_one(self):
        for name, base in (("a", "b"), ("b", "./a"), ("self", "self")):
            self.create(name, "-u", "-b", base, "-F", "qcow2")
        for name in ("a", "b", "self"):
            result = self.img("info", "-f", "qcow2", "--backing-chain", self.path(name))
            self.assertEqual(result.status, 1)
            self.assertIn("stands on itself", result.errors)
            self.assertIn("(backing chain: " + self.path(name), result.errors)

    def test_create_takes_the_backing_file_as_an_option_too(self):
        self.create("base", size="3M")
        result = self.img("create", "-f", "qcow2", "-o", "backing_file=base,backing_fmt=qcow2,cluster_size=4k", self.path("overlay"))
        self.assertEqual(result.status, 0, result.errors)
        info = json.loads(self.qemu("qemu-img", "info", "--output=json", self.path("overlay")))
        self.assertEqual((info["virtual-size"], info["backing-filename"], info["backing-filename-format"]), (3 << 20, "base", "qcow2"))
        for words in (["-b", "base", "-F", "qcow2", "-o", "backing_file=base"], ["-b", "base", "-F", "qcow2", "-o", "backing_fmt=raw"],
                      ["-o", "backing_file=base"], ["-o", "backing_file=gone,backing_fmt=raw"]):
            with self.subTest(words=words):
                self.assertEqual(self.img("create", "-f", "qcow2", *words, self.path("none"), "1M").status, 1)
                self.assertFalse(os.path.exists(self.path("none")))

    def test_autoclear_bits_that_are_not_known_are_cleared_by_who_writes(self):
        def autoclear():
            with open(path, "rb") as file:
                file.seek(88)
                return int.from_bytes(file.read(8), "big")

        path = self.create("image")
        raw = self.write("raw", bytes(1 << 20))
        with open(path, "r+b") as file:
            file.seek(88)
            file.write((1 << 40 | 1 << 2).to_bytes(8, "big"))
        self.assertEqual(self.img("compare", "-f", "qcow2", "-F", "raw", path, raw).status, 0)
        self.assertEqual(autoclear(), 1 << 40 | 1 << 2)  # who only reads changes nothing
        self.assertEqual(self.img("convert", "-n", "-f", "raw", "-O", "qcow2", raw, path).status, 0)
        self.assertEqual(autoclear(), 0)


if __name__ == "__main__":
    unittest.main()
