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
