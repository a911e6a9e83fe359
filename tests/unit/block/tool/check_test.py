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



def load(data, at):
    return struct.unpack(">Q", data[at:at + 8])[0]


class NeverWorse(ToolTest):
    """What is damaged keeps what it has: repairs write to nothing that is something else, and give nothing back that may be in use."""

    PATTERN = "0x55"

    def filled(self, *options, size="8M"):
        path = self.create("image.qcow2", *options, size=size)
        self.qemu("qemu-io", "-f", "qcow2", "-c", f"write -P {self.PATTERN} 0 1M", path)
        return path

    def damage(self, path, change):
        """`change` gets the bytes, and where the L1 table, the first L2 table and the refcount table are."""
        with open(path, "rb") as file:
            data = bytearray(file.read())
        l1, refcounts = load(data, 40), load(data, 48)
        change(data, l1, load(data, l1) & 0xfffffffffffe00, refcounts)
        with open(path, "wb") as file:
            file.write(data)

    def expect_data(self, path, length="1M"):
        self.qemu("qemu-io", "-r", "-f", "qcow2", "-c", f"read -P {self.PATTERN} 0 {length}", path)

    def overwrite_free_space(self, path):
        self.img("bench", "-q", "-w", "--pattern", "17", "-c", "16", "-s", "65536", "-o", "4M", "-f", "qcow2", path)

    def test_a_refcount_block_that_is_something_else_too_is_not_written_to(self):
        def l1_is_a_block(data, l1, _l2, refcounts):
            struct.pack_into(">Q", data, refcounts, l1)

        def data_are_a_block(data, _l1, l2, refcounts):
            struct.pack_into(">Q", data, refcounts, load(data, l2) & 0xfffffffffffe00)

        def l2_is_a_block(data, _l1, l2, refcounts):
            struct.pack_into(">Q", data, refcounts + 32, l2)

        for change in (l1_is_a_block, data_are_a_block, l2_is_a_block):
            path = self.filled()
            self.damage(path, change)
            with open(path, "rb") as file:
                before = file.read()
            self.assertEqual(self.img("check", path).status, 2, change)
            refused = self.img("check", "-r", "leaks", path)
            self.assertEqual(refused.status, 1)
            self.assertIn("use -r all", refused.errors)
            with open(path, "rb") as file:
                self.assertEqual(file.read(), before)
            self.assertEqual(self.img("check", "-r", "all", path).status, 0, change)
            self.qemu("qemu-img", "check", "-q", path)
            self.expect_data(path)

    def test_two_entries_with_one_refcount_block(self):
        path = self.filled("-o", "cluster_size=4k")
        self.damage(path, lambda data, _l1, _l2, refcounts: struct.pack_into(">Q", data, refcounts + 32, load(data, refcounts)))
        self.assertEqual(self.img("check", path).status, 2)
        self.assertEqual(self.img("check", "-r", "all", path).status, 0)
        self.qemu("qemu-img", "check", "-q", path)
        self.expect_data(path)

    def test_a_table_that_is_there_twice_is_told_as_the_writer_tells_it(self):
        path = self.filled("-o", "cluster_size=4k")
        self.damage(path, lambda data, l1, l2, _refcounts: struct.pack_into(">Q", data, l1 + 8, l2 | 1 << 63))
        self.assertEqual(self.img("check", path).status, 2)
        self.assertEqual(self.img("bench", "-q", "-w", "-c", "1", "-f", "qcow2", path).status, 1)
        self.assertEqual(self.img("check", "-r", "all", path).status, 2)

    def test_nothing_is_given_back_while_an_entry_is_not_valid(self):
        def l2_entry(data, _l1, l2, _refcounts):
            data[l2 + 7] |= 2

        def l1_entry(data, l1, _l2, _refcounts):
            data[l1 + 7] |= 1

        def lost_l1_entry(data, l1, _l2, _refcounts):
            struct.pack_into(">Q", data, l1, 1 << 63)

        for change, repair in ((change, repair) for change in (l2_entry, l1_entry, lost_l1_entry) for repair in ("leaks", "all")):
            path = self.filled()
            with open(path, "rb") as file:
                sound = file.read()
            self.damage(path, change)
            self.assertEqual(self.img("check", "-r", repair, path).status, 2, (change, repair))
            self.overwrite_free_space(path)
            # With the entry as it was before, all is there, and nothing of it has lost its refcount.
            l1 = load(sound, 40)
            at = l1 if change is not l2_entry else load(sound, l1) & 0xfffffffffffe00
            with open(path, "r+b") as file:
                file.seek(at)
                file.write(sound[at:at + 8])
            self.expect_data(path)
            self.qemu("qemu-img", "check", "-q", path)

    def test_leaks_leave_no_wrong_flags(self):
        path = self.filled()
        self.qemu("qemu-img", "snapshot", "-c", "s", path)
        with open(path, "r+b") as file:
            file.seek(60)
            file.write(bytes(4))  # the snapshot is forgotten
        self.assertEqual(self.img("check", path).status, 3)
        self.assertEqual(self.img("check", "-r", "leaks", path).status, 0)
        self.qemu("qemu-img", "check", "-q", path)
        self.expect_data(path)

    def test_entries_of_subclusters(self):
        def unallocated_with_bitmap(data, _l1, l2, _refcounts):
            struct.pack_into(">QQ", data, l2 + 16 * 20, 0, 1)

        def compressed_with_bitmap(data, _l1, l2, _refcounts):
            struct.pack_into(">QQ", data, l2 + 16 * 20, 1 << 62 | 0x50000, 1)

        for change in (unallocated_with_bitmap, compressed_with_bitmap):
            path = self.filled("-o", "extended_l2=on")
            self.damage(path, change)
            self.assertEqual(self._run("qemu-img", "check", path).status, 2)
            self.assertEqual(self.img("check", path).status, 2, change)
            self.expect_data(path)

    def test_tables_all_over_a_huge_hole_end_soon(self):
        path = self.create("image.qcow2", "-o", "cluster_size=512", size="64M")
        with open(path, "r+b") as file:
            l1 = struct.unpack(">Q", file.read(48)[40:])[0]
            os.truncate(path, 1 << 42)
            file.seek(l1)
            file.write(b"".join(struct.pack(">Q", 1 << 63 | (i << 31) + (1 << 20)) for i in range(2048)))
        result = self.img("check", path)
        self.assertEqual(result.status, 1)
        self.assertIn("scattered", result.errors)


if __name__ == "__main__":
    unittest.main()
