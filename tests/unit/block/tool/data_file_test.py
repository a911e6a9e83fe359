"""Images whose data are in another file: vmm-img makes them as qemu-img does, but destroys no file."""

import json
import os
import resource
import subprocess
import unittest

from tool import VMM_IMG, ToolTest

MIB = 1 << 20


class DataFile(ToolTest):
    def make(self, options, name="image", size="4M", *words):
        result = self.img("create", "-f", "qcow2", "--object", self.secret, *words, "-o", options, self.path(name), size)
        self.assertEqual(result.status, 0, result.errors)
        return self.path(name)

    def info(self, path):
        return json.loads(self.qemu("qemu-img", "info", "--output=json", path))

    def io(self, path, *commands):
        words = [word for command in commands for word in ("-c", command)]
        self.assertNotIn("failed", self.qemu("qemu-io", "-f", "qcow2", *words, path))

    def expect_same(self, image, raw, *more):
        result = self.img("compare", *more, "-f", "qcow2", "-F", "raw", image, raw)
        self.assertEqual((result.status, result.output), (0, "Images are identical.\n"), result.errors)

    def source(self):
        data = bytearray(4 * MIB)
        data[100_000:900_000] = os.urandom(800_000)
        data[3 * MIB:] = b"\x11" * MIB
        return self.write("source", bytes(data))

    def test_they_are_those_of_qemu_img(self):
        for number, options in enumerate(("", ",data_file_raw=on", ",preallocation=metadata", ",preallocation=falloc", ",cluster_size=4k",
                                          ",preallocation=full,data_file_raw=on", ",extended_l2=on,lazy_refcounts=on,data_file_raw=on")):
            with self.subTest(options=options):
                ours = self.make(f"data_file=our-data{number}{options}", f"ours{number}")
                theirs = self.create(f"theirs{number}", "-o", f"data_file=their-data{number}{options}", size="4M")
                expected, found = self.info(theirs), self.info(ours)
                expected["format-specific"]["data"]["data-file"] = f"our-data{number}"
                for key in ("virtual-size", "cluster-size", "format-specific"):
                    self.assertEqual(found[key], expected[key])
                data = [os.stat(self.path(f"{whose}-data{number}")) for whose in ("our", "their")]
                self.assertEqual(data[0].st_size, data[1].st_size)
                self.assertEqual(*[each.st_blocks * 512 >= 4 * MIB for each in data])  # qemu-img has one block in the others
                checks = [json.loads(self.qemu("qemu-img", "check", "--output=json", path)) for path in (ours, theirs)]
                self.assertEqual(checks[0].get("allocated-clusters"), checks[1].get("allocated-clusters"))
                self.io(ours, "read -P 0 0 4M", "write -P 1 100k 1M", "discard 512k 256k", "write -z 700k 64k")
                self.io(theirs, "write -P 1 100k 1M", "discard 512k 256k", "write -z 700k 64k")
                self.qemu("qemu-img", "check", "-q", ours)
                self.qemu("qemu-img", "compare", ours, theirs)

    def test_what_we_write_is_in_the_data_file(self):
        source = self.source()
        for raw in ("off", "on"):
            with self.subTest(raw=raw):
                path = self.make(f"data_file={self.path('data-' + raw)},data_file_raw={raw}", "image-" + raw)
                named = ["--data-file", self.path("data-" + raw)]
                result = self.img("convert", *named, "-n", "-f", "raw", "-O", "qcow2", source, path)
                self.assertEqual(result.status, 0, result.errors)
                self.qemu("qemu-img", "check", "-q", path)
                self.qemu("qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, source)
                self.expect_same(path, source, *named)
                if raw == "on":
                    self.qemu("qemu-img", "compare", "-f", "raw", "-F", "raw", self.path("data-on"), source)

    def test_encryption_is_of_the_data_file_too(self):
        source = self.source()
        key = "encrypt.format=luks,encrypt.iter-time=10,encrypt.key-secret=s"
        secret = ["--object", self.secret]
        ours = self.make(f"data_file=our-data,{key}", "ours")
        theirs = self.create("theirs", "-o", f"data_file=their-data,{key}", size="4M")
        for path in (ours, theirs):
            image = f"driver=qcow2,file.filename={path},encrypt.key-secret=s"
            named = ["--data-file", self.path("our-data" if path == ours else "their-data")]
            result = self.img("convert", *secret, *named, "-n", "-f", "raw", "-O", "qcow2", source, path)
            self.assertEqual(result.status, 0, result.errors)
            self.qemu("qemu-img", "check", "-q", *secret, "--image-opts", image)
            self.qemu("qemu-img", "compare", *secret, "--image-opts", image, f"driver=raw,file.filename={source}")
            self.qemu("qemu-io", *secret, "--image-opts", "-c", "write -P 9 50k 300k", image)
            self.qemu("qemu-io", "-f", "raw", "-c", "write -P 9 50k 300k", source)
            self.expect_same(path, source, *secret, *named)
        with open(self.path("our-data"), "rb") as file:
            self.assertNotIn(b"\x09" * 512, file.read())

    def test_a_file_that_is_there_is_not_destroyed(self):
        self.write("precious", b"x" * 1000)
        os.symlink("precious", self.path("link"))
        for name in ("precious", "link", self.path("precious")):
            result = self.img("create", "-f", "qcow2", "-o", f"data_file={name}", self.path("image"), "1M")
            self.assertEqual(result.status, 1)
            self.assertIn("would be emptied", result.errors)
        self.assertEqual(sorted(os.listdir(self.folder)), ["link", "passphrase", "precious"])
        self.assertEqual(os.path.getsize(self.path("precious")), 1000)

    def test_if_one_cannot_be_made_there_is_neither(self):
        self.write("image", b"old")
        # First there is no room for the data file, then none for the image.
        for size, limit in (("4M", 2 * MIB), ("16k", 20_000)):
            done = subprocess.run([VMM_IMG, "create", "-f", "qcow2", "-o", f"data_file={self.path('data')}", self.path("image"), size],
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)), restore_signals=False,
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
            self.assertEqual(sorted(os.listdir(self.folder)), ["image", "passphrase"])
            with open(self.path("image"), "rb") as file:
                self.assertEqual(file.read(), b"old")

    def test_a_relative_name_starts_at_the_image(self):
        os.mkdir(self.path("folder"))
        self.make("data_file=data", "folder/image")
        self.assertEqual(os.path.getsize(self.path("folder/data")), 4 * MIB)
        # For QEMU it starts where QEMU runs.
        self.expect_same("folder/image", self.write("zeroes", bytes(4 * MIB)), "--data-file", "folder/data")

    def test_a_relative_name_may_be_one_of_where_the_program_runs_as_for_qemu(self):
        os.mkdir(self.path("folder"))
        self.qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=data", "folder/image", "4M")
        self.expect_same("folder/image", self.write("zeroes", bytes(4 * MIB)), "--data-file", "data")

    def test_the_file_of_the_header_is_not_opened_unless_it_is_named(self):
        secret = self.write("secret", b"x" * MIB)
        image = self.make(f"data_file={self.path('data')}", "image", "1M")
        with open(image, "r+b") as file:  # the header is another's, and names any file of the host
            contents = bytearray(file.read())
            place = contents.index(self.path("data").encode())
            contents[place - 4:place] = len(secret).to_bytes(4, "big")
            contents[place:place + len(secret) + 16] = secret.encode() + bytes(16)
            file.seek(0)
            file.write(contents)
        overlay = self.create("overlay", "-u", "-b", image, "-F", "qcow2")
        raw = self.write("raw", b"y" * MIB)
        for words in (["compare", "-f", "qcow2", "-F", "raw", image, raw], ["convert", "-f", "qcow2", "-O", "raw", image, self.path("copy")],
                      ["convert", "-n", "-f", "raw", "-O", "qcow2", raw, image], ["map", "-f", "qcow2", image],
                      ["bench", "-f", "qcow2", "-w", "-c", "1", "-d", "1", image], ["resize", "-f", "qcow2", image, "2M"],
                      ["compare", "-f", "qcow2", "-F", "raw", overlay, raw],
                      ["create", "-f", "qcow2", "-b", image, "-F", "qcow2", self.path("new")]):
            for more in ([], ["--data-file", self.path("data")], ["--data-file", self.path("missing")]):
                with self.subTest(words=words, more=more):
                    result = self.img(words[0], *more, *words[1:])
                    self.assertEqual(result.status, 2 if words[0] == "compare" else 1)
                    self.assertEqual(result.errors.count("\n"), 1)
                    for each in (secret, "--data-file " + secret, *more[1:]):
                        self.assertIn(each, result.errors)
        self.assertEqual(self.json("info", "-f", "qcow2", "--output=json", image)["format-specific"]["data"]["data-file"], secret)
        with open(secret, "rb") as file:
            self.assertEqual(file.read(), b"x" * MIB)
        self.expect_same(image, self.write("zeroes", bytes(MIB)), "--data-file", secret)

    def test_a_base_may_have_one_too(self):
        base = self.make(f"data_file={self.path('data')}", "base", "1M")
        source = self.write("raw", b"y" * MIB)
        named = ["--data-file", self.path("data")]
        self.assertEqual(self.img("convert", *named, "-n", "-f", "raw", "-O", "qcow2", source, base).status, 0)
        result = self.img("create", *named, "-f", "qcow2", "-b", base, "-F", "qcow2", self.path("overlay"))
        self.assertEqual(result.status, 0, result.errors)
        self.expect_same(self.path("overlay"), source, *named)

    def test_an_overlay_may_have_one(self):
        base = self.write("base", b"\5" * MIB)
        path = self.make("data_file=data", "overlay", "4M", "-b", base, "-F", "raw")
        self.io(path, "read -P 5 0 1M", "read -P 0 1M 1M", "write -P 6 512k 1M", "read -P 5 0 512k")
        self.qemu("qemu-img", "check", "-q", path)

    def test_another_size_is_the_data_files_too(self):
        for mode in ("metadata", "falloc", "full"):
            for raw in ("off", "on"):
                with self.subTest(mode=mode, raw=raw):
                    path = self.make(f"data_file=data-{mode}-{raw},data_file_raw={raw}", f"image-{mode}-{raw}")
                    named = ["--data-file", self.path(f"data-{mode}-{raw}")]
                    result = self.img("resize", *named, "-f", "qcow2", f"--preallocation={mode}", path, "6M")
                    self.assertEqual(result.status, 0, result.errors)
                    data = os.stat(self.path(f"data-{mode}-{raw}"))
                    self.assertEqual(data.st_size, 6 * MIB)
                    self.assertEqual(data.st_blocks * 512 >= 2 * MIB, mode != "metadata")
                    self.qemu("qemu-img", "check", "-q", path)
                    self.io(path, "read -P 0 0 6M", "write -P 1 5M 1M")

    def test_what_cannot_be_is_refused_and_nothing_is_made(self):
        for words in (["-o", "data_file_raw=on"], ["-o", "data_file=d,data_file_raw=on", "-b", "base", "-F", "raw"],
                      ["-o", "data_file=d,compat=0.10"], ["-o", "data_file=image"], ["-o", "data_file=nbd://host/d"],
                      ["-o", "data_file=none/d"]):
            with self.subTest(words=words):
                self.write("base", bytes(MIB))
                self.assertEqual(self.img("create", "-f", "qcow2", *words, self.path("image"), "1M").status, 1)
                self.assertEqual(sorted(os.listdir(self.folder)), ["base", "passphrase"])
        result = self.img("convert", "-f", "raw", "-O", "qcow2", "-o", "data_file=d", self.path("base"), self.path("image"))
        self.assertIn("-n", result.errors)
        self.assertEqual(sorted(os.listdir(self.folder)), ["base", "passphrase"])


if __name__ == "__main__":
    unittest.main()
