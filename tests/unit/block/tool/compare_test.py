"""vmm-img compare answers as qemu-img compare does."""

import unittest

from tool import ToolTest


class Compare(ToolTest):
    def expect_like_qemu(self, *arguments):
        ours = self.img("compare", *arguments)
        theirs = self._run("qemu-img", "compare", *arguments)
        self.assertEqual((ours.status, ours.output), (theirs.status, theirs.output), ours.errors)
        return ours.status

    def test_a_copy_in_another_format_is_identical(self):
        raw = self.write("raw", bytes(range(256)) * 20_000)
        for options in ([], ["-c"], ["-o", "cluster_size=512"]):
            self.qemu("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, self.path("copy"))
            self.assertEqual(self.expect_like_qemu("-f", "raw", "-F", "qcow2", raw, self.path("copy")), 0)

    def test_the_offset_of_the_first_difference_is_told(self):
        first = self.create("first")
        for offset in (0, 700, 524_288, 1_048_575):
            with self.subTest(offset=offset):
                second = self.create("second")
                self.qemu("qemu-io", "-f", "qcow2", "-c", f"write -P 1 {offset} 1", second)
                self.assertEqual(self.expect_like_qemu("-f", "qcow2", "-F", "qcow2", first, second), 1)

    def test_zeroes_behind_the_shorter_one_are_no_difference_unless_strict(self):
        short, long = self.create("short", size="1M"), self.create("long", size="3M")
        formats = ("-f", "qcow2", "-F", "qcow2")
        self.assertEqual(self.expect_like_qemu(*formats, short, long), 0)
        self.assertEqual(self.expect_like_qemu(*formats, long, short), 0)
        self.assertEqual(self.expect_like_qemu(*formats, "-s", short, long), 1)
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 1 2M 512", long)
        self.assertEqual(self.expect_like_qemu(*formats, short, long), 1)

    def test_what_is_stored_in_another_way_is_a_difference_if_strict(self):
        formats = ("-f", "qcow2", "-F", "qcow2")
        plain, zeroes, written = self.create("plain"), self.create("zeroes"), self.create("written")
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -z 128k 64k", zeroes)
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 0 128k 64k", written)
        for first, second in ((plain, zeroes), (zeroes, written), (written, plain), (plain, plain)):
            self.assertEqual(self.expect_like_qemu(*formats, first, second), 0)
            wanted = 0 if first == second else 1
            self.assertEqual(self.img("compare", "-s", *formats, first, second).status, wanted)
            self.assertEqual(self._run("qemu-img", "compare", "-s", *formats, first, second).status, wanted)

    def test_large_disks_that_hold_little_are_compared_at_once(self):
        first, second = self.create("first", size="100T"), self.create("second", size="100T")
        for path in (first, second):
            self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 7 70T 100k", path)
        self.assertEqual(self.expect_like_qemu("-f", "qcow2", "-F", "qcow2", first, second), 0)
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 8 71680G 1k", second)
        self.assertEqual(self.expect_like_qemu("-f", "qcow2", "-F", "qcow2", first, second), 1)

    def test_progress_is_shown(self):
        path = self.write("raw", b"x" * 3_000_000)
        self.assertRegex(self.img("compare", "-p", "-f", "raw", "-F", "raw", path, path).output, r"\A    \(0\.00/100%\)\n(    \(.*/100%\)\n)*    \(100\.00/100%\)\n")

    def test_quiet_is_quiet(self):
        first, second = self.create("first"), self.create("second", size="2M")
        self.assertEqual(self.img("compare", "-q", "-f", "qcow2", "-F", "qcow2", first, second).output, "")

    def test_an_overlay_is_compared_with_what_it_stands_on(self):
        base = self.write("base", b"x" * 1_048_576)
        self.create("overlay", "-b", base, "-F", "raw")
        self.assertEqual(self.expect_like_qemu("-f", "raw", "-F", "qcow2", base, self.path("overlay")), 0)

    def test_errors_have_a_status_of_their_own(self):
        path = self.create("image")
        for arguments in (["-f", "qcow2", "-F", "qcow2", path, self.path("missing")], [path, path],
                          ["-f", "vmdk", "-F", "raw", path, path], []):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.img("compare", *arguments).status, 2)


if __name__ == "__main__":
    unittest.main()
