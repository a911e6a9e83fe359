"""vmm-img info tells what qemu-img info tells, in its words; and of ISO images what that does not see."""

import json
import os
import struct
import unittest

from tool import ToolTest


class Info(ToolTest):
    def split(self, output):
        """qemu-img's lines, and the picture behind them."""
        lines, empty, picture = output.rpartition("\n\n")
        self.assertEqual(empty, "\n\n", output)
        return lines + "\n", picture

    def expect_like_qemu(self, path, format):
        theirs = self.qemu("qemu-img", "info", path)
        ours, picture = self.split(self.img("info", "-f", format, path).output)
        self.assertEqual(ours, theirs)
        self.assertIn(f" {format} ", picture)
        ours = self.json("info", "-f", format, "--output=json", path)
        self.assertEqual(ours, json.loads(self.qemu("qemu-img", "info", "--output=json", path)))

    def test_qcow2_of_every_kind_is_shown_as_by_qemu_img(self):
        base = self.create("base.raw", format="raw")
        for options in (["-o", "compat=0.10"], ["-o", "cluster_size=2M,lazy_refcounts=on"],
                        ["-o", "compression_type=zstd,refcount_bits=1"], ["-o", "extended_l2=on"],
                        ["-o", f"data_file={self.path('data')},data_file_raw=on"], ["-b", base, "-F", "raw"],
                        ["-b", "base.raw", "-F", "raw"], ["-o", "encrypt.format=aes,encrypt.key-secret=s"]):
            with self.subTest(options=options):
                self.expect_like_qemu(self.create("image", *options), "qcow2")

    def test_a_luks_header_is_shown_with_its_slots(self):
        self.expect_like_qemu(
            self.create("image", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=50,"
                        "encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256"), "qcow2")

    def test_snapshots_are_listed(self):
        path = self.create("image")
        self.qemu("qemu-img", "snapshot", "-c", "first", path)
        self.qemu("qemu-img", "snapshot", "-c", "a name that is longer than its column", path)
        self.expect_like_qemu(path, "qcow2")

    def test_dirty_bitmaps_are_listed_with_their_flags(self):
        path = self.create("image")
        self.qemu("qemu-img", "bitmap", "--add", path, "enabled")
        self.qemu("qemu-img", "bitmap", "--add", "--disable", "-g", "16k", path, "disabled")
        self.expect_like_qemu(path, "qcow2")
        # We do not track what we write: one that ought to is not consistent any more.
        self.qemu("qemu-img", "create", "-q", "-f", "raw", self.path("raw"), "1M")
        self.assertEqual(self.img("convert", "-n", "-f", "raw", "-O", "qcow2", self.path("raw"), path).status, 0)
        self.expect_like_qemu(path, "qcow2")
        bitmaps = self.json("info", "-f", "qcow2", "--output=json", path)["format-specific"]["data"]["bitmaps"]
        self.assertEqual([bitmap["flags"] for bitmap in bitmaps], [["in-use", "auto"], []])

    def test_raw_and_qcow(self):
        self.expect_like_qemu(self.create("image", format="raw"), "raw")
        self.expect_like_qemu(self.create("old", format="qcow"), "qcow")
        self.expect_like_qemu(self.create("aes", "-o", "encrypt.format=aes,encrypt.key-secret=s", format="qcow"), "qcow")

    def test_a_format_that_is_not_named_is_recognised_and_that_is_said(self):
        for format in ("raw", "qcow", "qcow2"):
            with self.subTest(format=format):
                path = self.create("image", format=format)
                self.assertIn("recognised by the first bytes", self.img("info", path).output)
                info = self.json("info", "--output=json", path)
                self.assertEqual((info["format"], info["format-recognised"]), (format, True))

    def test_the_format_that_is_named_counts(self):
        path = self.create("image")
        info = self.json("info", "-f", "raw", "--output=json", path)
        self.assertEqual(info["format"], "raw")
        self.assertEqual(info["virtual-size"], os.path.getsize(path))
        result = self.img("info", "-f", "iso", path)
        self.assertEqual(result.status, 1)
        self.assertIn("is not an ISO image", result.errors)
        self.assertIn("'vmdk' is not known", self.img("info", "-f", "vmdk", path).errors)

    def test_a_chain_is_followed(self):
        self.create("base.raw", format="raw")
        self.create("middle", "-b", "base.raw", "-F", "raw")
        top = self.create("top", "-b", "middle", "-F", "qcow2")
        chain = self.json("info", "--backing-chain", "--output=json", top)
        self.assertEqual([entry["format"] for entry in chain], ["qcow2", "qcow2", "raw"])
        ours, picture = self.split(self.img("info", "-f", "qcow2", "--backing-chain", top).output)
        self.assertEqual(ours, self.qemu("qemu-img", "info", "--backing-chain", top))
        self.assertEqual([line.split()[0] for line in picture.splitlines()], [top, "|", self.path("middle"), "|", self.path("base.raw")])
        picture = self.split(self.img("info", "-f", "qcow2", top).output)[1]
        self.assertRegex(picture, r"\n  \|\n\S*/middle  \(--backing-chain shows it too\)\n\Z")

    def test_the_picture_tells_what_a_person_wants_to_know(self):
        def picture(path, format):
            return self.split(self.img("info", "-f", format, path).output)[1]

        self.assertRegex(picture(self.create("thin", size="1G"), "qcow2"), r"thin  qcow2  1 GiB  thin, \d+ KiB allocated \(0\.0%\)\n\Z")
        self.assertRegex(picture(self.write("full", bytes([1]) * (1 << 20)), "raw"), r"full  raw  1 MiB  full, 1 MiB allocated\n\Z")
        secret = self.create("secret", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10")
        self.assertIn(", encrypted with LUKS (1 of 8 key slots used)", picture(secret, "qcow2"))
        path = self.create("image", "-o", "compression_type=zstd")
        self.qemu("qemu-img", "bitmap", "--add", path, "b")
        for name in ("first", "second"):
            self.qemu("qemu-img", "snapshot", "-c", name, path)
        self.assertIn(", 2 snapshots, 1 bitmap, compresses with zstd\n", picture(path, "qcow2"))
        with open(path, "r+b") as file:
            file.seek(79)  # incompatible features: corrupt, and compression_type
            file.write(bytes([0b1010]))
        self.assertIn(", CORRUPT\n", picture(path, "qcow2"))

    def test_a_chain_without_end_is_refused(self):
        path = self.create("image")
        self.qemu("qemu-img", "rebase", "-u", "-b", path, "-F", "qcow2", path)
        result = self.img("info", "--backing-chain", path)
        self.assertEqual(result.status, 1)
        self.assertIn("stands on itself", result.errors)
        self.assertEqual(self.img("info", path).status, 0)

    def test_names_in_an_image_cannot_speak_to_the_terminal(self):
        path = self.create("image")
        with open(path, "r+b") as file:
            file.seek(8)
            file.write(struct.pack(">QI", 512, 4))
            file.seek(512)
            file.write(b"\x1b[2J")
        result = self.img("info", "-f", "qcow2", path)
        self.assertNotIn("\x1b", result.output + result.errors)

    def test_an_iso_is_described(self):
        os.mkdir(self.path("tree"))
        self.write("tree/boot.img", bytes(2048))
        self.qemu("xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-V", "A_VOLUME", "-b", "boot.img", "-no-emul-boot",
                  "-o", self.path("image.iso"), self.path("tree"))
        info = self.json("info", "--output=json", self.path("image.iso"))
        self.assertEqual(info["format"], "iso")
        data = info["format-specific"]["data"]
        self.assertEqual(data["volume-id"], "A_VOLUME")
        self.assertTrue(data["joliet"] and data["rock-ridge"])
        [entry] = data["el-torito"]["entries"]
        self.assertEqual((entry["platform"], entry["emulation"], entry["bootable"]), ("x86", "none", True))
        text = self.img("info", "-f", "iso", self.path("image.iso")).output
        self.assertIn("    el torito:\n        catalogue block: ", text)

        os.truncate(self.path("image.iso"), 100_000)
        result = self.img("info", self.path("image.iso"))
        self.assertEqual(result.status, 1)
        self.assertIn(f"promises {data['volume-size']} bytes, and it has 100000", result.errors)

    def test_a_missing_file_and_a_wrong_command_line_are_told(self):
        self.assertEqual(self.img("info", self.path("missing")).status, 1)
        self.assertEqual(self.img("info").status, 1)
        self.assertEqual(self.img().status, 1)
        self.assertEqual(self.img("info", "--output=xml", self.path("passphrase")).status, 1)



class NamesOfOthers(ToolTest):
    """What an image says is shown, whether or not it can be followed; nothing in it is a command for a terminal."""

    def overlay(self, name):
        self.qemu("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", name, "-F", "raw", self.path("image.qcow2"), "1M")
        return self.path("image.qcow2")

    def test_backing_files_that_cannot_be_opened_are_shown(self):
        for name in ("nbd://h/x", "json:{}", "fd:0", 'json:{"driver":"raw","offset":512,"file":{"driver":"file","filename":"a"}}'):
            path = self.overlay(name)
            info = self.json("info", "-f", "qcow2", "--output=json", path)
            self.assertEqual(info["backing-filename"], name)
            self.assertIn(name, self.img("info", "-f", "qcow2", path).output)
            chain = self.img("info", "-f", "qcow2", "--backing-chain", path)
            self.assertEqual(chain.status, 1)
            self.assertEqual(chain.errors.count("\n"), 1)

    def test_names_are_whole_in_json_and_harmless_for_people(self):
        name = "e\x1b[31mvil\n\tx"
        path = self.overlay(name)
        snapshots = self.create("snapshots.qcow2")
        self.qemu("qemu-img", "snapshot", "-c", name, snapshots)
        self.assertEqual(self.json("info", "-f", "qcow2", "--output=json", snapshots)["snapshots"][0]["name"], name)
        info = self.json("info", "-f", "qcow2", "--output=json", path)
        theirs = json.loads(self.qemu("qemu-img", "info", "--output=json", "-f", "qcow2", path))
        for key in ("backing-filename", "full-backing-filename"):
            self.assertEqual(info[key], theirs[key])
        for arguments in (["info", "-f", "qcow2", path], ["snapshot", "-l", snapshots], ["convert", "-f", "qcow2", path, self.path("out")],
                          ["map", "-f", "qcow2", path]):
            result = self.img(*arguments)
            self.assertNotRegex(result.output + result.errors, "[\x1b\t]")
            self.assertIn("e?[31mvil??x", result.output + result.errors)


if __name__ == "__main__":
    unittest.main()
