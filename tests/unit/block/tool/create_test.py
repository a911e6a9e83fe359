"""Images that vmm-img create makes: qemu-img shows, checks and writes them."""

import json
import os
import unittest

from tool import VMM_IMG, ToolTest


class Create(ToolTest):
    def make(self, *arguments):
        result = self.img("create", *arguments)
        self.assertEqual(result.status, 0, result.errors)

    def info(self, path, format="qcow2"):
        return json.loads(self.qemu("qemu-img", "info", "-f", format, "--output=json", path))

    def test_qcow2_with_each_option(self):
        for options, size in (("compat=0.10", "1M"), ("cluster_size=512", "10M"), ("cluster_size=2M", "3T"),
                              ("refcount_bits=1,lazy_refcounts=on", "64k"), ("refcount_bits=64", "1G"),
                              ("extended_l2=on,cluster_size=128k", "1G"), ("compression_type=zstd", "1000"),
                              ("preallocation=metadata", "5M")):
            with self.subTest(options=options, size=size):
                self.make("-f", "qcow2", "-o", options, self.path("ours"), size)
                self.create("theirs", "-o", options, size=size)
                ours, theirs = self.info(self.path("ours")), self.info(self.path("theirs"))
                for key in ("virtual-size", "cluster-size", "format-specific"):
                    self.assertEqual(ours[key], theirs[key])
                self.qemu("qemu-img", "check", "-f", "qcow2", self.path("ours"))
                self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 512", "-c", "read -P 1 0 512", self.path("ours"))
                self.qemu("qemu-img", "check", "-f", "qcow2", self.path("ours"))

    def test_an_overlay_has_the_size_of_what_it_stands_on(self):
        self.create("base", size="7M")
        self.make("-f", "qcow2", "-b", "base", "-F", "qcow2", self.path("overlay"))
        info = self.info(self.path("overlay"))
        self.assertEqual((info["virtual-size"], info["backing-filename"], info["backing-filename-format"]),
                         (7 << 20, "base", "qcow2"))
        self.make("-f", "qcow2", "-b", "base", "-F", "qcow2", self.path("overlay"), "9M")
        self.assertEqual(self.info(self.path("overlay"))["virtual-size"], 9 << 20)

    def test_a_backing_file_must_be_there_and_have_a_format(self):
        result = self.img("create", "-f", "qcow2", "-u", "-b", "missing", "-F", "iso", self.path("overlay"), "1M")
        self.assertEqual((result.status, os.path.exists(self.path("overlay"))), (1, False))
        self.assertIn("say raw", result.errors)
        result = self.img("create", "-f", "qcow2", "-b", "missing", "-F", "raw", self.path("overlay"), "1M")
        self.assertEqual(result.status, 1)
        self.assertIn("missing", result.errors)
        self.assertFalse(os.path.exists(self.path("overlay")))
        result = self.img("create", "-f", "qcow2", "-b", "missing", self.path("overlay"), "1M")
        self.assertIn("-F must tell", result.errors)
        self.make("-u", "-f", "qcow2", "-b", "missing", "-F", "raw", self.path("overlay"), "1M")

    def test_what_stands_on_another_is_a_qcow2_image(self):
        self.create("base", size="7M")
        self.make("-b", "base", "-F", "qcow2", self.path("overlay"))
        info = self.info(self.path("overlay"))
        self.assertEqual((info["format"], info["backing-filename-format"]), ("qcow2", "qcow2"))
        for arguments, mend in ((("-b", "base", self.path("other")), "add -F qcow2 or -F raw"),
                                ((self.path("other"), "1M"), "-f must tell the format of the new image: raw or qcow2")):
            result = self.img("create", *arguments)
            self.assertEqual((result.status, len(result.errors.splitlines())), (1, 1), result.errors)
            self.assertIn(mend, result.errors)

    def test_what_is_wrong_with_the_command_line_is_told_in_one_line(self):
        for arguments in (("create",), ("create", "--unknown", "a"), ("info",), ("check",), ()):
            result = self.img(*arguments)
            self.assertEqual((result.status, len(result.errors.splitlines())), (1, 1), result.errors)
            self.assertTrue(result.errors.startswith("vmm-img: "), result.errors)
            self.assertIn(" ".join(("; see vmm-img", *arguments[:1], "--help")), result.errors)

    def test_what_the_new_image_stands_on_is_not_overwritten(self):
        self.make("-f", "qcow2", self.path("base"), "1M")
        self.make("-f", "qcow2", "-b", "base", "-F", "qcow2", self.path("middle"))
        before = self.info(self.path("base")), self.info(self.path("middle"))
        os.symlink("base", self.path("link"))
        for backing, target in (("base", "base"), ("base", "link"), ("middle", "base"), ("middle", "middle")):
            for more in ((), ("-u",)) if backing == target else ((),):
                with self.subTest(backing=backing, target=target, more=more):
                    result = self.img("create", "-f", "qcow2", *more, "-b", backing, "-F", "qcow2", self.path(target), "2M")
                    self.assertEqual(result.status, 1, result.errors)
                    self.assertIn(target, result.errors)
                    self.assertEqual((self.info(self.path("base")), self.info(self.path("middle"))), before)

    def test_raw_is_a_hole_of_its_size(self):
        self.make("-f", "raw", self.path("raw"), "1G")
        self.assertEqual((os.path.getsize(self.path("raw")), os.stat(self.path("raw")).st_blocks), (1 << 30, 0))

    def test_raw_space_is_set_aside_where_that_is_asked_for(self):
        for kind, size in (("falloc", 3 << 20), ("full", 3 << 20), ("falloc", 512), ("full", 1536), ("off", 3 << 20)):
            with self.subTest(kind=kind, size=size):
                self.make("-f", "raw", "-o", f"preallocation={kind}", self.path("raw"), str(size))
                with open(self.path("raw"), "rb") as file:
                    self.assertEqual(file.read(), bytes(size))
                taken = os.stat(self.path("raw")).st_blocks * 512
                self.assertGreaterEqual(taken, 0 if kind == "off" else size)
                self.assertLessEqual(taken, 0 if kind == "off" else size + 65536)
        # What was there does not show again.
        self.write("raw", b"x" * 100_000)
        self.make("-f", "raw", "-o", "preallocation=falloc", self.path("raw"), "1M")
        with open(self.path("raw"), "rb") as file:
            self.assertEqual(file.read(), bytes(1 << 20))

    def test_raw_space_that_is_not_there_leaves_no_file(self):
        for kind in ("falloc", "full"):
            command = f"ulimit -f 1024; trap '' XFSZ; '{VMM_IMG}' create -f raw -o preallocation={kind} raw 9M"
            result = self._run("bash", "-c", command)
            self.assertEqual(result.status, 1, result.errors)
            self.assertIn("raw", result.errors)
            self.assertFalse(os.path.exists(self.path("raw")))
        self.assertEqual(self.img("create", "-f", "raw", "-o", "preallocation=metadata", self.path("raw"), "1M").status, 1)
        self.assertFalse(os.path.exists(self.path("raw")))

    def test_sizes_are_read_as_people_write_them(self):
        for text, size in (("512", 512), ("1b", 512), ("1000", 1024), ("64k", 65536), ("3M", 3 << 20), ("2g", 2 << 30), ("1T", 1 << 40), ("1.5M", 3 << 19),
                           ("0x400", 1024)):
            self.make("-f", "raw", self.path("raw"), text)
            self.assertEqual(os.path.getsize(self.path("raw")), size)
        for text in ("-1", "1x", "k", "", "1kk", "8E", "99999999999999999999", "0x"):
            self.assertEqual(self.img("create", "-f", "raw", self.path("bad"), text).status, 1, text)
        self.assertFalse(os.path.exists(self.path("bad")))

    def test_options_that_are_not_known_are_refused_and_nothing_is_made(self):
        for words in ("unknown=1", "cluster_size=1000", "cluster_size=256", "cluster_size=4M", "refcount_bits=3", "compat=2.0",
                      "lazy_refcounts=maybe", "compat=0.10,refcount_bits=8", "nonsense", "=1", "size"):
            with self.subTest(words=words):
                self.assertEqual(self.img("create", "-f", "qcow2", "-o", words, self.path("bad"), "1M").status, 1)
                self.assertFalse(os.path.exists(self.path("bad")))
        self.assertEqual(self.img("create", "-f", "raw", "-o", "cluster_size=4k", self.path("bad"), "1M").status, 1)

    def test_an_image_that_cannot_be_made_leaves_what_was_there(self):
        path = self.write("precious", b"x" * 1000)
        self.assertEqual(self.img("create", "-f", "qcow2", "-o", "cluster_size=4M", path, "1M").status, 1)
        self.assertEqual(os.path.getsize(path), 1000)

    def test_an_image_in_use_is_not_made_anew(self):
        path = self.create("image")
        before = os.path.getsize(path)
        user = self.popen("qemu-io", "-f", "qcow2", path)
        user.stdout.read(1)  # its prompt: the image is open
        result = self.img("create", "-f", "qcow2", path, "5M")
        self.assertEqual(result.status, 1)
        self.assertEqual(os.path.getsize(path), before)

    def test_the_size_may_be_an_option(self):
        self.make("-q", "-f", "qcow2", "-o", "size=3M", self.path("image"))
        self.assertEqual(self.info(self.path("image"))["virtual-size"], 3 << 20)


if __name__ == "__main__":
    unittest.main()
