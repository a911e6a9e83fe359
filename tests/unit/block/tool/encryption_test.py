"""LUKS images that vmm-img makes, over ciphers, modes and IV generators: qemu-img makes and opens the same ones."""

import itertools
import os
import unittest

from tool import ToolTest

COMBINATIONS = list(itertools.product(("aes-128", "aes-192", "aes-256", "cast5-128"), ("ecb", "cbc", "xts", "ctr"), ("plain", "plain64", "essiv")))
SOME = (("aes-256", "ecb", "plain64"), ("aes-128", "cbc", "essiv"), ("aes-192", "xts", "plain"), ("aes-192", "cbc", "plain64"),
        ("cast5-128", "cbc", "plain64"), ("aes-256", "ctr", "plain64"))


class Encryption(ToolTest):
    def words(self, combination):
        algorithm, mode, generator = combination
        hash_word = ",encrypt.ivgen-hash-alg=md5" if algorithm == "cast5-128" else ",encrypt.ivgen-hash-alg=sha256"
        return (f"encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10,encrypt.cipher-alg={algorithm},"
                f"encrypt.cipher-mode={mode},encrypt.ivgen-alg={generator}" + (hash_word if generator == "essiv" else ""))

    def made_by_qemu(self, words):
        """Whether qemu-img can do it at all; some it refuses, some end with an assertion."""
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "--object", self.secret, "-o", words, self.path("theirs"), "1M"]
        return self.run_measuring(*command).status == 0

    def test_they_are_those_that_qemu_img_makes(self):
        for combination in COMBINATIONS if os.environ.get("VMM_ALL_CIPHERS") else SOME:
            with self.subTest(combination=combination):
                words = self.words(combination)
                result = self.img("create", "-f", "qcow2", "--object", self.secret, "-o", words, self.path("ours"), "1M")
                is_possible = self.made_by_qemu(words)
                self.assertEqual(result.status == 0, is_possible, result.errors)
                if is_possible:
                    self.expect_read_and_written("ours")
                    self.expect_read_and_written("theirs")

    def expect_read_and_written(self, name):
        image = f"driver=qcow2,encrypt.key-secret=s,file.filename={self.path(name)}"
        self.qemu("qemu-io", "--object", self.secret, "--image-opts", "-c", "write -P 7 100k 300k", image)
        expected = bytearray(1 << 20)
        expected[100 << 10:400 << 10] = b"\x07" * (300 << 10)
        raw = self.write("expected", bytes(expected))
        result = self.img("compare", "--object", self.secret, "-f", "qcow2", "-F", "raw", self.path(name), raw)
        self.assertEqual((result.status, result.output), (0, "Images are identical.\n"), result.errors)

    def test_a_key_that_qemu_cannot_split_is_refused_with_what_to_take(self):
        result = self.img("create", "-f", "qcow2", "--object", self.secret, "-o", self.words(("aes-192", "cbc", "plain64")), self.path("none"), "1M")
        self.assertEqual(result.status, 1)
        self.assertIn("aes-128 or aes-256, or the mode xts", result.errors)
        self.assertFalse(os.path.exists(self.path("none")))


if __name__ == "__main__":
    unittest.main()
