"""vmm-img resize: what is new reads as zeroes, for QEMU too, and what would be lost is asked about."""

import os
import resource
import subprocess
import unittest

from tool import VMM_IMG, ToolTest


class Resize(ToolTest):
    def resize(self, format, path, *words):
        result = self.img("resize", "-f", format, path, *words)
        self.assertEqual((result.status, result.output), (0, "Image resized.\n"), result.errors)
        return self.json("info", "-f", format, "--output=json", path)["virtual-size"]

    def refusal(self, *words):
        result = self.img("resize", *words)
        self.assertEqual((result.status, result.output), (1, ""))
        return result.errors

    def io(self, path, *commands):
        words = [word for command in commands for word in ("-c", command)]
        self.qemu("qemu-io", "-f", "qcow2", *words, path)

    def check(self, path):
        self.qemu("qemu-img", "check", "-q", path)

    def test_sizes_are_absolute_or_differences(self):
        for format in ("raw", "qcow2"):
            with self.subTest(format=format):
                path = self.create("image", size="1M", format=format)
                self.assertEqual(self.resize(format, path, "3M"), 3 << 20)
                self.assertEqual(self.resize(format, path, "+512k"), 7 << 19)
                self.assertEqual(self.resize(format, path, "--shrink", "-1M"), 5 << 19)
                self.assertEqual(self.resize(format, path, "--shrink", "1M"), 1 << 20)
                self.assertEqual(self.resize(format, path, "+0"), 1 << 20)
                for words in (["512k"], ["--shrink", "-1M"], ["--shrink", "0"], ["7E", "8E"], ["+8E"], ["--", "-2M"], ["1Q"]):
                    self.refusal("-f", format, path, *words)
                self.assertIn("--shrink", self.refusal("-f", format, path, "512k"))
        self.assertEqual(self.img("resize", "-q", "-f", "qcow2", path, "+1M").output, "")

    def test_a_longer_backing_file_does_not_show(self):
        self.write("base", b"\5" * (4 << 20))
        for options in (["-o", "compat=0.10"], [], ["-o", "cluster_size=512"], ["-o", "extended_l2=on"]):
            for size in (1000, 1024):
                with self.subTest(options=options, size=size):
                    path = self.create("overlay", *options, "-b", "base", "-F", "raw", size=f"{size}k")
                    self.assertEqual(self.resize("qcow2", path, "3M"), 3 << 20)
                    self.check(path)
                    self.io(path, f"read -P 5 0 {size}k", f"read -P 0 {size}k {3072 - size}k")
                    self.assertEqual(self.resize("qcow2", path, "9M"), 9 << 20)
                    self.io(path, f"read -P 5 0 {size}k", f"read -P 0 {size}k {9216 - size}k")

    def test_what_was_cut_off_does_not_come_back(self):
        path = self.create("image", size="4M")
        self.io(path, "write -P 7 0 4M")
        full = os.path.getsize(path)
        self.resize("qcow2", path, "--shrink", "1000k")
        self.check(path)
        self.assertLess(os.stat(path).st_blocks * 512, full // 2)
        self.resize("qcow2", path, "8G")
        self.check(path)
        self.io(path, "read -P 7 0 1000k", "read -P 0 1000k 3M", "read -P 0 8000M 1M")

    def test_an_encrypted_disk_grows_by_zeroes(self):
        path = self.create("image", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=50", size="1000k")
        image = f"driver=qcow2,file.filename={path},encrypt.key-secret=s"
        io = ["qemu-io", "--object", self.secret, "--image-opts"]
        self.qemu(*io, "-c", "write -P 7 0 1000k", image)
        self.assertIn("encrypt", self.refusal("-f", "qcow2", path, "3M"))
        self.resize("qcow2", path, "--object", self.secret, "3M")
        self.qemu(*io, "-c", "read -P 7 0 1000k", "-c", "read -P 0 1000k 2072k", image)

    def test_snapshots_keep_their_size_and_stand_in_the_way_where_they_would_lose_it(self):
        path = self.create("image", size="4M")
        self.io(path, "write -P 7 0 4M")
        self.qemu("qemu-img", "snapshot", "-c", "s", path)
        self.resize("qcow2", path, "--shrink", "1M")
        self.check(path)
        self.resize("qcow2", path, "9M")
        self.check(path)
        self.qemu("qemu-img", "snapshot", "-a", "s", path)
        self.io(path, "read -P 7 0 4M")
        self.check(path)
        old = self.create("old", "-o", "compat=0.10")
        self.qemu("qemu-img", "snapshot", "-c", "s", old)
        self.assertIn("internal snapshots", self.refusal("-f", "qcow2", old, "9M"))

    def test_what_is_new_can_be_preallocated(self):
        raw = self.create("raw", size="1M", format="raw")
        self.resize("raw", raw, "--preallocation=falloc", "2M")
        self.assertGreaterEqual(os.stat(raw).st_blocks * 512, 1 << 20)
        self.resize("raw", raw, "--preallocation=full", "3M")
        self.assertGreaterEqual(os.stat(raw).st_blocks * 512, 2 << 20)
        self.assertIn("metadata", self.refusal("-f", "raw", "--preallocation=metadata", raw, "4M"))
        path = self.create("image", size="1M")
        self.resize("qcow2", path, "--preallocation=metadata", "4M")
        self.check(path)
        result = self.json("check", "-f", "qcow2", "--output=json", path)
        self.assertEqual(result["allocated-clusters"], 48)
        self.io(path, "read -P 0 0 4M", "write -P 1 1M 3M")
        self.check(path)
        for mode in ("falloc", "full"):
            for options in ([], ["-o", "compat=0.10"], ["-o", "extended_l2=on"], ["-o", "cluster_size=512"]):
                with self.subTest(mode=mode, options=options):
                    ours, theirs = self.create("ours", *options, size="1000k"), self.create("theirs", *options, size="1000k")
                    for path in (ours, theirs):
                        self.io(path, "write -P 7 900k 100k")
                    self.resize("qcow2", ours, f"--preallocation={mode}", "4M")
                    self.qemu("qemu-img", "resize", "-q", f"--preallocation={mode}", theirs, "4M")
                    self.check(ours)
                    self.assertGreaterEqual(os.stat(ours).st_blocks * 512, 3 << 20)
                    allocated = [self.json("check", "-f", "qcow2", "--output=json", each)["allocated-clusters"] for each in (ours, theirs)]
                    self.assertEqual(*allocated)
                    self.qemu("qemu-img", "compare", ours, theirs)
                    size = os.path.getsize(ours)
                    self.io(ours, "read -P 7 900k 100k", "read -P 0 1000k 3096k", "write -P 1 1M 3M")
                    self.assertEqual(os.path.getsize(ours), size)
                    self.check(ours)
        key = ["-o", "encrypt.format=luks,encrypt.iter-time=10,encrypt.key-secret=s"]
        for name, options in (("zero-flag", []), ("subclusters", ["-o", "extended_l2=on"])):
            encrypted = self.create(name, *key, *options, size="1M")
            self.resize("qcow2", encrypted, "--object", self.secret, "--preallocation=metadata", "4M")
            image = f"driver=qcow2,file.filename={encrypted},encrypt.key-secret=s"
            self.qemu("qemu-io", "--object", self.secret, "--image-opts", "-c", "read -P 0 0 4M", image)
        self.assertIn("only what grows", self.refusal("-f", "qcow2", "--preallocation=metadata", "--shrink", path, "1M"))

    def test_where_there_is_no_room_the_disk_stays_as_it_was(self):
        for format in ("raw", "qcow2"):
            path = self.create("image", size="1M", format=format)
            size = os.path.getsize(path)
            done = subprocess.run([VMM_IMG, "resize", "-f", format, "--preallocation=full", path, "8M"], restore_signals=False,
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20)),
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
            self.assertEqual(os.path.getsize(path), size)
            self.assertEqual(self.json("info", "-f", format, "--output=json", path)["virtual-size"], 1 << 20)
        self.check(path)
        self.resize("qcow2", path, "--preallocation=full", "8M")
        self.check(path)

    def test_a_raw_data_file_is_as_long_as_the_disk(self):
        data = self.path("data")
        path = self.create("image", "-o", f"data_file={data},data_file_raw=on", size="1M")
        self.io(path, "write -P 7 0 1M")
        result = self.img("resize", "-f", "qcow2", path, "3M")
        self.assertEqual((result.status, os.path.getsize(data)), (1, 1 << 20))
        self.assertIn("--data-file " + data, result.errors)
        self.resize("qcow2", path, "--data-file", data, "3M")
        self.assertEqual(os.path.getsize(data), 3 << 20)
        self.check(path)
        self.io(path, "read -P 7 0 1M", "read -P 0 1M 2M", "write -P 8 2M 1M")
        self.resize("qcow2", path, "--data-file", data, "--shrink", "512k")
        self.assertEqual(os.path.getsize(data), 512 << 10)
        self.check(path)
        self.io(path, "read -P 7 0 512k")

    def test_sizes_of_qcow2_are_whole_sectors(self):
        path = self.create("image")
        self.assertIn("multiple of 512", self.refusal("-f", "qcow2", path, "2000001"))
        self.assertEqual(self.resize("raw", self.create("raw", format="raw"), "2000001"), 2000001)


if __name__ == "__main__":
    unittest.main()
