"""vmm-img rebase: the disk reads as before on what it stands on now, whatever interrupts it."""

import json
import os
import random
import subprocess
import unittest

from tool import VMM_IMG, ToolTest

MIB = 1 << 20
SIZE = 4 * MIB


class Rebase(ToolTest):
    def io(self, path, *commands, program=("qemu-io", "-f", "qcow2")):
        words = [word for command in commands for word in ("-c", command)]
        self.assertNotIn("failed", self.qemu(*program, *words, path))

    def base(self, name, format="raw", size=SIZE, changed=()):
        """The same bytes whatever the name, but in clusters of 64 KiB that are changed."""
        data = bytearray(random.Random(1).randbytes(size))
        data[MIB:MIB + 200_000] = bytes(200_000)
        for cluster in changed:
            data[cluster << 16:(cluster + 1) << 16] = random.Random(name).randbytes(1 << 16)
        raw = self.write(name + ".data", bytes(data))
        self.qemu("qemu-img", "convert", "-f", "raw", "-O", format, raw, self.path(name))
        return self.path(name)

    def overlay(self, name, base, format, *options, size=SIZE):
        path = self.create(name, *options, *(["-b", base, "-F", format] if base else []), size=str(size))
        self.io(path, "write -P 1 4k 100k", "write -z 2M 300k", "write -P 2 3000k 512")
        return path

    def contents(self, path):
        raw = self.path("contents.raw")
        self.qemu("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw)
        with open(raw, "rb") as file:
            return file.read()

    def digest(self, path):
        with open(path, "rb") as file:
            return hash(file.read())

    def allocated(self, path):
        return self.json("check", "-f", "qcow2", "--output=json", path).get("allocated-clusters", 0)

    def rebase(self, path, *words):
        result = self.img("rebase", "-f", "qcow2", *words, path)
        self.assertEqual((result.status, result.output), (0, ""), result.errors)
        self.assertEqual(self.img("check", "-f", "qcow2", path).status, 0)
        if "-u" not in words:  # qemu-img opens the backing file too
            self.qemu("qemu-img", "check", "-q", path)
        info = json.loads(self.qemu("qemu-img", "info", "-U", "--output=json", path))
        return info.get("backing-filename"), info.get("backing-filename-format")

    def refusal(self, *words):
        result = self.img("rebase", *words)
        self.assertEqual((result.status, result.output), (1, ""))
        self.assertEqual(result.errors.count("\n"), 1)
        return result.errors

    def test_the_disk_reads_as_before(self):
        kinds = ("compat=0.10", "cluster_size=512", "cluster_size=64k", "cluster_size=2M", "extended_l2=on")
        # The new base is shorter, longer, of another format, none; so was the old one.
        pairs = ((("raw", SIZE), ("qcow2", SIZE)), (("raw", 2 * SIZE), ("raw", MIB)), (("qcow2", MIB + 512), ("raw", 2 * SIZE)),
                 (("qcow2", SIZE), None), (None, ("raw", 3 * MIB + 100)), (None, None))
        for options in kinds:
            for old, new in pairs:
                with self.subTest(options=options, old=old, new=new):
                    old_base = old and self.base("old", old[0], size=old[1])
                    new_base = new and self.base("new", new[0], size=new[1], changed=(1, 5, 15))
                    path = self.overlay("overlay", old_base, old and old[0], "-o", options)
                    before = self.contents(path)
                    name = self.rebase(path, "-b", "new" if new else "", *(["-F", new[0]] if new else []))
                    self.assertEqual(name, ("new", new[0]) if new else (None, None))
                    self.assertEqual(self.contents(path), before)
                    if old_base:
                        os.remove(old_base)
                        self.assertEqual(self.contents(path), before)

    def test_only_what_differs_is_written(self):
        old, new = self.base("old"), self.base("new", "qcow2", changed=(20, 21, 50))
        path = self.create("overlay", "-b", old, "-F", "raw", size=str(SIZE))
        self.rebase(path, "-b", new, "-F", "qcow2")
        self.assertEqual(self.allocated(path), 3)
        self.rebase(path, "-b", old, "-F", "raw")
        self.assertEqual(self.allocated(path), 3)
        same = self.base("same")
        self.rebase(path, "-b", same, "-F", "raw")
        self.assertEqual(self.allocated(path), 3)

    def test_onto_an_image_further_down_only_what_lies_between_is_written(self):
        base = self.base("base", "qcow2")
        middle = self.create("middle", "-b", base, "-F", "qcow2", size=str(SIZE))
        self.io(middle, "write -P 5 1M 128k", "write -P 6 3M 64k")
        path = self.overlay("overlay", middle, "qcow2")
        before = self.contents(path)
        own = self.allocated(path)
        self.assertEqual(self.rebase(path, "-b", "base", "-F", "qcow2"), ("base", "qcow2"))
        self.assertEqual(self.contents(path), before)
        self.assertEqual(self.allocated(path), own + 3)

    def test_zeroes_take_no_space(self):
        new = self.base("new")
        path = self.create("overlay", size=str(SIZE))
        length = os.path.getsize(path)
        self.rebase(path, "-b", new, "-F", "raw")
        self.assertEqual(self.contents(path), bytes(SIZE))
        self.assertLessEqual(os.path.getsize(path), length + (1 << 18))

    def test_an_image_without_a_backing_file_any_more_holds_all(self):
        path = self.overlay("overlay", self.base("old"), "raw")
        before = self.contents(path)
        self.assertEqual(self.rebase(path, "-p", "-q", "-t", "none", "-T", "none", "-b", ""), (None, None))
        self.assertEqual(self.contents(path), before)
        result = self.img("rebase", "-p", "-f", "qcow2", "-b", "", path)
        self.assertIn("(100.00/100%)", result.output)

    def test_unsafe_changes_the_name_only(self):
        path = self.overlay("overlay", self.base("old"), "raw")
        own = self.allocated(path)
        for name, format in (("nowhere/at all", "qcow2"), ("x" * 1023, "raw"), (self.path("old"), "raw"), ("old", "raw")):
            self.assertEqual(self.rebase(path, "-u", "-b", name, "-F", format), (name, format))
            self.assertEqual(self.allocated(path), own)
        before = self.contents(path)
        self.assertEqual(self.rebase(path, "-u", "-b", ""), (None, None))
        self.assertEqual(self.rebase(path, "-u", "-b", "old", "-F", "raw"), ("old", "raw"))
        self.assertEqual(self.contents(path), before)
        self.assertEqual(self.rebase(path, "-u"), (None, None))
        self.assertEqual(self.rebase(path, "-u", "-b", "json:" + json.dumps({"driver": "raw", "file": {"driver": "file", "filename": "old"}}),
                                     "-F", "raw")[1], "raw")
        self.assertEqual(self.contents(path), before)

    def test_relative_names_start_at_the_folder_of_the_image(self):
        os.mkdir(self.path("there"))
        self.base("there/old")
        self.base("there/new", changed=(3,))
        path = self.overlay("there/overlay", "old", "raw")
        before = self.contents(path)
        self.assertEqual(self.rebase(path, "-b", "new", "-F", "raw"), ("new", "raw"))
        self.assertEqual(self.contents(path), before)
        self.assertIn("no such file", self.refusal("-f", "qcow2", "-b", "there/old", "-F", "raw", path))

    def test_headers_as_others_make_them(self):
        """The old name lies where qemu-img has put it; ours, where qemu-img finds it and puts another."""
        for options in ("compat=0.10", "compat=1.1", "cluster_size=512", "refcount_bits=64,lazy_refcounts=on"):
            with self.subTest(options=options):
                old, new = self.base("old"), self.base("new", changed=(9,))
                path = self.overlay("overlay", old, "raw", "-o", options)
                before = self.contents(path)
                for turn in range(3):
                    self.rebase(path, "-b", new if turn % 2 == 0 else old, "-F", "raw")
                    self.assertEqual(self.contents(path), before)
                    self.qemu("qemu-img", "rebase", "-f", "qcow2", "-b", old if turn % 2 == 0 else new, "-F", "raw", path)
                    self.assertEqual(self.contents(path), before)

    def test_encrypted_images(self):
        encryption = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
        old, new = self.base("old"), self.base("new", changed=(8,))
        path = self.create("overlay", "-o", encryption, "-b", old, "-F", "raw", size=str(SIZE))
        self.assertIn("secret", self.refusal("-f", "qcow2", "-b", new, "-F", "raw", path))
        self.assertEqual(self.img("rebase", "-f", "qcow2", "--object", self.secret, "-b", new, "-F", "raw", path).status, 0)
        result = self.img("compare", "--object", self.secret, "-f", "raw", "-F", "qcow2", old, path)
        self.assertEqual((result.status, result.output), (0, "Images are identical.\n"))
        self.assertEqual(self.json("check", "-f", "qcow2", "--output=json", path)["allocated-clusters"], 1)

    def test_an_external_data_file(self):
        old, new, data = self.base("old"), self.base("new", changed=(7, 30)), self.path("data")
        path = self.overlay("overlay", old, "raw", "-o", f"data_file={data}")
        before = self.contents(path)
        self.assertIn("--data-file", self.refusal("-f", "qcow2", "-b", new, "-F", "raw", path))
        self.rebase(path, "--data-file", data, "-b", new, "-F", "raw")
        self.assertEqual(self.contents(path), before)
        raw = self.create("raw", "-o", f"data_file={self.path('raw_data')},data_file_raw=on")
        self.assertIn("data_file_raw", self.refusal("-f", "qcow2", "--data-file", self.path("raw_data"), "-b", new, "-F", "raw", raw))

    def test_dirty_bitmaps_stay_valid(self):
        old, new = self.base("old"), self.base("new", changed=(7,))
        path = self.overlay("overlay", old, "raw")
        self.qemu("qemu-img", "bitmap", "--add", path, "b0")
        self.rebase(path, "-b", new, "-F", "raw")
        info = json.loads(self.qemu("qemu-img", "info", "--output=json", path))
        self.assertEqual([(each["name"], each["flags"]) for each in info["format-specific"]["data"]["bitmaps"]], [("b0", ["auto"])])

    def test_what_cannot_be_is_refused_and_nothing_changes(self):
        old, new = self.base("old"), self.base("new", changed=(7,))
        path = self.overlay("overlay", old, "raw")
        above = self.create("above", "-b", path, "-F", "qcow2", size=str(SIZE))
        snapshots = self.overlay("snapshots", old, "raw")
        self.qemu("qemu-img", "snapshot", "-c", "s", snapshots)
        gone = self.create("gone", "-u", "-b", "nowhere", "-F", "raw")
        files = [old, new, path, above, snapshots, gone]
        before = [self.digest(file) for file in files]
        to_new = ["-b", new, "-F", "raw"]
        for words, text in (
                (["-f", "qcow2", path], "-b must name"), (["-f", "qcow2", "-b", new, path], "-F must tell"),
                (["-f", "qcow2", "-b", new, "-F", "iso", path], "say raw"), (["-f", "qcow2", "-b", new, "-F", "qed", path], "qed"),
                (["-f", "qcow2", "-b", "overlay", "-F", "qcow2", path], "stand on itself"),
                (["-f", "qcow2", "-u", "-b", "./overlay", "-F", "qcow2", path], "stand on itself"),
                (["-f", "qcow2", "-b", above, "-F", "qcow2", path], "stands on it"),
                (["-f", "qcow2", *to_new, snapshots], "internal snapshots"), (["-f", "qcow2", *to_new, gone], "-u changes the name"),
                (["-f", "qcow2", "-b", "nowhere", "-F", "raw", path], "nowhere"), (["-f", "raw", *to_new, old], "qcow2"),
                (["-f", "qcow2", "-b", new, "-F", "qcow2", path], "no qcow2 image"), (["-f", "qcow2", *to_new, old], "no qcow2 image"),
                (["-f", "qcow2", "-u", "-b", "nbd://host/", "-F", "raw", path], "protocol"),
                (["-f", "qcow2", "-u", "-b", "x" * 1024, "-F", "raw", path], "1023"),
                (["-f", "qcow2", "-T", "fast", *to_new, path], "cache mode"), ([*to_new, path], "-f")):
            with self.subTest(words=words):
                self.assertIn(text, self.refusal(*words))
        self.assertEqual([self.digest(file) for file in files], before)

    def test_images_in_use_are_left_alone(self):
        old, new = self.base("old"), self.base("new", "qcow2", changed=(7,))
        path = self.overlay("overlay", old, "raw")
        before = self.digest(path)
        for used, words in ((path, []), (path, ["-u"]), (new, [])):
            with self.subTest(used=used, words=words):
                user = self.popen("qemu-io", "-f", "qcow2", used)
                user.stdin.write(b"read 0 512\n")
                user.stdin.flush()
                user.stdout.readline()
                errors = self.refusal("-f", "qcow2", *words, "-b", new, "-F", "qcow2", path)
                self.assertIn("in use", errors)
                self.assertIn(str(user.pid), errors)
                user.stdin.write(b"quit\n")
                user.stdin.flush()
                user.wait()
        self.assertEqual(self.digest(path), before)

    def test_killed_at_any_moment_it_reads_as_before_and_is_done_again(self):
        size = 32 * MIB
        old, new = self.base("old", size=size), self.base("new", "qcow2", size=size, changed=range(0, size >> 16, 2))
        path = self.overlay("overlay", old, "raw", size=size)
        before = self.contents(path)
        killed = 0
        for step in range(60):
            child = subprocess.Popen([VMM_IMG, "rebase", "-f", "qcow2", "-b", new, "-F", "qcow2", path], stdin=subprocess.DEVNULL)
            try:
                child.wait(timeout=step * 0.002)
            except subprocess.TimeoutExpired:
                child.kill()
                killed += 1
            status = child.wait()
            # The kernel may keep the locks of one that was killed for an instant, for which qemu-img does not wait.
            self.json("info", "-f", "qcow2", "--backing-chain", "--output=json", path)
            if step % 4 == 0 or status == 0:
                self.assertEqual(self.contents(path), before, f"at step {step}")
                self.assertIn(self.img("check", "-f", "qcow2", path).status, (0, 3))
            if status == 0:
                break
        else:
            self.rebase(path, "-b", new, "-F", "qcow2")
        self.assertGreater(killed, 0)
        os.remove(old)
        self.assertEqual(self.contents(path), before)


if __name__ == "__main__":
    unittest.main()
