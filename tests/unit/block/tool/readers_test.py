"""Readers that share no code with QEMU, libqcow and 7-Zip, read what we write; qemu-img is asked elsewhere.

nbdkit is none of them: Debian 12's has no filter for qcow2.
"""

import hashlib
import random
import shutil
import subprocess
import unittest

from tool import PASSPHRASE, ToolTest

SIZE = 4 << 20
PYTHON = "/usr/bin/python3"  # Debian's, which has its modules
LIBQCOW = """
import hashlib, sys, pyqcow
image = pyqcow.file()
if sys.argv[1]:
    image.set_password(sys.argv[1])
image.open(sys.argv[2])
left, digest = image.get_media_size(), hashlib.sha256()
while left > 0:
    data = image.read_buffer(min(left, 1 << 20))
    digest.update(data)
    left -= len(data)
print(digest.hexdigest())
"""

KEY = "encrypt.key-secret=s"
# Options of the image, words of convert, and who can read it: L libqcow, Z 7-Zip. Neither knows zstd, extended L2 entries
# or LUKS, or follows backing files (libqcow shows the base instead of the overlay's clusters, in QEMU's images too).
# libqcow knows no zero clusters, which version 2 does not have.
KINDS = (
    ("", [], "LZ"), ("compat=0.10", [], "LZ"), ("cluster_size=512", [], "LZ"), ("cluster_size=4k", ["-c"], "LZ"),
    ("cluster_size=2M", [], "LZ"), ("refcount_bits=1", [], "LZ"), ("refcount_bits=64,lazy_refcounts=on", [], "LZ"),
    ("", ["-c"], "LZ"), ("compat=0.10", ["-c"], "LZ"), ("preallocation=metadata", [], "LZ"), ("preallocation=full", [], "LZ"),
    (f"encrypt.format=aes,{KEY}", [], "L"), (f"encrypt.format=aes,compat=0.10,{KEY}", [], "L"),
    (f"encrypt.format=luks,encrypt.iter-time=10,{KEY}", [], ""),
    ("compression_type=zstd", ["-c"], ""), ("extended_l2=on", [], ""),
)


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Readers(ToolTest):
    def setUp(self):
        super().setUp()
        chance = random.Random(7)
        data = bytearray(SIZE)
        for offset in (0, 70_000, 1_000_000, 3_000_000, SIZE - 5000):
            data[offset:offset + 40_000] = chance.randbytes(min(40_000, SIZE - offset))
        data[2_000_000:2_300_000] = b"text" * 75_000
        self.data = bytes(data)
        self.raw = self.write("raw", self.data)

    def tool(self, *words):
        result = self.img(*words)
        self.assertEqual(result.status, 0, result.errors)

    def libqcow(self, path, passphrase=""):
        """The digest of what it reads, or what it says."""
        result = self._run(PYTHON, "-c", LIBQCOW, passphrase, path)
        return result.output.strip() if result.status == 0 else result.errors

    def seven_zip(self, path):
        done = subprocess.run(["7zz", "x", "-tqcow", "-so", path], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        return digest(done.stdout) if done.returncode == 0 else done.stderr.decode(errors="replace")

    def test_images_of_every_kind_that_they_know(self):
        for options, words, readers in KINDS:
            with self.subTest(options=options, words=words):
                path = self.path("image")
                encryption = PASSPHRASE if "encrypt" in options else ""
                self.tool("convert", "--object", self.secret, "-f", "raw", "-O", "qcow2", *words, *(["-o", options] if options else []), self.raw, path)
                self.assertEqual(self.libqcow(path, passphrase=encryption) == digest(self.data), "L" in readers)
                self.assertEqual(self.seven_zip(path) == digest(self.data), "Z" in readers)

    def test_an_image_that_has_been_written_to_again_and_again(self):
        for options, readers in (("", [self.seven_zip]), ("cluster_size=512", [self.seven_zip]),
                                 ("compat=0.10", [self.libqcow, self.seven_zip])):
            with self.subTest(options=options):
                path = self.path("image")
                self.tool("convert", "-c", "-f", "raw", "-O", "qcow2", *(["-o", options] if options else []), self.raw, path)
                self.tool("snapshot", "-f", "qcow2", "-c", "first", path)
                # Other data, and zeroes where there were some: copied clusters, and clusters given up or zero.
                other = bytearray(self.data)
                other[65_536:200_000] = random.Random(8).randbytes(200_000 - 65_536)
                other[1_000_000:1_500_000] = bytes(500_000)
                self.tool("convert", "-n", "-f", "raw", "-O", "qcow2", self.write("other", bytes(other)), path)
                self.tool("snapshot", "-f", "qcow2", "-c", "second", path)
                for read in readers:
                    self.assertEqual(read(path), digest(other))
                self.tool("snapshot", "-f", "qcow2", "-a", "first", path)
                self.tool("snapshot", "-f", "qcow2", "-d", "second", path)
                for read in readers:
                    self.assertEqual(read(path), digest(self.data))


if __name__ == "__main__":
    if not shutil.which("7zz") or subprocess.run([PYTHON, "-c", "import pyqcow"], stderr=subprocess.DEVNULL, check=False).returncode:
        raise SystemExit(77)
    unittest.main()
