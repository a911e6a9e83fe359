"""Dirty bitmaps of QEMU's in images that we change: they stay right, or are marked as inconsistent."""

import hashlib
import unittest

from bitmap_tool import BitmapTest

MIB = 1 << 20


class Bitmaps(BitmapTest):
    def image(self, *options, size="10M"):
        path = self.create("image", *options, size=size)
        self.qemu("qemu-img", "bitmap", "--add", "-g", "64k", path, "enabled")
        self.qemu("qemu-img", "bitmap", "--add", "-g", "16k", path, "disabled")
        self.io(path, "write -P 1 1M 1M", "write -P 2 9M 512k")
        self.qemu("qemu-img", "bitmap", "--disable", path, "disabled")
        return path

    def test_reading_changes_nothing(self):
        path = self.image()
        with open(path, "rb") as file:
            before = hashlib.sha256(file.read()).digest()
        for words in (["info", "-f", "qcow2"], ["check", "-f", "qcow2"], ["map", "-f", "qcow2"], ["snapshot", "-f", "qcow2", "-l"]):
            self.assertEqual(self.img(*words, path).status, 0)
        self.assertEqual(self.img("convert", "-f", "qcow2", "-O", "raw", path, self.path("raw")).status, 0)
        with open(path, "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).digest(), before)

    def test_after_our_writes_one_that_ought_to_track_them_is_not_trusted(self):
        path = self.image()
        self.create("raw", format="raw", size="10M")
        self.assertEqual(self.img("convert", "-n", "-f", "raw", "-O", "qcow2", self.path("raw"), path).status, 0)
        self.check(path)
        self.assertEqual(self.flags(path), {"enabled": ["in-use", "auto"], "disabled": []})
        # QEMU refuses to use it, and can remove it; the other is what it was.
        self.assertNotEqual(self._run("qemu-img", "bitmap", "--merge", "enabled", path, "disabled").status, 0)
        self.assertEqual(self.dirty(path, "disabled"), [[MIB, 2 * MIB], [9 * MIB, 9 * MIB + (512 << 10)]])
        self.qemu("qemu-img", "bitmap", "--remove", path, "enabled")
        self.check(path)

    def test_snapshots_leave_them_valid(self):
        path = self.image()
        for words in (["-c", "s"], ["-c", "t"], ["-d", "s"]):
            self.assertEqual(self.img("snapshot", "-f", "qcow2", *words, path).status, 0)
            self.check(path)
        self.assertEqual(self.flags(path), {"enabled": ["auto"], "disabled": []})
        self.io(path, "write -P 3 5M 64k")
        self.assertEqual(self.dirty(path, "enabled"), [[MIB, 2 * MIB], [5 * MIB, 5 * MIB + 65536], [9 * MIB, 9 * MIB + (512 << 10)]])
        result = self.img("snapshot", "-f", "qcow2", "-a", "t", path)
        self.assertEqual(result.status, 1)
        self.assertIn("dirty bitmaps", result.errors)
        self.check(path)

    def test_another_size_of_the_disk_is_theirs_too_as_with_qemu_img(self):
        self.write("base", b"\5" * (30 << 20))
        for options, sizes in (([], ("9470k", "1M", "300G")), (["-o", "cluster_size=512"], ("25M", "1234k")),
                               (["-o", "cluster_size=2M"], ("300G",)), (["-b", "base", "-F", "raw"], ("25M",))):
            for size in sizes:
                with self.subTest(options=options, size=size):
                    path = self.image(*options)
                    theirs = self.path("theirs")
                    self.qemu("cp", path, theirs)
                    # There and back: what was cut off does not come back.
                    for target in (size, "11M"):
                        self.qemu("qemu-img", "resize", "-q", "--shrink", theirs, target)
                        result = self.img("resize", "-f", "qcow2", "--shrink", path, target)
                        self.assertEqual(result.status, 0, result.errors)
                        self.check(path)
                        self.assertEqual(self.flags(path), {"enabled": ["auto"], "disabled": []})
                        for name in ("enabled", "disabled"):
                            self.assertEqual(self.dirty(path, name), self.dirty(theirs, name))
                    self.io(path, "write -P 3 10M 64k")
                    self.check(path)

    def test_one_that_would_become_too_large_is_in_the_way(self):
        path = self.create("image", size="1M")
        self.qemu("qemu-img", "bitmap", "--add", "-g", "512", path, "fine")
        result = self.img("resize", "-f", "qcow2", path, "4T")
        self.assertEqual(result.status, 1)
        self.assertIn("'fine' would become too large", result.errors)
        self.assertEqual(self.flags(path), {"fine": ["auto"]})
        self.check(path)

    def test_those_that_a_program_without_bitmaps_left_behind_are_nobodys(self):
        path = self.image()
        with open(path, "r+b") as file:
            file.seek(95)  # the last byte of the autoclear bits
            file.write(b"\0")
        self.assertEqual(self.flags(path), {})
        check = self.img("check", "-f", "qcow2", path)
        self.assertEqual(check.status, 3)  # leaks
        self.assertEqual(check.status, self._run("qemu-img", "check", path).status)
        self.assertEqual(self.img("check", "-f", "qcow2", "-r", "leaks", path).status, 0)
        self.assertEqual(self.img("resize", "-f", "qcow2", path, "100M").status, 0)
        self.check(path)
        self.assertEqual(self.flags(path), {})


if __name__ == "__main__":
    unittest.main()
