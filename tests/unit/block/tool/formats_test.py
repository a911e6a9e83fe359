"""Every format and every encryption that QEMU writes is read, and what we encrypt QEMU reads."""

import os
import random
import subprocess
import unittest

from tool import PASSPHRASE, VMM_IMG, ToolTest

KEY = ["-o", "encrypt.key-secret=s,encrypt.iter-time=10"]


class Formats(ToolTest):
    def setUp(self):
        super().setUp()
        data = bytearray(3 << 20)
        chance = random.Random(1)
        for offset in (0, 70_000, 1_000_000, 3_000_000):
            data[offset:offset + 20_000] = chance.randbytes(20_000)
        self.raw = self.write("raw", bytes(data))

    def expect_same(self, name, format, *secret):
        result = self.img("compare", *secret, "-f", format, "-F", "raw", self.path(name), self.raw)
        self.assertEqual((result.status, result.output), (0, "Images are identical.\n"), result.errors)

    def converted(self, name, format, *options):
        """The raw file in that format, by qemu-img."""
        result = self.run_measuring("qemu-img", "convert", "--object", self.secret, "-f", "raw", "-O", format, *options, self.raw, self.path(name))
        self.assertEqual(result.status, 0, result.errors)

    def test_qcow_of_version_1(self):
        self.converted("old", "qcow")
        self.expect_same("old", "qcow")

    def test_qcow_of_version_1_is_never_written_to(self):
        self.converted("old", "qcow")
        result = self.img("create", "-f", "qcow", self.path("new"), "1M")
        self.assertNotEqual(result.status, 0)
        self.assertIn("only read here", result.errors)

    def test_qcow_of_version_1_cannot_tell_the_format_of_its_backing_file(self):
        base = self.path("base")
        with open(self.raw, "rb") as source:
            contents = bytearray(source.read())
        self.write("base", bytes(contents))
        overlay = self.create("old", "-b", base, "-F", "raw", format="qcow", size="3M")
        self.qemu("qemu-io", "-f", "qcow", "-c", "write -P 9 64k 64k", overlay)
        contents[65536:131072] = b"\x09" * 65536
        self.raw = self.write("expected", bytes(contents))
        self.expect_same("old", "qcow", "--backing-format", "raw")
        result = self.img("convert", "-f", "qcow", "-O", "raw", overlay, self.path("copy"))
        self.assertNotEqual(result.status, 0)
        self.assertIn("--backing-format", result.errors)

    def test_encrypted_images_of_all_kinds(self):
        for name, format, options in (("luks", "qcow2", "luks"), ("aes", "qcow2", "aes"), ("old-aes", "qcow", "aes")):
            with self.subTest(name=name):
                key = KEY if options == "luks" else ["-o", "encrypt.key-secret=s"]
                self.converted(name, format, *key, "-o", f"encrypt.format={options}")
                self.expect_same(name, format, "--object", self.secret)
                self.assertIn("no passphrase was given", self.img("compare", "-f", format, "-F", "raw", self.path(name), self.raw).errors)

    def test_all_passphrases_are_tried_and_a_wrong_one_is_named(self):
        self.converted("luks", "qcow2", *KEY, "-o", "encrypt.format=luks")
        wrong = "secret,id=w,file=" + self.write("wrong", b"tuna")
        self.expect_same("luks", "qcow2", "--object", wrong, "--object", self.secret)
        result = self.img("compare", "--object", wrong, "-f", "qcow2", "-F", "raw", self.path("luks"), self.raw)
        self.assertEqual(result.status, 2)
        self.assertIn("passphrase", result.errors)
        self.assertNotIn("tuna", result.errors)

    def test_a_passphrase_may_come_from_the_environment_and_never_from_the_command_line(self):
        self.converted("luks", "qcow2", *KEY, "-o", "encrypt.format=luks")
        os.environ["VMM_TEST_PASSPHRASE"] = PASSPHRASE
        self.addCleanup(os.environ.pop, "VMM_TEST_PASSPHRASE")
        self.expect_same("luks", "qcow2", "--object", "secret,id=s,env=VMM_TEST_PASSPHRASE")
        result = self.img("compare", "--object", f"secret,id=s,data={PASSPHRASE}", "-f", "raw", "-F", "raw", self.raw, self.raw)
        self.assertEqual(result.status, 2)
        self.assertNotIn(PASSPHRASE, result.errors)

    def test_a_passphrase_may_come_from_a_pipe(self):
        self.converted("luks", "qcow2", *KEY, "-o", "encrypt.format=luks")
        command = f"'{VMM_IMG}' compare --object secret,id=s,file=<(printf {PASSPHRASE}) -f qcow2 -F raw luks raw"
        result = self._run("bash", "-c", command)
        self.assertEqual((result.status, result.output), (0, "Images are identical.\n"), result.errors)

    def test_what_we_encrypt_qemu_reads(self):
        for options in ("encrypt.format=luks", "encrypt.format=luks,encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv",
                        "encrypt.format=luks,encrypt.hash-alg=sha512,preallocation=metadata", "encrypt.format=aes"):
            with self.subTest(options=options):
                path = self.path("ours")
                time = ",encrypt.iter-time=10" if "luks" in options else ""
                made = self.img("create", "--object", self.secret, "-f", "qcow2", "-o", f"{options},encrypt.key-secret=s{time}", path, "3M")
                self.assertEqual(made.status, 0, made.errors)
                image = ["--object", self.secret, "--image-opts"]
                name = f"driver=qcow2,file.filename={path},encrypt.key-secret=s"
                self.qemu("qemu-io", *image, "-c", "read -P 0 0 3M", name)
                self.qemu("qemu-io", *image, "-c", "write -P 7 100000 70000", name)
                self.assertIn("No errors", self.qemu("qemu-img", "check", *image, name))
                expected = bytearray(3 << 20)
                expected[100_000:170_000] = b"\7" * 70_000
                self.raw = self.write("expected", bytes(expected))
                self.expect_same("ours", "qcow2", "--object", self.secret)

    def test_encryption_that_cannot_be_is_refused_and_nothing_is_made(self):
        for options, words in (("encrypt.format=luks", "encrypt.key-secret"), ("encrypt.format=rot13,encrypt.key-secret=s", "luks and aes"),
                               ("encrypt.format=luks,encrypt.key-secret=t", "no secret 't'"),
                               ("encrypt.format=luks,encrypt.key-secret=s,encrypt.cipher-alg=serpent-256", "cipher-alg")):
            with self.subTest(options=options):
                result = self.img("create", "--object", self.secret, "-f", "qcow2", "-o", options, self.path("none"), "1M")
                self.assertEqual(result.status, 1)
                self.assertIn(words, result.errors)
                self.assertFalse(os.path.exists(self.path("none")))

    def test_iso_images_are_read_and_a_truncated_one_is_refused(self):
        os.mkdir(self.path("tree"))
        self.write("tree/file", b"contents" * 1000)
        iso = self.path("image.iso")
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", iso, self.path("tree")], check=True, capture_output=True, timeout=60)
        self.raw = iso
        self.expect_same("image.iso", "iso")
        with open(iso, "rb") as file:
            self.write("short.iso", file.read(os.path.getsize(iso) // 2 // 2048 * 2048))
        result = self.img("compare", "-f", "iso", "-F", "raw", self.path("short.iso"), iso)
        self.assertEqual(result.status, 2)
        self.assertIn("truncated", result.errors)


if __name__ == "__main__":
    unittest.main()
