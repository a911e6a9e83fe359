"""vmm-img map tells what qemu-img map tells, in its words."""

import json
import os
import re
import unittest

from tool import ToolTest


class Map(ToolTest):
    def expect_like_qemu(self, path, format, *options, named=()):
        theirs = self._run("qemu-img", "map", "-f", format, "--output=json", *options, path)
        ours = self.img("map", *named, "-f", format, "--output=json", *options, path)
        self.assertEqual((ours.status, ours.output), (theirs.status, theirs.output), ours.errors)
        theirs = self._run("qemu-img", "map", "-f", format, *options, path)
        ours = self.img("map", *named, "-f", format, *options, path)
        self.assertEqual((ours.status, ours.output), (theirs.status, theirs.output), ours.errors)
        return ours

    def io(self, path, *commands, format="qcow2"):
        self.qemu("qemu-io", "-f", format, *(word for command in commands for word in ("-c", command)), path)

    def test_data_zeroes_and_nothing_through_a_chain(self):
        base = self.create("base.raw", format="raw", size="700k")
        self.io(base, "write -P 1 0 64k", "write -P 1 300k 4k", format="raw")
        middle = self.create("middle", "-b", "base.raw", "-F", "raw", size="1M")
        self.io(middle, "write -P 2 64k 100k", "write -z 192k 64k", "write -P 3 640k 64k", "write -z 640k 64k")
        top = self.create("top", "-b", middle, "-F", "qcow2", size="3M")
        self.io(top, "write -P 4 128k 64k", "write -z 0 64k", "write -P 5 2M 300k")
        for path in (middle, top):
            self.expect_like_qemu(path, "qcow2")
            self.expect_like_qemu(path, "qcow2", "--start-offset", "100k", "--max-length", "1M")
        self.expect_like_qemu(base, "raw")
        self.expect_like_qemu(top, "qcow2", "--start-offset", "4M")

    def test_each_kind_of_image(self):
        for options in (["-o", "cluster_size=512"], ["-o", "cluster_size=2M"], ["-o", "extended_l2=on"], ["-o", "compat=0.10"],
                        ["-o", "preallocation=metadata"], ["-o", f"data_file={self.path('data')}"],
                        ["-o", "extended_l2=on,cluster_size=128k,preallocation=metadata"]):
            with self.subTest(options=options):
                path = self.create("image", *options, size="4M")
                self.io(path, "write -P 1 4k 4k", "write -P 2 1M 100k", "write -z 1088k 8k", "write -z 2M 1M", "discard 3M 1M")
                self.expect_like_qemu(path, "qcow2", named=["--data-file", self.path("data")] if "data_file" in options[1] else ())

    def test_holes_of_a_raw_file(self):
        path = self.write("raw", b"")
        os.truncate(path, 10 << 20)
        self.expect_like_qemu(path, "raw")
        for offset in (0, 4096, 1 << 20, (10 << 20) - 512):
            self.io(path, f"write -P 1 {offset} 512", format="raw")
        self.expect_like_qemu(path, "raw")
        self.expect_like_qemu(path, "raw", "--start-offset", "512k", "--max-length", "600k")

    def test_compressed_clusters_have_no_place(self):
        path = self.create("image")
        self.io(path, "write -P 1 0 64k", "write -c -P 2 64k 64k", "write -c -P 3 128k 64k")
        self.assertEqual(self.expect_like_qemu(path, "qcow2").status, 1)

    def test_encrypted_clusters_have_no_place(self):
        path = self.create("image", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10")
        self.qemu("qemu-io", "--object", self.secret, "--image-opts", "-c", "write -P 1 64k 64k",
                  f"driver=qcow2,encrypt.key-secret=s,file.filename={path}")
        ours = self.json("map", "-f", "qcow2", "--object", self.secret, "--output=json", path)
        theirs = self.qemu("qemu-img", "map", "--object", self.secret, "--output=json", "--image-opts",
                           f"driver=qcow2,encrypt.key-secret=s,file.filename={path}")
        self.assertEqual(ours, json.loads(theirs))

    def test_an_empty_disk_and_nothing_to_show(self):
        self.expect_like_qemu(self.create("image"), "qcow2", "--max-length", "0")
        self.expect_like_qemu(self.create("empty", size="0"), "qcow2")

    def test_a_drawing_shows_what_lies_where(self):
        self.create("base.raw", format="raw", size="4M")
        self.io(self.path("base.raw"), "write -P 1 1M 64k", "write -P 1 3M 4k", format="raw")
        top = self.create("top", "-b", "base.raw", "-F", "raw", size="4M")
        self.io(top, "write -P 2 0 128k", "write -z 2M 64k", "write -c -P 3 192k 64k")
        lines = self.img("map", "-f", "qcow2", "--draw", top).output.splitlines()
        self.assertEqual(lines[0], "Each character is 4 KiB of the disk, from 0 B to 4 MiB.")
        rows = [re.fullmatch(r" *(\S+ \S+)  (\S+)", line).groups() for line in lines[1:-2]]
        self.assertEqual([row[0] for row in rows][:3], ["0 B", "256 KiB", "512 KiB"])
        cells = "".join(row[1] for row in rows)
        self.assertEqual(len(cells), 1024)
        # The holes of a raw file are zeroes that are there.
        at = {"0": "#", "31": "#", "32": "-", "48": "c", "63": "c", "64": "-", "256": "1", "271": "1", "272": "-", "512": "-", "768": "1",
              "769": "-"}
        self.assertEqual({place: cells[int(place)] for place in at}, at)

        large = self.create("large", size="1T")
        self.io(large, "write -P 1 512G 64k", "write -P 1 1023G 1G")
        lines = self.img("map", "-f", "qcow2", "--draw", large).output.splitlines()
        self.assertEqual(lines[0], "Each character is 1 GiB of the disk, from 0 B to 1 TiB.")
        cells = "".join(line.split()[-1] for line in lines[1:-2])
        self.assertEqual((len(cells), [i for i, cell in enumerate(cells) if cell == "#"]), (1024, [512, 1023]))
        lines = self.img("map", "-f", "qcow2", "--draw", "-s", "512G", "-l", "8k", large).output.splitlines()
        self.assertEqual(lines[1].split(), ["512", "GiB", "##"])
        self.io(large, "write -z 1G 1G")
        cells = self.img("map", "-f", "qcow2", "--draw", large).output.splitlines()[1].split()[-1]
        self.assertEqual(cells[:4], ".-..")
        self.assertEqual(self.img("map", "-f", "qcow2", "--draw", self.create("nothing", size="0")).status, 0)
        self.assertEqual(self.img("map", "-f", "qcow2", "--draw", "--output=json", large).status, 1)

    def test_errors_are_told(self):
        path = self.create("image")
        for arguments in ([path], ["-f", "vmdk", path], ["-f", "qcow2", self.path("missing")],
                          ["-f", "qcow2", "--start-offset", "x", path], ["-f", "qcow2", "--output=xml", path]):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.img("map", *arguments).status, 1)


if __name__ == "__main__":
    unittest.main()
