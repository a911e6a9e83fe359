"""Options that commands share: images by --image-opts, -U, -l, repeated -o, the holder of a lock."""

import json
import os
import struct
import unittest

from tool import ToolTest


class ImageOpts(ToolTest):
    def image(self, name="image", *options):
        path = self.create(name, *options, size="4M")
        self.qemu("qemu-io", "--object", self.secret, "--image-opts", "-c", "write -P 1 100k 200k", "-c", "write -z 1M 64k",
                  f"driver=qcow2,file.filename={path}" + (",encrypt.key-secret=s" if "encrypt" in str(options) else ""))
        return path

    def expect_refused(self, *arguments, told):
        result = self.img(*arguments)
        self.assertEqual((result.status, result.output), (2 if arguments[0] == "compare" else 1, ""), arguments)
        for word in told:
            self.assertIn(word, result.errors)
        self.assertEqual(result.errors.count("\n"), 1, result.errors)

    def test_an_image_by_its_options_is_the_image_by_its_name(self):
        path = self.image()
        raw = self.write("a,b", bytes(range(256)) * 4096)
        for format, file in (("qcow2", path), ("raw", raw)):
            options = f"driver={format},file.driver=file,file.filename={file.replace(',', ',,')}"
            for command in (["info"], ["info", "--output=json"], ["map", "--output=json"], ["check"], ["snapshot", "-l"], ["bench", "-c", "1", "-q"]):
                with self.subTest(command=command, format=format):
                    named, by_options = self.img(*command, "-f", format, file), self.img(*command, "--image-opts", options)
                    self.assertEqual((by_options.status, by_options.output, by_options.errors), (named.status, named.output, named.errors))
                    self.assertIn(named.status, (0, 63), named.errors)
            self.assertEqual(self.img("compare", "--image-opts", options, options).status, 0)
            self.assertEqual(self.img("convert", "--image-opts", "-O", "raw", options, self.path("copy")).status, 0)
            self.qemu("qemu-img", "compare", "-f", format, "-F", "raw", file, self.path("copy"))
        as_file = self.json("map", "--output=json", "--image-opts", f"driver=file,filename={path}")
        self.assertEqual(as_file, self.json("map", "--output=json", "-f", "raw", path))
        self.assertIn("recognised", self.img("info", "--image-opts", f"file.filename={path}").output)

    def test_an_image_is_changed_by_its_options(self):
        path = self.image()
        options = f"driver=qcow2,file.filename={path}"
        self.assertEqual(self.img("resize", "-q", "--image-opts", options, "8M").status, 0)
        self.assertEqual(self.img("snapshot", "-c", "one", "--image-opts", options).status, 0)
        self.assertEqual(self.img("check", "-r", "all", "--image-opts", options).status, 0)
        info = json.loads(self.qemu("qemu-img", "info", "--output=json", path))
        self.assertEqual((info["virtual-size"], [each["name"] for each in info["snapshots"]]), (8 << 20, ["one"]))
        for word in ("read-only", "force-share"):
            self.expect_refused("resize", "--image-opts", f"{options},{word}=on", "16M", told=[f"{word}=on"])
            self.expect_refused("snapshot", "-c", "two", "--image-opts", f"{options},{word}=on", told=[f"{word}=on"])
            self.expect_refused("check", "-r", "all", "--image-opts", f"{options},{word}=on", told=[f"{word}=on"])
            self.expect_refused("bench", "-w", "-c", "1", "--image-opts", f"{options},{word}=on", told=[f"{word}=on"])

    def test_what_is_not_known_is_refused_by_its_name(self):
        path = self.image()
        for more in ("offset=512", "backing.driver=qcow2", "file.locking=off", "l2-cache-size=1M", "file.filename.x=1"):
            self.expect_refused("map", "--image-opts", f"driver=qcow2,file.filename={path},{more}", told=[more.split("=", maxsplit=1)[0]])
        for text, told in ((f"driver=vmdk,file.filename={path}", ["vmdk"]), (f"driver=qcow2,file.driver=nbd,file.filename={path}", ["nbd"]),
                           ("driver=qcow2", ["file.filename"]), (f"file.filename={path}", ["driver="]), (path, ["name=value"]),
                           (f"driver=qcow2,file.filename={path},read-only=maybe", ["read-only=maybe"]),
                           (f"driver=qcow2,file.filename={path},cache.direct=on,cache.no-flush=on", ["cache.direct"])):
            self.expect_refused("map", "--image-opts", text, told=told)
        self.expect_refused("map", "-f", "qcow2", "--image-opts", f"driver=qcow2,file.filename={path}", told=["-f"])
        self.expect_refused("map", path, told=["-f", "never guessed"])
        self.expect_refused("compare", "-f", "raw", path, path, told=["-F"])
        self.expect_refused("map", "-f", "qcow2", self.path("missing"), told=["missing", "vmm-img create", "its name"])

    def test_the_secret_that_is_named_is_the_one_that_is_tried(self):
        encryption = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
        path = self.image("image", "-o", encryption)
        other = "secret,id=other,file=" + self.write("other", b"wrong")
        secrets = ["--object", self.secret, "--object", other]
        options = f"driver=qcow2,file.filename={path},encrypt.key-secret="
        self.assertEqual(self.img("map", "--output=json", *secrets, "--image-opts", options + "s").status, 0)
        self.assertEqual(self.img("map", "--output=json", *secrets, "-f", "qcow2", path).status, 0)
        for name in ("other", "absent"):
            self.assertEqual(self.img("map", "--output=json", *secrets, "--image-opts", options + name).status, 1)
        self.assertEqual(self.img("info", *secrets, "--image-opts", options + "s").status, 0)
        self.expect_refused("info", *secrets, "--image-opts", options + "absent", told=["absent"])
        self.assertEqual(self.img("info", *secrets, "--image-opts", options + "s,encrypt.format=luks").status, 0)
        self.expect_refused("info", *secrets, "--image-opts", options + "s,encrypt.format=aes", told=["encrypt.format=aes", "luks"])
        plain = self.image("plain")
        self.expect_refused("info", "--image-opts", f"driver=qcow2,file.filename={plain},encrypt.format=luks", told=["no encryption"])

        top = self.create("top", "-b", path, "-F", "qcow2", "-u", "-o", "encrypt.format=luks,encrypt.key-secret=other,encrypt.iter-time=10",
                          "--object", other)
        options = f"driver=qcow2,file.filename={top},encrypt.key-secret=other"
        self.assertEqual(self.img("convert", "-O", "raw", *secrets, "--image-opts", options, self.path("flat")).status, 1)
        result = self.img("convert", "-O", "raw", *secrets, "--image-opts", options + ",backing.encrypt.key-secret=s", self.path("flat"))
        self.assertEqual(result.status, 0, result.errors)
        self.qemu("qemu-io", "-f", "raw", "-c", "read -P 1 100k 200k", self.path("flat"))

    def test_a_data_file_by_its_option(self):
        data = self.path("data")
        path = self.image("image", "-o", f"data_file={data}")
        options = f"driver=qcow2,file.filename={path}"
        self.expect_refused("map", "--image-opts", options, told=["--data-file"])
        self.assertEqual(self.img("map", "--image-opts", f"{options},data-file.driver=file,data-file.filename={data}").status, 0)

    def test_who_holds_an_image_is_told_and_force_share_reads_it_all_the_same(self):
        base = self.image("base")
        top = self.create("top", "-b", base, "-F", "qcow2", size="4M")
        user = self.popen("qemu-io", "-f", "qcow2", top)
        user.stdout.read(1)  # its prompt: the image is open
        holder = f"(pid {user.pid}, qemu-io)"
        self.expect_refused("map", "-f", "qcow2", top, told=[top, holder, "stop it", "-U"])
        self.expect_refused("snapshot", "-c", "one", "-f", "qcow2", top, told=[top, holder, "stop it"])
        self.expect_refused("resize", "-f", "qcow2", top, "8M", told=[top, holder])
        self.expect_refused("convert", "-f", "qcow2", "-O", "qcow2", base, top, told=[top, holder])
        for command in (["info"], ["info", "--backing-chain"], ["map", "--output=json"], ["check"], ["snapshot", "-l"], ["bench", "-c", "1", "-q"]):
            for share, status in (([], 1), (["-U"], 0), (["--force-share"], 0)):
                with self.subTest(command=command, share=share):
                    result = self.img(*command, *share, "-f", "qcow2", top)
                    self.assertEqual(result.status, status, result.errors)
        self.assertEqual(self.img("info", "--image-opts", f"driver=qcow2,file.filename={top},force-share=on").status, 0)
        self.assertEqual(self.img("compare", "-U", "-f", "qcow2", "-F", "qcow2", top, top).status, 0)
        self.assertEqual(self.img("convert", "-U", "-f", "qcow2", "-O", "qcow2", top, self.path("copy")).status, 0)
        # No lock keeps these apart.
        for target in (top, base):
            for more in ([], ["-n"]):
                before = os.stat(target)
                result = self.img("convert", "-U", *more, "-f", "qcow2", "-O", "qcow2", top, target)
                self.assertEqual(result.status, 1)
                self.assertIn(target, result.errors)
                after = os.stat(target)
                self.assertEqual((after.st_ino, after.st_mtime_ns, after.st_size), (before.st_ino, before.st_mtime_ns, before.st_size))

    def test_force_share_reaches_what_an_image_stands_on(self):
        base = self.image("base")
        top = self.create("top", "-b", base, "-F", "qcow2", size="4M")
        self.popen("qemu-io", "-f", "qcow2", base).stdout.read(1)
        self.expect_refused("map", "-f", "qcow2", top, told=[base, "qemu-io"])
        self.assertEqual(self.img("map", "-U", "-f", "qcow2", top).status, 0)
        self.assertEqual(self.img("info", "-U", "--backing-chain", "-f", "qcow2", top).status, 0)

    def test_the_cache_mode_is_looked_at(self):
        path = self.image()
        for command in (["check", "-f", "qcow2", path], ["compare", "-f", "qcow2", "-F", "qcow2", path, path]):
            for cache in ("none", "writeback", "directsync", "unsafe"):
                self.assertEqual(self.img(command[0], "-T", cache, *command[1:]).status, 0, (command, cache))
            self.expect_refused(command[0], "-T", "often", *command[1:], told=["often"])

    def test_a_snapshot_is_converted(self):
        path = self.image()
        self.qemu("qemu-img", "snapshot", "-c", "first", path)
        self.qemu("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, self.path("then"))
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 9 0 2M", path)
        self.qemu("qemu-img", "snapshot", "-c", "second", path)
        self.qemu("qemu-img", "resize", "-q", "-f", "qcow2", path, "2G")
        for choice in ("first", "1", "snapshot.name=first", "snapshot.id=1", "snapshot.id=1,snapshot.name=first"):
            for format in ("raw", "qcow2"):
                result = self.img("convert", "-l", choice, "-f", "qcow2", "-O", format, path, self.path("copy"))
                self.assertEqual(result.status, 0, result.errors)
                self.assertEqual(self.qemu("qemu-img", "compare", "-f", "raw", "-F", format, self.path("then"), self.path("copy")),
                                 "Images are identical.\n")
        for choice in ("third", "snapshot.id=1,snapshot.name=second", "snapshot.number=1", ""):
            self.assertEqual(self.img("convert", "-l", choice, "-f", "qcow2", path, self.path("new")).status, 1, choice)
        self.assertEqual(self.img("convert", "-l", "1", "-f", "raw", self.path("then"), self.path("new")).status, 1)
        self.assertFalse(os.path.exists(self.path("new")))

    def test_a_snapshot_that_lies_is_refused_or_reads_as_nothing(self):
        path = self.image()
        self.qemu("qemu-img", "snapshot", "-c", "one", path)
        with open(path, "rb") as file:
            image = file.read()
        entry = struct.unpack(">Q", image[64:72])[0]
        data = next(at for at in range(0, len(image), 65536) if image[at:at + 4096] == b"\1" * 4096)

        def convert(at, value, form):
            with open(path, "wb") as file:
                file.write(image[:entry + at] + struct.pack(form, value) + image[entry + at + struct.calcsize(form):])
            return self.img("convert", "-l", "one", "-f", "qcow2", path, self.path("flat"))

        self.assertEqual(convert(0, struct.unpack(">Q", image[entry:entry + 8])[0], ">Q").status, 0)
        for at, value, form, told in ((48, 1 << 63, ">Q", "more than clusters"), (0, (len(image) + 131072) & ~65535, ">Q", "end of the file"),
                                      (0, 512, ">Q", "not valid"), (0, data, ">Q", "L1 entry"), (8, 1 << 31, ">I", "not valid")):
            with self.subTest(at=at, value=value):
                result = convert(at, value, form)
                self.assertEqual(result.status, 1, result.errors)
                self.assertIn(told, result.errors)
                self.assertIn(path, result.errors)
        self.assertEqual(convert(8, 0, ">I").status, 0)
        with open(self.path("flat"), "rb") as file:
            self.assertEqual(file.read(), bytes(4 << 20))

    def test_a_target_by_its_options(self):
        path = self.image()
        encryption = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
        target = self.create("target", "-o", encryption, size="4M")
        options = f"driver=qcow2,file.filename={target},encrypt.key-secret=s"
        result = self.img("convert", "-n", "--object", self.secret, "--target-image-opts", "-f", "qcow2", path, options)
        self.assertEqual(result.status, 0, result.errors)
        self.qemu("qemu-img", "compare", "--object", self.secret, "--image-opts", f"driver=qcow2,file.filename={path}", options)
        self.expect_refused("convert", "--object", self.secret, "--target-image-opts", "-f", "qcow2", path, options, told=["-n"])
        self.expect_refused("convert", "-n", "--object", self.secret, "--target-image-opts", "-O", "qcow2", "-f", "qcow2", path, options,
                            told=["-O"])
        self.expect_refused("convert", "-n", "--object", self.secret, "--target-image-opts", "-f", "qcow2", path, options + ",read-only=on",
                            told=["read-only=on"])

    def test_a_target_that_is_said_to_be_zero_gets_no_zeroes(self):
        path = self.image()
        for flags, pattern in (([], 0), (["--target-is-zero"], 7)):
            target = self.create("target", size="4M")
            self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 7 3M 64k", target)
            self.assertEqual(self.img("convert", "-n", *flags, "-f", "qcow2", "-O", "qcow2", path, target).status, 0)
            self.assertNotIn("failed", self.qemu("qemu-io", "-f", "qcow2", "-c", f"read -P {pattern} 3M 64k", "-c", "read -P 1 100k 200k", target))
        self.expect_refused("convert", "--target-is-zero", "-f", "qcow2", path, self.path("new"), told=["-n"])

    def test_of_an_option_that_comes_twice_the_last_one_counts(self):
        path = self.image()
        self.assertEqual(self.json("info", "-f", "raw", "--output", "human", "-f", "qcow2", "--output=json", path)["format"], "qcow2")
        self.assertEqual(self.img("info", "-f", "qcow2", path, path).status, 1)

    def test_words_of_o_may_come_one_by_one_and_name_the_backing_file(self):
        path = self.image()
        result = self.img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "-o", "compat=0.10", self.path("new"), "1M")
        self.assertEqual(result.status, 0, result.errors)
        info = json.loads(self.qemu("qemu-img", "info", "--output=json", self.path("new")))
        self.assertEqual((info["cluster-size"], info["format-specific"]["data"]["compat"]), (4096, "0.10"))
        top = self.create("top", "-b", path, "-F", "qcow2", size="4M")
        words = [f"backing_file={path}", "backing_fmt=qcow2"]
        self.assertEqual(self.img("convert", "-f", "qcow2", "-O", "qcow2", "-o", ",".join(words), top, self.path("copy")).status, 0)
        info = json.loads(self.qemu("qemu-img", "info", "--output=json", self.path("copy")))
        self.assertEqual(info["backing-filename"], path)
        self.expect_refused("convert", "-f", "qcow2", "-O", "qcow2", "-B", path, "-o", words[0], top, self.path("new"), told=["-B"])


if __name__ == "__main__":
    unittest.main()
