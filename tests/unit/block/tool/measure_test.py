"""vmm-img measure tells what qemu-img measure tells, number for number, and what it tells is enough."""

import itertools
import os
import random
import unittest

from tool import ToolTest

MIB = 1 << 20
ENCRYPTED = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"


class Measure(ToolTest):
    def io(self, path, *commands, format="qcow2"):
        self.qemu("qemu-io", "-f", format, *(word for command in commands for word in ("-c", command)), path)

    def expect_like_qemu(self, *arguments, named=()):
        for output in ("json", "human") if len(arguments) < 7 else ("json",):
            theirs = self.qemu_measure(f"--output={output}", *arguments)
            ours = self.img("measure", "--object", self.secret, f"--output={output}", *named, *arguments)
            with self.subTest(arguments=arguments, output=output, errors=ours.errors):
                self.assertEqual((ours.status, ours.output), (theirs.status, theirs.output))
        return ours

    def qemu_measure(self, *arguments):
        return self.run_measuring("qemu-img", "measure", "--object", self.secret, *arguments)

    def options(self):
        """Of new qcow2 images."""
        for cluster, bits, extended in itertools.product((512, 4096, 65536, 2 * MIB), (1, 16, 64), ("off", "on")):
            if extended == "off" or cluster >= 16384:
                yield f"cluster_size={cluster},refcount_bits={bits},extended_l2={extended}"
        for words in ("compat=0.10", "preallocation=metadata", "preallocation=falloc", "preallocation=full,cluster_size=1k",
                      "backing_file=b,backing_fmt=raw", "backing_file=b,preallocation=full", "lazy_refcounts=on", "compression_type=zstd",
                      "size=5G", "data_file=d,data_file_raw=on"):
            yield words

    def sizes(self):
        numbers = random.Random(4)
        return [0, 1, 512, 65536, 1000000, 1 << 30, (1 << 30) + 512, *(numbers.randrange(1 << numbers.randrange(1, 37)) for _ in range(4))]

    def test_a_disk_of_some_size(self):
        for words in self.options():
            for size in random.Random(words).sample(self.sizes(), 2):
                self.expect_like_qemu("--size", str(size), "-O", "qcow2", "-o", words)
        for size in self.sizes() + ["3G", (1 << 63) - 512]:
            self.expect_like_qemu("--size", str(size))
            self.expect_like_qemu("--size", str(size), "-O", "raw", "-o", "preallocation=full")

    def test_the_largest_disk_and_one_too_large(self):
        for size, status in ((128 << 30, 0), ((128 << 30) + 1, 1)):
            self.assertEqual(self.expect_like_qemu("--size", str(size), "-O", "qcow2", "-o", "cluster_size=512").status, status)
        for size in ("7E", str((1 << 63) - 1), "9E", "-1"):
            self.assertEqual(self.expect_like_qemu("--size", size, "-O", "qcow2").status, 1)

    def test_an_encryption_header(self):
        # QEMU makes one, with all that it costs, to see how long it is.
        for words in ("", ",cluster_size=512,encrypt.cipher-alg=aes-128", ",encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.hash-alg=sha512"):
            self.expect_like_qemu("--size", "10M", "-O", "qcow2", "-o", ENCRYPTED + words)
        self.expect_like_qemu("--size", "10M", "-O", "qcow2", "-o", "encrypt.format=aes,encrypt.key-secret=s")

    def test_copies_of_images_of_each_kind(self):
        self.create("base.raw", format="raw", size="3M")
        self.io("base.raw", "write 0 100k", "write 1500k 4k", format="raw")
        data = self.path("data")
        for options in ([], ["-o", "cluster_size=512"], ["-o", "extended_l2=on"], ["-o", "compat=0.10"], ["-b", "base.raw", "-F", "raw"],
                        ["-o", "preallocation=metadata"], ["-o", "preallocation=falloc"], ["-o", f"data_file={data}"]):
            path = self.create("image", *options, size="4M")
            self.io(path, "write 4k 4k", "write 1M 100k", "write -z 1088k 8k", "write -z 2M 512k", "discard 1M 64k",
                    *(["write -c 3M 64k"] if "preallocation" not in str(options) and "data_file" not in str(options) else []))
            named = ["--data-file", data] if f"data_file={data}" in options else []
            for words in ("", "cluster_size=512", "cluster_size=2M,compat=0.10", "backing_file=b"):
                self.expect_like_qemu("-f", "qcow2", "-O", "qcow2", *(["-o", words] if words else []), path, named=named)
            self.expect_like_qemu("-f", "qcow2", path, named=named)

    def test_copies_of_raw_files(self):
        numbers = random.Random(7)
        for size in (0, 1, 513, 4 * MIB, 4 * MIB + 700):
            path = self.write("raw", b"")
            os.truncate(path, size)
            with open(path, "r+b") as file:
                for _ in range(5 if size > MIB else 0):
                    file.seek(numbers.randrange(size))
                    file.write(b"x")
            for words in ("cluster_size=512", "cluster_size=64k", "cluster_size=2M"):
                self.expect_like_qemu("-f", "raw", "-O", "qcow2", "-o", words, path)
            self.expect_like_qemu("-f", "raw", "-O", "raw", path)

    def test_an_encrypted_image(self):
        path = self.create("image", "-o", ENCRYPTED)
        source = f"driver=qcow2,encrypt.key-secret=s,file.filename={path}"
        self.qemu("qemu-io", "--object", self.secret, "--image-opts", "-c", "write 64k 128k", source)
        theirs = self.qemu("qemu-img", "measure", "--object", self.secret, "-O", "qcow2", "--image-opts", source)
        self.assertEqual(self.img("measure", "--object", self.secret, "-O", "qcow2", "-f", "qcow2", path).output, theirs)

    def test_internal_snapshots(self):
        path = self.create("image", size="1M")
        self.io(path, "write 0 512k")
        self.qemu("qemu-img", "snapshot", "-c", "old", path)
        self.qemu("qemu-img", "snapshot", "-c", "1", path)  # the name is another one's ID
        self.qemu("qemu-img", "resize", "-q", path, "1G")  # an L1 table of another length
        self.io(path, "write 512k 1M", "write 900M 1M")
        self.qemu("qemu-img", "snapshot", "-c", "new", path)
        told = set()
        for which in ("old", "1", "2", "new", "snapshot.name=old", "snapshot.id=3", "snapshot.id=3,snapshot.name=new"):
            told.add(self.expect_like_qemu("-f", "qcow2", "-O", "qcow2", "-l", which, path).output)
        self.assertEqual(len(told), 2)
        for which in ("missing", "snapshot.id=4", "snapshot.id=1,snapshot.name=new", "snapshot.date=1"):
            self.assertEqual(self.expect_like_qemu("-f", "qcow2", "-O", "qcow2", "-l", which, path).status, 1)

    def test_bitmaps(self):
        path = self.create("image", size="700M")
        for name, granularity in (("a", "512"), ("a" * 1023, "64k"), ("third", "2G")):
            self.qemu("qemu-img", "bitmap", "--add", "-g", granularity, path, name)
        for words in ("cluster_size=512", "cluster_size=64k", "compat=0.10"):
            self.expect_like_qemu("-f", "qcow2", "-O", "qcow2", "-o", words, path)
        self.expect_like_qemu("-f", "qcow2", "-O", "raw", path)
        # A guest of ours has written since: they are not consistent any more, and counted all the same.
        self.create("raw", format="raw", size="700M")
        self.assertEqual(self.img("convert", "-n", "-f", "raw", "-O", "qcow2", self.path("raw"), path).status, 0)
        self.expect_like_qemu("-f", "qcow2", "-O", "qcow2", path)
        self.assertGreater(self.json("measure", "-f", "qcow2", "-O", "qcow2", "--output=json", path)["bitmaps"], 0)

    def test_a_copy_is_no_longer_than_that(self):
        path = self.create("image", size="40M")
        self.io(path, "write -P 1 0 3M", "write -P 2 20M 100k")
        for words in ("cluster_size=512", "cluster_size=64k", "cluster_size=2M", "extended_l2=on"):
            measured = self.json("measure", "-f", "qcow2", "-O", "qcow2", "-o", words, "--output=json", path)
            self.assertEqual(self.img("convert", "-f", "qcow2", "-O", "qcow2", "-o", words, path, self.path("copy")).status, 0)
            self.assertLessEqual(os.path.getsize(self.path("copy")), measured["required"])

    def test_errors_are_told(self):
        path = self.create("image")
        for arguments in ([], ["--size", "1M", path], ["--size", "1M", "-f", "qcow2"], ["--size", "1M", "-l", "s"], ["--size", "x"],
                          ["--size", "1M", "-O", "qcow"], ["--size", "1M", "-O", "nothing"], ["-f", "raw", "-l", "s", path],
                          ["--size", "1M", "-O", "raw", "-o", "cluster_size=512"], ["--size", "1M", "-O", "qcow2", "-o", "cluster_size=3"],
                          ["--size", "1M", "-O", "qcow2", "-o", "compat=0.10,refcount_bits=1"],
                          ["--size", "1M", "-O", "qcow2", "-o", "extended_l2=on,cluster_size=4k"], ["-f", "qcow2", self.path("missing")]):
            self.assertEqual(self.expect_like_qemu(*arguments).status, 1)
        # QEMU guesses.
        self.assertIn("-f must tell", self.img("measure", path).errors)


if __name__ == "__main__":
    unittest.main()
