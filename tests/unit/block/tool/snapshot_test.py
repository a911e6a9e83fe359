"""vmm-img snapshot: what it makes qemu-img uses, and the other way round."""

import unittest

from tool import ToolTest


class Snapshot(ToolTest):
    def snapshot(self, path, *words):
        result = self.img("snapshot", "-f", "qcow2", *words, path)
        self.assertEqual(result.status, 0, result.errors)
        # qemu-img would want the key.
        self.assertEqual(self.img("check", "-f", "qcow2", path).status, 0)
        if self.json("info", "-f", "qcow2", "--output=json", path).get("encrypted") is None:
            self.qemu("qemu-img", "check", "-q", path)
        return result.output

    def io(self, path, *commands):
        words = [word for command in commands for word in ("-c", command)]
        # It says in words only that a pattern was not there.
        self.assertNotIn("failed", self.qemu("qemu-io", "-f", "qcow2", *words, path))

    def filled(self, *options):
        path = self.create("image", *options, size="16M")
        self.io(path, "write -P 1 0 1M", "write -P 1 8M 64k")
        return path

    def test_snapshots_of_both_programs_live_side_by_side(self):
        for options in ([], ["-o", "compat=0.10"], ["-o", "cluster_size=512"], ["-o", "extended_l2=on"],
                        ["-o", "refcount_bits=64,cluster_size=2M"]):
            with self.subTest(options=options):
                path = self.filled(*options)
                self.snapshot(path, "-c", "one")
                self.io(path, "write -P 2 512k 1M", "write -z 8M 64k")
                self.qemu("qemu-img", "snapshot", "-c", "two", path)
                self.io(path, "write -P 3 0 64k")
                self.snapshot(path, "-a", "one")
                self.io(path, "read -P 1 0 1M", "read -P 0 1M 1M", "read -P 1 8M 64k")
                self.qemu("qemu-img", "snapshot", "-a", "two", path)
                self.io(path, "read -P 1 0 512k", "read -P 2 512k 1M", "read -P 0 8M 64k")
                self.snapshot(path, "-d", "two")
                self.qemu("qemu-img", "snapshot", "-d", "one", path)
                self.qemu("qemu-img", "check", "-q", path)
                self.io(path, "read -P 1 0 512k", "read -P 2 512k 1M", "write -P 4 0 1M")
                self.qemu("qemu-img", "check", "-q", path)

    def test_the_list_is_that_of_qemu_img(self):
        path = self.filled()
        self.assertEqual(self.snapshot(path), "")
        self.snapshot(path, "-c", "one")
        self.qemu("qemu-img", "snapshot", "-c", "a name that is longer than its column", path)
        listed = self.qemu("qemu-img", "snapshot", "-l", path)
        self.assertEqual(self.snapshot(path, "-l"), listed)
        self.assertEqual(self.snapshot(path), listed)

    def test_an_encrypted_image_needs_no_key(self):
        path = self.create("image", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=50")
        image = f"driver=qcow2,file.filename={path},encrypt.key-secret=s"
        io = ["qemu-io", "--object", self.secret, "--image-opts"]
        self.qemu(*io, "-c", "write -P 7 0 256k", image)
        self.snapshot(path, "-c", "one")
        self.qemu(*io, "-c", "write -P 8 0 128k", image)
        self.snapshot(path, "-a", "one")
        self.assertNotIn("failed", self.qemu(*io, "-c", "read -P 7 0 256k", image))

    def test_the_disk_becomes_as_long_as_it_was(self):
        path = self.filled()
        self.snapshot(path, "-c", "short")
        self.qemu("qemu-img", "resize", "-q", path, "100M")
        self.io(path, "write -P 9 90M 1M")
        self.snapshot(path, "-c", "long")
        self.snapshot(path, "-a", "short")
        self.assertEqual(self.json("info", "-f", "qcow2", "--output=json", path)["virtual-size"], 16 << 20)
        self.io(path, "read -P 1 0 1M")
        self.qemu("qemu-img", "snapshot", "-a", "long", path)
        self.io(path, "read -P 9 90M 1M")

    def test_dirty_bitmaps_stay_valid_and_stand_in_the_way_of_applying(self):
        path = self.filled()
        self.qemu("qemu-img", "bitmap", "--add", path, "b0")
        self.snapshot(path, "-c", "one")
        flags = self.json("info", "-f", "qcow2", "--output=json", path)
        self.assertEqual(self.qemu("qemu-img", "info", "--output=json", path).count("in-use"), 0, flags)
        result = self.img("snapshot", "-f", "qcow2", "-a", "one", path)
        self.assertEqual(result.status, 1)
        self.assertIn("dirty bitmaps", result.errors)
        self.snapshot(path, "-d", "one")

    def test_what_cannot_be_is_refused(self):
        path = self.filled()
        for words, text in ((["-a", "none"], "no snapshot with the name or ID 'none'"),
                            (["-d", "none"], "no snapshot with the name or ID 'none'"), (["-c", ""], "1 to 255 bytes"),
                            (["-c", "x" * 300], "1 to 255 bytes"), (["-l", "-c", "x"], "excludes"),
                            (["-c", "x", "-d", "y"], "excludes")):
            result = self.img("snapshot", "-f", "qcow2", *words, path)
            self.assertEqual(result.status, 1, words)
            self.assertIn(text, result.errors)
        self.assertEqual(self.img("snapshot", "-l", path).output, self.img("snapshot", "-l", "-f", "qcow2", path).output)
        raw = self.create("raw", format="raw")
        self.assertEqual(self.img("snapshot", "-f", "raw", raw).output, "")
        self.assertIn("no internal snapshots", self.img("snapshot", "-f", "raw", "-c", "x", raw).errors)
        narrow = self.create("narrow", "-o", "refcount_bits=1")
        self.io(narrow, "write 0 64k")
        self.assertIn("refcount_bits", self.img("snapshot", "-f", "qcow2", "-c", "x", narrow).errors)
        self.qemu("qemu-img", "check", "-q", narrow)

    def test_an_image_in_use_is_left_alone(self):
        path = self.filled()
        user = self.popen("qemu-io", "-f", "qcow2", path)
        user.stdin.write(b"read 0 512\n")
        user.stdin.flush()
        user.stdout.readline()
        result = self.img("snapshot", "-f", "qcow2", "-c", "x", path)
        self.assertEqual(result.status, 1)
        self.assertIn("in use", result.errors)


if __name__ == "__main__":
    unittest.main()
