"""Images that vmm-img convert makes hold what the old ones held, as qemu-img compares and checks them."""

import glob
import json
import os
import random
import signal
import subprocess
import time
import unittest

from tool import VMM_IMG, ToolTest

MIB = 1 << 20


class Convert(ToolTest):
    def convert(self, *arguments):
        result = self.img("convert", *arguments)
        self.assertEqual(result.status, 0, result.errors)
        return result

    def expect_same(self, first, first_format, second, second_format):
        if second_format == "qcow2":
            self.qemu("qemu-img", "check", "-f", "qcow2", second)
        output = self.qemu("qemu-img", "compare", "-f", first_format, "-F", second_format, first, second)
        self.assertEqual(output, "Images are identical.\n")

    def info(self, path):
        return json.loads(self.qemu("qemu-img", "info", "-f", "qcow2", "--output=json", path))

    def map(self, path, format):
        return json.loads(self.qemu("qemu-img", "map", "-f", format, "--output=json", path))

    def leftovers(self):
        return glob.glob(self.path("*.part"))

    def mixed(self, name="mixed", size=5_000_000 // 512 * 512):
        """A raw file: text, noise, zeroes and holes of many lengths."""
        noise = random.Random(7)
        with open(self.path(name), "wb") as file:
            while file.tell() < size:
                length = noise.choice((512, 3072, 4096, 20_480, 65_536, 200_704))
                kind = noise.randrange(4)
                if kind == 0:
                    file.write(noise.randbytes(length))
                elif kind == 1:
                    file.write((b"The quick brown fox. " * (length // 21 + 1))[:length])
                elif kind == 2:
                    file.write(bytes(length))
                else:
                    file.seek(length, os.SEEK_CUR)
            file.truncate(size)
        return self.path(name)

    def chain(self):
        base = self.mixed("base.raw")
        self.create("middle", "-b", "base.raw", "-F", "raw", size="6M")
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 1 100k 200k", "-c", "write -z 1M 300k", self.path("middle"))
        self.create("top", "-b", "middle", "-F", "qcow2", size="7M")
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 2 150k 70k", "-c", "write -z 2M 64k", "-c", "write -P 3 6M 10k", self.path("top"))
        return base, self.path("middle"), self.path("top")

    def test_raw_becomes_qcow2_of_each_kind_and_raw_again(self):
        raw = self.mixed()
        for options in ("compat=0.10", "cluster_size=512", "cluster_size=2M", "refcount_bits=1", "refcount_bits=64",
                        "extended_l2=on", "preallocation=metadata", "preallocation=falloc", "preallocation=full",
                        "lazy_refcounts=on"):
            with self.subTest(options=options):
                self.convert("-f", "raw", "-O", "qcow2", "-o", options, raw, self.path("copy"))
                self.expect_same(raw, "raw", self.path("copy"), "qcow2")
                self.convert("-f", "qcow2", "-O", "raw", self.path("copy"), self.path("again"))
                self.expect_same(raw, "raw", self.path("again"), "raw")
        self.assertEqual(self.leftovers(), [])

    def test_a_chain_becomes_one_image(self):
        _, _, top = self.chain()
        for options in ([], ["-W"], ["-m", "1"], ["-m", "16", "-t", "none", "-T", "none"], ["-t", "writethrough"], ["-S", "0"], ["-S", "64k"]):
            for format in ("raw", "qcow2"):
                with self.subTest(options=options, format=format):
                    self.convert("-f", "qcow2", "-O", format, *options, top, self.path("copy"))
                    self.expect_same(top, "qcow2", self.path("copy"), format)

    def test_compressed(self):
        raw = self.mixed()
        for options in ("compression_type=zlib", "compression_type=zstd", "compat=0.10", "cluster_size=512", "cluster_size=2M",
                        "refcount_bits=1", "refcount_bits=2", "refcount_bits=64", "extended_l2=on", "cluster_size=4k"):
            with self.subTest(options=options):
                self.convert("-c", "-f", "raw", "-O", "qcow2", "-o", options, raw, self.path("ours"))
                self.expect_same(raw, "raw", self.path("ours"), "qcow2")
                self.qemu("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, raw, self.path("theirs"))
                check = json.loads(self.qemu("qemu-img", "check", "-f", "qcow2", "--output=json", self.path("ours")))
                if options != "cluster_size=512":
                    self.assertGreater(check["compressed-clusters"], 10 if options != "cluster_size=2M" else 0)
                self.assertLessEqual(os.path.getsize(self.path("ours")), 1.03 * os.path.getsize(self.path("theirs")) + 65536)
                self.convert("-f", "qcow2", "-O", "raw", self.path("theirs"), self.path("again"))
                self.expect_same(raw, "raw", self.path("again"), "raw")

    def test_compressed_in_an_image_that_has_contents(self):
        raw, other = self.mixed(), self.mixed("other", size=4_000_256)
        for options in ("", "-o compat=0.10", "-o cluster_size=4k", "-o refcount_bits=1"):
            with self.subTest(options=options):
                target = self.create("target", *options.split(), size="5M")
                for first, second in ((["-c"], ["-c"]), (["-c"], []), ([], ["-c"])):
                    self.convert(*first, "-n", "-f", "raw", "-O", "qcow2", raw, target)
                    self.qemu("qemu-img", "check", "-f", "qcow2", target)
                    self.convert(*second, "-n", "-f", "raw", "-O", "qcow2", other, target)
                    self.qemu("qemu-img", "check", "-f", "qcow2", target)
                    self.convert("-f", "qcow2", "-O", "raw", target, self.path("flat"))
                    with open(self.path("flat"), "rb") as ours, open(other, "rb") as wanted, open(raw, "rb") as before:
                        start = wanted.read()
                        before.seek(len(start))
                        self.assertEqual(ours.read(5_000_000 // 512 * 512), start + before.read())

    def test_compressed_with_snapshots_in_the_target(self):
        raw = self.mixed()
        target = self.create("target", size="5M")
        self.convert("-c", "-n", "-f", "raw", "-O", "qcow2", raw, target)
        self.qemu("qemu-img", "snapshot", "-c", "before", target)
        other = self.mixed("other", size=3_000_320)
        self.convert("-c", "-n", "-f", "raw", "-O", "qcow2", other, target)
        self.qemu("qemu-img", "check", "-f", "qcow2", target)
        self.qemu("qemu-img", "snapshot", "-a", "before", target)
        self.qemu("qemu-img", "check", "-f", "qcow2", target)
        self.qemu("qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, target)

    def test_what_is_not_there_is_not_stored(self):
        _, _, top = self.chain()
        self.convert("-f", "qcow2", "-O", "raw", top, self.path("ours"))
        self.qemu("qemu-img", "convert", "-f", "qcow2", "-O", "raw", top, self.path("theirs"))
        for kind in ("ours", "theirs"):
            os.sync()
        self.assertLessEqual(os.stat(self.path("ours")).st_blocks, os.stat(self.path("theirs")).st_blocks * 1.05)
        self.convert("-f", "qcow2", "-O", "qcow2", top, self.path("ours"))
        self.qemu("qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", top, self.path("theirs"))
        self.assertLessEqual(os.path.getsize(self.path("ours")), os.path.getsize(self.path("theirs")) * 1.05)
        empty = self.create("empty", size="1T")
        self.convert("-f", "qcow2", "-O", "raw", empty, self.path("large"))
        self.assertEqual((os.path.getsize(self.path("large")), os.stat(self.path("large")).st_blocks), (1 << 40, 0))

    def test_everything_is_stored_where_that_is_wanted(self):
        raw = self.mixed()
        self.convert("-S", "0", "-f", "raw", "-O", "raw", raw, self.path("copy"))
        self.assertGreaterEqual(os.stat(self.path("copy")).st_blocks * 512, os.path.getsize(raw))
        for kind in ("falloc", "full"):
            self.convert("-o", f"preallocation={kind}", "-f", "raw", "-O", "raw", raw, self.path("copy"))
            self.expect_same(raw, "raw", self.path("copy"), "raw")
            self.assertGreaterEqual(os.stat(self.path("copy")).st_blocks * 512, os.path.getsize(raw))

    def test_an_overlay_stays_one(self):
        _, middle, top = self.chain()
        for options in ([], ["-c"], ["-o", "cluster_size=4k"], ["-o", "compat=0.10"]):
            with self.subTest(options=options):
                self.convert("-f", "qcow2", "-O", "qcow2", "-B", "middle", "-F", "qcow2", *options, top, self.path("copy"))
                self.expect_same(top, "qcow2", self.path("copy"), "qcow2")
                self.assertEqual(self.info(self.path("copy"))["backing-filename"], "middle")
                own = sum(entry["length"] for entry in self.map(self.path("copy"), "qcow2") if entry["depth"] == 0 and entry["present"])
                self.assertLessEqual(own, 320 << 10)
        before = os.stat(middle).st_mtime_ns
        self.assertEqual(self.img("convert", "-f", "qcow2", "-O", "qcow2", "-B", "middle", "-F", "qcow2", top, middle).status, 1)
        self.assertEqual(os.stat(middle).st_mtime_ns, before)

    def test_several_images_become_one(self):
        parts = [self.write(f"part{i}", bytes([i + 1]) * length) for i, length in enumerate((1000, 70_000, 512, 3_000_000))]
        for options in ([], ["-c"]):
            self.convert("-f", "raw", "-O", "qcow2", *options, *parts, self.path("ours"))
            self.qemu("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *parts, self.path("theirs"))
            self.expect_same(self.path("theirs"), "qcow2", self.path("ours"), "qcow2")

    def test_a_target_that_is_there_is_filled_as_it_is(self):
        raw = self.mixed()
        for format in ("raw", "qcow2"):
            target = self.create("target", format=format, size="5M")
            self.qemu("qemu-io", "-f", format, "-c", "write -P 99 0 5M", target)
            inode = os.stat(target).st_ino
            self.convert("-n", "-f", "raw", "-O", format, raw, target)
            self.assertEqual(os.stat(target).st_ino, inode)
            self.qemu("qemu-io", "-f", format, "-c", f"read -P 99 {os.path.getsize(raw)} 4k", target)
            self.qemu("qemu-img", "convert", "-f", format, "-O", "raw", target, self.path("flat"))
            os.truncate(self.path("flat"), os.path.getsize(raw))
            self.expect_same(raw, "raw", self.path("flat"), "raw")
        small = self.create("small", size="1M")
        self.assertIn("fewer than", self.img("convert", "-n", "-f", "raw", "-O", "qcow2", raw, small).errors)
        self.assertEqual(self.img("convert", "-n", "-f", "raw", "-O", "qcow2", raw, self.path("missing")).status, 1)

    def test_an_encrypted_copy(self):
        raw = self.mixed()
        encryption = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
        self.convert("--object", self.secret, "-f", "raw", "-O", "qcow2", "-o", encryption, raw, self.path("copy"))
        self.convert("--object", self.secret, "-f", "qcow2", "-O", "raw", self.path("copy"), self.path("again"))
        self.expect_same(raw, "raw", self.path("again"), "raw")
        self.qemu("qemu-img", "convert", "--object", self.secret, "--image-opts", "-O", "raw",
                  f"driver=qcow2,encrypt.key-secret=s,file.filename={self.path('copy')}", self.path("theirs"))
        self.expect_same(raw, "raw", self.path("theirs"), "raw")
        result = self.img("convert", "-c", "--object", self.secret, "-f", "raw", "-O", "qcow2", "-o", encryption, raw, self.path("new"))
        self.assertEqual(result.status, 1)
        self.assertIn("-c", result.errors)
        self.assertFalse(os.path.exists(self.path("new")))

    def test_no_image_is_converted_onto_what_it_is_read_from(self):
        base, middle, top = self.chain()
        os.symlink("top", self.path("link"))
        for target in (base, middle, top, self.path("link")):
            for more in ([], ["-n"]):
                with self.subTest(target=target, more=more):
                    before = os.stat(target).st_mtime_ns, os.path.getsize(target)
                    result = self.img("convert", *more, "-f", "qcow2", "-O", "qcow2", top, target)
                    self.assertEqual(result.status, 1)
                    self.assertIn(os.path.basename(target), result.errors)
                    self.assertEqual((os.stat(target).st_mtime_ns, os.path.getsize(target)), before)
        self.assertEqual(self.leftovers(), [])

    def test_an_image_in_use_is_not_replaced(self):
        raw, target = self.mixed(), self.create("target")
        inode = os.stat(target).st_ino
        user = self.popen("qemu-io", "-f", "qcow2", target)
        user.stdout.read(1)  # its prompt: the image is open
        self.assertEqual(self.img("convert", "-f", "raw", "-O", "qcow2", raw, target).status, 1)
        self.assertEqual(os.stat(target).st_ino, inode)

    def test_what_fails_leaves_what_was_there(self):
        raw, target = self.mixed(), self.write("target", b"precious")
        broken = self.create("broken")
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 1M", broken)
        with open(broken, "r+b") as file:
            file.seek(4 * 65536)
            file.write(b"\xff" * 8)
        for arguments in (["-f", "raw", "-O", "qcow2", "-o", "cluster_size=3", raw], ["-f", "raw", "-o", "nonsense=1", raw],
                          ["-f", "raw", "-O", "vmdk", raw], ["-f", "raw", "-c", raw], ["-f", "raw", "-S", "100", raw],
                          ["-f", "raw", "-t", "often", raw], ["-f", "raw", "-m", "17", raw], ["-f", "raw", "-B", raw, "-F", "raw", raw],
                          ["-f", "raw", "-O", "qcow2", "-B", raw, raw], ["-f", "qcow2", "-O", "raw", broken],
                          ["-f", "raw", self.path("missing")], [raw], ["-f", "raw"]):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.img("convert", *arguments, target).status, 1)
                with open(target, "rb") as file:
                    self.assertEqual(file.read(), b"precious")
        self.assertEqual(self.leftovers(), [])

    def test_a_full_disk_leaves_nothing(self):
        raw = self.write("raw", random.Random(1).randbytes(3 << 20))
        for format in ("raw", "qcow2"):
            for more in ([], ["-c"] if format == "qcow2" else ["-S", "0"]):
                result = self._run("bash", "-c", 'ulimit -f 2048; trap "" XFSZ; exec "$@"', "-", VMM_IMG, "convert", *more,
                                   "-f", "raw", "-O", format, raw, self.path("copy"))
                self.assertEqual(result.status, 1, (format, more))
                self.assertIn("copy", result.errors)
                self.assertFalse(os.path.exists(self.path("copy")))
                self.assertEqual(self.leftovers(), [])

    def test_a_killed_conversion_leaves_no_image_of_that_name(self):
        raw = self.write("raw", random.Random(1).randbytes(1 << 20) * 64)
        target = self.write("target", b"precious")
        killed = 0
        for delay in range(40):
            child = subprocess.Popen([VMM_IMG, "convert", "-c", "-f", "raw", "-O", "qcow2", raw, target], cwd=self.folder)
            deadline = time.monotonic() + 20
            while not self.leftovers() and child.poll() is None and time.monotonic() < deadline:
                pass
            for _ in range(delay * 2000):
                pass
            child.send_signal(signal.SIGKILL)
            if child.wait() != -signal.SIGKILL:
                self.expect_same(raw, "raw", target, "qcow2")
                break
            killed += 1
            with open(target, "rb") as file:
                self.assertEqual(file.read(), b"precious")
            for path in self.leftovers():
                os.unlink(path)
        self.assertGreater(killed, 0)

    def test_progress_is_shown_as_by_qemu_img(self):
        raw = self.mixed()
        shown = self.convert("-p", "-f", "raw", "-O", "qcow2", raw, self.path("copy")).output
        self.assertRegex(shown, r"\A    \(0\.00/100%\)\n(    \(\d+\.\d\d/100%\)\n)*    \(100\.00/100%\)\n\Z")
        self.assertEqual(self.convert("-p", "-q", "-f", "raw", "-O", "qcow2", raw, self.path("copy")).output, "")

    def test_permissions_are_those_of_new_files_or_of_what_was_there(self):
        raw, target = self.mixed(), self.path("target")
        result = self._run("bash", "-c", 'umask 027; exec "$@"', "-", VMM_IMG, "convert", "-f", "raw", "-O", "raw", raw, target)
        self.assertEqual(result.status, 0, result.errors)
        self.assertEqual(os.stat(target).st_mode & 0o777, 0o640)
        os.chmod(target, 0o604)
        self.convert("-f", "raw", "-O", "raw", raw, target)
        self.assertEqual(os.stat(target).st_mode & 0o777, 0o604)


    def test_who_stops_reading_the_progress_does_not_stop_the_work(self):
        source = self.create("source.raw", format="raw", size="20M")
        child = self.popen(VMM_IMG, "convert", "-p", "-f", "raw", "-O", "qcow2", "-S", "0", source, self.path("target.qcow2"))
        child.stdout.close()
        self.assertEqual(child.wait(timeout=30), 0)
        self.qemu("qemu-img", "compare", "-f", "raw", "-F", "qcow2", source, self.path("target.qcow2"))

    def test_unflushed_images_are_whole_too(self):
        source = self.write("source.raw", bytes(range(256)) * 4096)
        for options in (["-t", "unsafe"], ["-t", "unsafe", "-c"], ["-t", "none"]):
            target = self.path("target.qcow2")
            self.assertEqual(self.img("convert", *options, "-O", "qcow2", source, target).status, 0)
            self.qemu("qemu-img", "compare", "-f", "raw", "-F", "qcow2", source, target)
            self.qemu("qemu-img", "check", "-q", target)
        self.assertEqual([name for name in os.listdir(self.folder) if name.endswith(".part")], [])

    def test_a_new_image_is_written_past_the_page_cache_where_nothing_else_is_said(self):
        data = os.urandom(8 * MIB)
        source = self.write("source", data)
        for format, options, is_cached in (("raw", [], False), ("qcow2", [], False), ("raw", ["-t", "writeback"], True),
                                           ("qcow2", ["-t", "unsafe"], True), ("qcow2", ["-c"], True), ("raw", ["-S", "512"], True)):
            with self.subTest(format=format, options=options):
                self.convert("-f", "raw", "-O", format, *options, source, self.path("new"))
                done = subprocess.run(["fincore", "--bytes", "--noheadings", "--output", "RES", self.path("new")], stdout=subprocess.PIPE, check=True)
                self.assertEqual(int(done.stdout) > 4 * MIB, is_cached, done.stdout)
                self.assertEqual(self.img("compare", "-f", "raw", "-F", format, source, self.path("new")).status, 0)

    def test_a_limit_of_file_sizes_is_an_error(self):
        source = self.write("source", os.urandom(8 * MIB))
        for format, blocks, status in (("qcow2", 9000, 0), ("qcow2", 7000, 1), ("raw", 8192, 0), ("raw", 7000, 1)):
            with self.subTest(format=format, blocks=blocks):
                target = self.path(f"new-{format}-{blocks}")
                done = subprocess.run(["bash", "-c", f'ulimit -f {blocks}; exec "$@"', "bash", VMM_IMG, "convert", "-f", "raw", "-O", format, source, target],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100, check=False)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertEqual(os.path.exists(target), status == 0)
                self.assertEqual([name for name in os.listdir(self.folder) if name.endswith(".part")], [])

    def test_a_link_to_what_is_not_there_yet_is_followed(self):
        source = self.write("source.raw", bytes(1 << 20))
        os.mkdir(self.path("folder"))
        os.symlink("folder/real.qcow2", self.path("link.qcow2"))
        for arguments in (["convert", "-O", "qcow2", source, self.path("link.qcow2")], ["create", "-f", "qcow2", self.path("link.qcow2"), "1.5M"]):
            self.assertEqual(self.img(*arguments).status, 0)
            self.assertTrue(os.path.islink(self.path("link.qcow2")))
            self.qemu("qemu-img", "check", "-q", "-f", "qcow2", self.path("folder/real.qcow2"))
            os.remove(self.path("folder/real.qcow2"))
        os.symlink("loop", self.path("loop"))
        self.assertEqual(self.img("create", "-f", "qcow2", self.path("loop"), "1M").status, 1)


if __name__ == "__main__":
    unittest.main()
