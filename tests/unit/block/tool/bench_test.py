"""vmm-img bench does what qemu-img bench does, and says it in the same words."""

import re
import unittest

from tool import ToolTest


class Bench(ToolTest):
    def expect_like_qemu(self, *arguments):
        theirs = self.qemu("qemu-img", "bench", *arguments)
        ours = self.img("bench", *arguments)
        self.assertEqual(ours.status, 0, ours.errors)
        seconds = r"in [0-9]+\.[0-9]{3} seconds"
        self.assertRegex(ours.output, seconds)
        self.assertEqual(re.sub(seconds, "", ours.output), re.sub(seconds, "", theirs))

    def test_it_tells_what_it_does_in_qemu_imgs_words(self):
        path = self.create("image", size="10M")
        for arguments in (["-c", "100"], ["-c", "100", "-d", "1", "-s", "64k"], ["-c", "50", "-w", "-S", "128k", "-o", "512"],
                          ["-c", "100", "-w", "-d", "4", "--flush-interval", "10"],
                          ["-c", "100", "-w", "-d", "4", "--flush-interval", "4", "--no-drain"],
                          ["-c", "100", "-t", "none", "-n"], ["-c", "100", "-i", "threads", "-t", "writethrough", "-w"],
                          ["-c", "100", "-i", "io_uring", "-d", "200", "-t", "unsafe"], ["-c", "0"]):
            with self.subTest(arguments=arguments):
                self.expect_like_qemu("-f", "qcow2", *arguments, path)
        self.qemu("qemu-img", "check", "-f", "qcow2", path)

    def test_what_is_written_is_there(self):
        for format in ("raw", "qcow2"):
            path = self.create("image", format=format, size="4M")
            self.assertEqual(self.img("bench", "-q", "-w", "--pattern", "170", "-f", format, "-s", "4k", "-S", "64k", "-o", "4k", "-c", "10",
                                      "-d", "3", path).output, "")
            self.qemu("qemu-io", "-f", format, *(word for i in range(10) for word in
                      ("-c", f"read -P 0 {i * 64}k 4k", "-c", f"read -P 170 {i * 64 + 4}k 4k", "-c", f"read -P 0 {i * 64 + 8}k 56k")), path)

    def test_it_goes_round_a_small_disk(self):
        path = self.create("image", size="64k")
        self.assertEqual(self.img("bench", "-w", "-f", "qcow2", "-s", "12k", "-c", "100", path).status, 0)
        self.qemu("qemu-img", "check", "-f", "qcow2", path)

    def test_past_the_end_it_goes_on_as_if_the_disk_began_again(self):
        # 0, 192k, 384k = 128k; and, where no request fits any more, at the beginning.
        path = self.create("image", format="raw", size="256k")
        self.img("bench", "-w", "--pattern", "1", "-f", "raw", "-s", "64k", "-S", "192k", "-c", "3", "-d", "1", path)
        self.qemu("qemu-io", "-f", "raw", "-c", "read -P 1 0 64k", "-c", "read -P 0 64k 64k", "-c", "read -P 1 128k 128k", path)
        path = self.create("image", format="raw", size="100k")
        self.img("bench", "-w", "--pattern", "1", "-f", "raw", "-s", "64k", "-o", "36k", "-c", "2", "-d", "1", path)
        self.qemu("qemu-io", "-f", "raw", "-c", "read -P 1 0 100k", path)

    def test_what_makes_no_sense_is_refused(self):
        path = self.create("image")
        for arguments in ([path], ["-f", "qcow2", "-o", "1M", path], ["-f", "qcow2", "-s", "2M", path], ["-f", "qcow2", "-d", "0", path],
                          ["-f", "qcow2", "--flush-interval", "100", path], ["-f", "qcow2", "-w", "--flush-interval", "2", path],
                          ["-f", "qcow2", "-t", "never", path], ["-f", "qcow2", "-i", "pigeons", path], ["-f", "qcow2", "-s", "1G", path]):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.img("bench", *arguments).status, 1)


if __name__ == "__main__":
    unittest.main()
