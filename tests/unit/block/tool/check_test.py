"""vmm-img check judges images as qemu-img check does, and repairs them so that it is content."""

import json
import os
import struct
import unittest

from tool import ToolTest


class Check(ToolTest):
    def expect_like_qemu(self, path):
        ours, theirs = self.img("check", "-f", "qcow2", path), self._run("qemu-img", "check", "-f", "qcow2", path)
        self.assertEqual((ours.status, ours.output), (theirs.status, theirs.output), ours.errors)
        ours = self.img("check", "-f", "qcow2", "--output=json", path)
        theirs = self._run("qemu-img", "check", "-f", "qcow2", "--output=json", path)
        self.assertEqual(json.loads(ours.output), json.loads(theirs.output))
        return ours.status

    def refcount_block(self, path):
        with open(path, "rb") as file:
            header = file.read(64)
            file.seek(struct.unpack(">Q", header[48:56])[0])
            return struct.unpack(">Q", file.read(8))[0]

    def set_refcount(self, path, cluster, count):
        at = self.refcount_block(path) + 2 * cluster
        with open(path, "r+b") as file:
            file.seek(at)
            file.write(struct.pack(">H", count))

    def filled(self):
        path = self.create("image", size="2M")
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 300k", "-c", "write -P 2 1M 64k", path)
        return path

    def test_clean_images_are_clean(self):
        self.assertEqual(self.expect_like_qemu(self.create("empty")), 0)
        self.assertEqual(self.expect_like_qemu(self.filled()), 0)
        raw = self.write("raw", bytes(range(256)) * 4096)
        self.qemu("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", raw, self.path("compressed"))
        self.assertEqual(self.expect_like_qemu(self.path("compressed")), 0)

    def test_leaks_are_found_and_given_back(self):
        path = self.filled()
        end = os.path.getsize(path) // 65536
        os.truncate(path, (end + 2) * 65536)
        self.set_refcount(path, end + 1, 1)
        for program in (self.img, lambda *arguments: self._run("qemu-img", *arguments)):
            found = program("check", "-f", "qcow2", "--output=json", path)
            self.assertEqual((found.status, json.loads(found.output)["leaks"]), (3, 1))
        result = self.json("check", "-f", "qcow2", "-r", "leaks", "--output=json", path)
        self.assertEqual(result["leaks-fixed"], 1)
        self.assertEqual(self.expect_like_qemu(path), 0)

    def test_corruption_is_found_and_repaired(self):
        path = self.filled()
        self.set_refcount(path, os.path.getsize(path) // 65536 - 1, 0)
        self.assertEqual(self.expect_like_qemu(path), 2)
        self.assertEqual(self.img("check", "-f", "qcow2", "-r", "all", path).status, 0)
        self.assertEqual(self.expect_like_qemu(path), 0)
        self.qemu("qemu-io", "-f", "qcow2", "-c", "read -P 1 0 300k", "-c", "read -P 2 1M 64k", path)

    def test_what_cannot_be_checked_has_a_status_of_its_own(self):
        self.assertEqual(self.img("check", "-f", "raw", self.create("raw", format="raw")).status, 63)
        self.assertEqual(self.img("check", "-f", "qcow2", self.path("raw")).status, 1)
        self.assertEqual(self.img("check", "-f", "qcow2", self.path("missing")).status, 1)
        self.assertEqual(self.img("check", self.path("raw")).status, 1)


if __name__ == "__main__":
    unittest.main()
