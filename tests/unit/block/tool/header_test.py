"""Header extensions and feature bits that nobody knows: who changes an image keeps the ones and clears the autoclear ones."""

import struct
import unittest

from tool import ToolTest

UNKNOWN, DATA = 0x12345678, b"what others keep here, 37 bytes of it"
AUTOCLEAR, COMPATIBLE = 1 << 40 | 1 << 2, 1 << 33


class Header(ToolTest):
    def setUp(self):
        super().setUp()
        self.write("raw", b"some of it" * 50_000 + bytes(548_576))

    def read(self, path):
        with open(path, "rb") as file:
            return bytearray(file.read())

    def extensions(self, data):
        at, found = struct.unpack_from(">I", data, 100)[0], {}
        while True:
            kind, length = struct.unpack_from(">II", data, at)
            if kind == 0:
                return found, at
            found[kind] = bytes(data[at + 8:at + 8 + length])
            at += 8 + (length + 7) // 8 * 8

    def make(self, *options):
        """An image of some data, with an extension and bits from elsewhere."""
        path = self.create("image", *options)
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 300k", path)
        self.qemu("qemu-img", "snapshot", "-c", "first", path)
        data = self.read(path)
        _, end = self.extensions(data)
        extension = struct.pack(">II", UNKNOWN, len(DATA)) + DATA + bytes(-len(DATA) % 8) + bytes(8)
        name_at, name_length = struct.unpack_from(">QI", data, 8)
        name = bytes(data[name_at:name_at + name_length])
        if name:  # behind the extensions
            struct.pack_into(">Q", data, 8, end + len(extension))
        data[end:end + len(extension) + len(name)] = extension + name
        struct.pack_into(">QQ", data, 80, struct.unpack_from(">Q", data, 80)[0] | COMPATIBLE, AUTOCLEAR)
        self.write("image", bytes(data))
        return path

    def expect_kept(self, path, autoclear=0):
        data = self.read(path)
        self.assertEqual(self.extensions(data)[0].get(UNKNOWN), DATA)
        compatible, clearing = struct.unpack_from(">QQ", data, 80)
        self.assertEqual((compatible & COMPATIBLE, clearing), (COMPATIBLE, autoclear))

    def test_they_are_as_they_were_after_reading(self):
        path = self.make()
        for words in (("info", "-f", "qcow2", path), ("check", "-f", "qcow2", path), ("map", "-f", "qcow2", path),
                      ("snapshot", "-f", "qcow2", "-l", path), ("compare", "-f", "qcow2", "-F", "qcow2", path, path)):
            self.assertEqual(self.img(*words).status, 0, words)
        self.expect_kept(path, AUTOCLEAR)

    def test_extensions_are_kept_and_autoclear_bits_cleared_by_every_change(self):
        for words in (("convert", "-n", "-f", "raw", "-O", "qcow2", "raw", "image"),
                      ("snapshot", "-f", "qcow2", "-c", "second", "image"), ("snapshot", "-f", "qcow2", "-a", "first", "image"),
                      ("snapshot", "-f", "qcow2", "-d", "first", "image"), ("resize", "-f", "qcow2", "image", "+5M"),
                      ("resize", "-f", "qcow2", "--preallocation=metadata", "image", "+5M"),
                      ("resize", "-f", "qcow2", "--shrink", "image", "512k")):
            with self.subTest(words=words):
                path = self.make()
                result = self.img(*words)
                self.assertEqual(result.status, 0, result.errors)
                self.expect_kept(path)
                self.qemu("qemu-img", "check", "-f", "qcow2", path)

    def test_with_a_backing_file_whose_name_lies_behind_the_extensions(self):
        self.create("base")
        path = self.make("-b", "base", "-F", "qcow2")
        for words in (("snapshot", "-f", "qcow2", "-c", "second", "image"), ("resize", "-f", "qcow2", "image", "+5M"),
                      ("convert", "-n", "-f", "raw", "-O", "qcow2", "raw", "image")):
            result = self.img(*words)
            self.assertEqual(result.status, 0, result.errors)
            self.expect_kept(path)
        self.assertEqual(self.json("info", "-f", "qcow2", "--output=json", path)["backing-filename"], "base")

    def test_a_repair_keeps_them_too(self):
        for kind, refcounts in (("leaks", {60: 1}), ("all", {60: 1, 6: 0})):
            with self.subTest(kind=kind):
                path = self.make()
                data = self.read(path)
                table = struct.unpack_from(">Q", data, 48)[0]
                block = struct.unpack_from(">Q", data, table)[0]
                data.extend(bytes(70 * 65536 - len(data)))
                for cluster, value in refcounts.items():
                    struct.pack_into(">H", data, block + 2 * cluster, value)
                self.write("image", bytes(data))
                self.assertNotEqual(self.img("check", "-f", "qcow2", path).status, 0)
                result = self.img("check", "-f", "qcow2", "-r", kind, path)
                self.assertEqual(result.status, 0, result.errors)
                self.expect_kept(path)
                self.qemu("qemu-img", "check", "-f", "qcow2", path)


if __name__ == "__main__":
    unittest.main()
