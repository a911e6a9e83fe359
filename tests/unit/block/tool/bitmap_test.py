"""vmm-img bitmap does what qemu-img bitmap does, and all of it or nothing."""

import json
import random
import shutil
import unittest

from bitmap_tool import BitmapTest


class Bitmap(BitmapTest):
    def details(self, path):
        """{name: (flags, granularity)}, of which both tools tell the same."""
        flags = self.flags(path)
        data = json.loads(self.qemu("qemu-img", "info", "--output=json", path))["format-specific"]["data"]
        return {bitmap["name"]: (flags[bitmap["name"]], bitmap["granularity"]) for bitmap in data.get("bitmaps", [])}

    def ours(self, *words, status=0):
        result = self.img("bitmap", "-f", "qcow2", *words)
        self.assertEqual(result.status, status, result.errors)
        self.assertEqual(bool(result.errors), status != 0)
        return result

    def both(self, path, name, *operations):
        """On the image and its twin: the same operations by both tools, and the same bitmaps afterwards."""
        theirs = self._run("qemu-img", "bitmap", *operations, path + ".theirs", name)
        ours = self.img("bitmap", "-f", "qcow2", *operations, path, name)
        self.assertEqual(ours.status, theirs.status, (operations, ours.errors, theirs.errors))
        self.check(path)
        return ours.status

    def twins(self, *options, size="10M"):
        path = self.create("image", *options, size=size)
        shutil.copyfile(path, path + ".theirs")
        return path

    def write_both(self, path, *commands):
        for name in (path, path + ".theirs"):
            self.io(name, *commands)

    def expect_twins(self, path, *names):
        self.assertEqual(self.details(path), self.details(path + ".theirs"))
        for name in names:
            self.assertEqual(self.dirty(path, name), self.dirty(path + ".theirs", name))

    def test_each_operation_as_with_qemu_img(self):
        path = self.twins()
        self.both(path, "a", "--add")
        self.both(path, "b", "--add", "-g", "1M", "--disable")
        self.both(path, "fine", "-g", "512", "--add")
        self.expect_twins(path)
        self.write_both(path, "write 3M 200k", "write 9M 64k")
        self.expect_twins(path, "a", "b", "fine")
        self.both(path, "b", "--merge", "fine")
        self.both(path, "fine", "--disable", "--clear", "--merge", "b")
        self.expect_twins(path, "a", "b", "fine")
        self.both(path, "a", "--disable")
        self.both(path, "b", "--enable")
        self.write_both(path, "write 6M 4k")
        self.expect_twins(path, "a", "b", "fine")
        self.both(path, "c", "--add", "--merge", "a", "--merge", "b", "--disable")
        self.both(path, "a", "--remove", "--add", "-g", "4k")
        self.expect_twins(path, "a", "b", "c", "fine")
        for name in ("a", "b", "c", "fine"):
            self.both(path, name, "--remove")
        self.expect_twins(path)
        self.assertEqual(self.details(path), {})

    def test_granularities_that_are_chosen_for_each_cluster_size(self):
        for words in ("cluster_size=512", "cluster_size=4k", "cluster_size=16k", "cluster_size=2M", "extended_l2=on", "refcount_bits=1"):
            path = self.twins("-o", words)
            self.both(path, "usual", "--add")
            self.both(path, "g", "--add", "-g", "2G")
            self.write_both(path, "write 1M 300k")
            self.both(path, "m", "--add", "--merge", "usual", "--merge", "g")
            self.expect_twins(path, "usual", "g", "m")

    def test_random_operations(self):
        numbers = random.Random(11)
        path = self.twins("-o", "cluster_size=4k", size="8M")
        names = ["a", "b", "c"]
        for _ in range(40):
            name = numbers.choice(names)
            present = self.details(path)
            granularity = str(1 << numbers.randrange(9, 24))
            operations = ["--add", "-g", granularity] if name not in present else numbers.choice(
                (["--remove"], ["--clear"], ["--enable"], ["--disable"], *([["--merge", numbers.choice(list(present))]] * 6)))
            self.assertEqual(self.both(path, name, *operations), 0)
            offset, length = numbers.randrange(8000), numbers.randrange(1, 200)
            self.write_both(path, f"write {offset}k {length}k")
        self.expect_twins(path, *self.details(path))

    def test_bitmaps_of_another_image(self):
        path = self.twins()
        source = self.create("source", size="10M")
        self.qemu("qemu-img", "bitmap", "--add", "-g", "8k", source, "s")
        self.io(source, "write 2M 100k", "write 5M 1M")
        for name in (path, path + ".theirs"):
            self.qemu("qemu-img", "bitmap", "--add", name, "a")
        self.io(source, "write 7M 4k")
        self.both(path, "a", "--merge", "s", "-b", source, "-F", "qcow2")
        self.expect_twins(path, "a")
        self.assertTrue(self.dirty(path, "a"))
        other = self.create("other", size="11M")
        self.qemu("qemu-img", "bitmap", "--add", other, "s")
        self.assertIn("one size", self.ours(path, "a", "--merge", "s", "-b", other, "-F", "qcow2", status=1).errors)
        self.both(path, "a", "--merge", "s", "-b", source)
        for words in (["-b", source, "-F", "raw"], ["-F", "qcow2"]):
            self.ours(path, "a", "--merge", "s", *words, status=1)

    def test_what_fails_changes_nothing(self):
        path = self.twins()
        self.both(path, "a", "--add")
        before = open(path, "rb").read()
        for words in (["--add"], ["--remove", "--remove"], ["--disable", "--merge", "missing"], ["--clear", "--add"],
                      ["--add", "-g", "3k"], ["--add", "-g", "256"], ["--add", "-g", "4G"], ["--enable", "-g", "64k"], [],
                      ["--clear", "-b", path, "-F", "qcow2"]):
            self.ours(*words, path, "a", status=1)
        for name in ("", "x" * 1024, "missing"):
            self.ours("--add" if name != "missing" else "--clear", path, name, status=1)
        self.assertEqual(open(path, "rb").read(), before)
        self.ours("--add", self.create("old", "-o", "compat=0.10"), "a", status=1)
        for words in (["-f", "raw", "--add", path, "b"], ["-f", "qcow2", "--add", path],
                      ["-f", "qcow2", "--add", self.path("missing"), "b"]):
            self.assertEqual(self.img("bitmap", *words).status, 1)

    def test_an_inconsistent_one_can_be_removed(self):
        path = self.twins()
        self.both(path, "a", "--add")
        self.create("raw", format="raw", size="10M")
        self.assertEqual(self.img("convert", "-n", "-f", "raw", "-O", "qcow2", self.path("raw"), path).status, 0)
        for operation in ("--clear", "--enable", "--disable"):
            self.assertIn("inconsistent", self.ours(operation, path, "a", status=1).errors)
        self.ours("--remove", path, "a")
        self.check(path)

    def test_an_image_with_a_backing_file_keeps_all_else(self):
        self.create("base", size="10M")
        for name in ("base", "n" * 255):
            self.create(name, size="10M")
            path = self.create("image", "-b", name, "-F", "qcow2", "-o", "lazy_refcounts=on", size="10M")
            before = json.loads(self.qemu("qemu-img", "info", "--output=json", path))
            self.ours("--add", path, "a")
            after = json.loads(self.qemu("qemu-img", "info", "--output=json", path))
            self.assertTrue(after["format-specific"]["data"].pop("bitmaps"))
            after["actual-size"] = before["actual-size"]
            self.assertEqual(after, before)
            with open(path, "rb") as file:
                self.assertIn(b"lazy refcounts", file.read(65536))  # the names of features


if __name__ == "__main__":
    unittest.main()
