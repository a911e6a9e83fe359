"""--output=json of every command is, key for key, what qemu-img prints of the same image."""

import json
import os
import struct
import unittest

from tool import ToolTest

COMMANDS = (["info"], ["info", "--backing-chain"], ["map"], ["check"])


class Json(ToolTest):
    def io(self, path, *commands, format="qcow2"):
        self.qemu("qemu-io", "-f", format, *(word for command in commands for word in ("-c", command)), path)

    def expect_like_qemu(self, path, format, *named, commands=COMMANDS, secrets=()):
        image = ["--image-opts", f"driver={format},file.filename={path},encrypt.key-secret=s"] if secrets else ["-f", format, path]
        for command in commands:
            with self.subTest(command=command, image=os.path.basename(path)):
                # Of an image by its options, qemu-img names those: what it is named by is told elsewhere.
                named_image = ["-f", format, path] if command[0] == "info" else image
                theirs = self._run("qemu-img", *command, *secrets, "--output=json", *named_image)
                ours = self.img(*command, *secrets, *named, "--output=json", *named_image)
                self.assertEqual(ours.status, theirs.status, ours.errors + theirs.errors)
                if not theirs.output:
                    self.assertEqual(ours.output, "")
                    continue
                parsed, wanted = json.loads(ours.output), json.loads(theirs.output)
                if secrets and command == ["check"]:
                    wanted["filename"] = path
                self.assertEqual(parsed, wanted)
                self.assertEqual(self.kinds(parsed), self.kinds(wanted))

    def kinds(self, value):
        """1 and true are one in Python, and not in JSON."""
        if isinstance(value, dict):
            return {key: self.kinds(each) for key, each in value.items()}
        return [self.kinds(each) for each in value] if isinstance(value, list) else type(value)

    def test_images_of_every_kind(self):
        self.maxDiff = None
        for options in ("compat=0.10", "cluster_size=512", "cluster_size=2M,lazy_refcounts=on", "compression_type=zstd", "refcount_bits=1",
                        "extended_l2=on", "preallocation=metadata", "preallocation=full,extended_l2=on"):
            path = self.create("image", "-o", options, size="4M")
            self.io(path, "write -P 1 4k 4k", "write -P 2 1M 100k", "write -z 1088k 64k", "write -z 2M 1M")
            self.expect_like_qemu(path, "qcow2")

    def test_compressed_data_snapshots_and_bitmaps(self):
        path = self.create("image", size="4M")
        self.io(path, "write -c -P 1 0 64k", "write -c -P 2 64k 64k", "write -P 3 1M 1M")
        self.qemu("qemu-img", "snapshot", "-c", "one", path)
        self.io(path, "write -P 4 0 200k")
        self.qemu("qemu-img", "snapshot", "-c", "two", path)
        self.qemu("qemu-img", "bitmap", "--add", path, "enabled")
        self.qemu("qemu-img", "bitmap", "--add", "--disable", "-g", "16k", path, "disabled")
        self.expect_like_qemu(path, "qcow2")

    def test_encrypted_images(self):
        for options in ("encrypt.format=luks,encrypt.iter-time=10", "encrypt.format=aes"):
            path = self.create("image", "-o", options + ",encrypt.key-secret=s", size="4M")
            self.qemu("qemu-io", "--object", self.secret, "--image-opts", "-c", "write -P 1 64k 64k",
                      f"driver=qcow2,encrypt.key-secret=s,file.filename={path}")
            self.expect_like_qemu(path, "qcow2", secrets=["--object", self.secret])

    def test_a_data_file(self):
        for raw in ("off", "on"):
            path = self.create("image", "-o", f"data_file={self.path('data')},data_file_raw={raw}", size="4M")
            self.io(path, "write -P 1 1M 100k", "write -z 2M 64k")
            self.expect_like_qemu(path, "qcow2", commands=[["info"], ["check"]])
            self.expect_like_qemu(path, "qcow2", "--data-file", self.path("data"), commands=[["map"]])
            os.remove(self.path("data"))

    def test_chains(self):
        base = self.create("base.raw", format="raw", size="700k")
        self.io(base, "write -P 1 0 64k", "write -P 1 300k 4k", format="raw")
        middle = self.create("middle", "-b", "base.raw", "-F", "raw", size="1M")
        self.io(middle, "write -P 2 64k 100k", "write -z 192k 64k")
        top = self.create("top", "-b", middle, "-F", "qcow2", "-o", "cluster_size=4k", size="3M")
        self.io(top, "write -P 4 128k 64k", "write -z 0 64k", "write -P 5 2M 300k")
        for path in (middle, top):
            self.expect_like_qemu(path, "qcow2")
        self.expect_like_qemu(base, "raw")

    def test_old_and_raw_images(self):
        self.expect_like_qemu(self.create("qcow", format="qcow", size="4M"), "qcow")
        raw = self.write("raw", os.urandom(5000))
        os.truncate(raw, 1 << 20)
        self.expect_like_qemu(raw, "raw")
        os.mkdir(self.path("tree"))
        self.write("tree/file", bytes(5000))
        self.qemu("xorriso", "-as", "mkisofs", "-quiet", "-o", self.path("image.iso"), self.path("tree"))
        self.expect_like_qemu(self.path("image.iso"), "raw")

    def test_dirty_corrupt_and_leaking_images(self):
        def mark(path, bits):
            with open(path, "r+b") as file:
                file.seek(79)
                file.write(bytes([bits]))

        path = self.create("image", size="2M")
        self.io(path, "write -P 1 0 300k")
        with open(path, "rb") as file:
            table = struct.unpack(">Q", file.read(56)[48:])[0]
            file.seek(table)
            block = struct.unpack(">Q", file.read(8))[0]
        for bits in (1, 2):
            mark(path, bits)
            self.expect_like_qemu(path, "qcow2", commands=[["info"], ["map"]])
        mark(path, 0)
        end = os.path.getsize(path) // 65536
        for cluster, count in ((end - 1, 0), (end, 1), (end - 2, 2)):
            with open(path, "r+b") as file:
                file.truncate((end + 1) * 65536)
                file.seek(block + 2 * cluster)
                file.write(struct.pack(">H", count))
            self.expect_like_qemu(path, "qcow2", commands=[["info"], ["check"]])


if __name__ == "__main__":
    unittest.main()
