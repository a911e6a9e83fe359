"""vmm-img convert: standard input and output, the kernel's copies, free space, progress, signals."""

import fcntl
import glob
import json
import os
import pty
import random
import re
import signal
import subprocess
import time
import unittest

from tool import VMM_IMG, ToolTest


class Stream(ToolTest):
    def source(self, name="source", size=5_000_192):
        """Noise, holes, and zeroes that are stored."""
        noise = random.Random(3)
        with open(self.path(name), "wb") as file:
            while file.tell() < size:
                kind, length = noise.randrange(3), noise.choice((4096, 12_288, 65_536, 300_000))
                if kind == 0:
                    file.seek(length, os.SEEK_CUR)
                else:
                    file.write(noise.randbytes(length) if kind == 1 else bytes(length))
            file.truncate(size)
        return self.path(name)

    def read(self, path):
        with open(path, "rb") as file:
            return file.read()

    def pipe(self, *arguments, given=b"", status=0):
        """Standard input and output are pipes."""
        done = subprocess.run([VMM_IMG, *arguments], cwd=self.folder, input=given, capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout if status == 0 else done.stderr.decode()

    def leftovers(self):
        return glob.glob(self.path("*.part"))

    def slow(self, *options):
        """A conversion that takes a few seconds, of which a quarter is over and told; it is killed with the test."""
        source = self.write("noise", random.Random(1).randbytes(1 << 20) * 8)
        child = subprocess.Popen([VMM_IMG, "convert", "-r", "1M", *options, "-f", "raw", "-O", "qcow2", source, self.path("target")],
                                 cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        deadline = time.monotonic() + 30
        while not any(os.path.getsize(path) > 3 << 20 for path in self.leftovers()) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual(len(self.leftovers()), 1)
        return child

    # --- Standard input and output ---

    def test_a_raw_image_goes_to_a_pipe_and_comes_from_one(self):
        source = self.source()
        bytes_of_it = self.read(source)
        for options in ([], ["-m", "1"], ["-m", "16"], ["-S", "0"]):
            self.assertEqual(self.pipe("convert", *options, "-f", "raw", source, "-"), bytes_of_it)
        self.assertEqual(self.pipe("convert", "-f", "raw", "-O", "qcow2", "-", self.path("image"), given=bytes_of_it), b"")
        self.qemu("qemu-img", "compare", "-f", "raw", "-F", "qcow2", source, self.path("image"))
        self.assertEqual(self.pipe("convert", "-f", "qcow2", self.path("image"), "-"), bytes_of_it)
        self.assertEqual(self.pipe("convert", "-f", "raw", "-", self.path("copy"), given=bytes_of_it), b"")
        self.assertEqual(self.read(self.path("copy")), bytes_of_it)
        self.assertLessEqual(os.stat(self.path("copy")).st_blocks, os.stat(source).st_blocks + 64)
        self.assertEqual(self.pipe("convert", "-f", "raw", "-", "-", given=bytes_of_it), bytes_of_it)
        self.assertEqual(self.leftovers(), [])

    def test_streams_of_odd_lengths_end_with_a_whole_sector(self):
        for length in (0, 1, 511, 512, 513, (1 << 20) + 7):
            given = random.Random(length).randbytes(length)
            self.pipe("convert", "-f", "raw", "-", self.path("copy"), given=given)
            self.assertEqual(self.read(self.path("copy")), given + bytes(-length % 512))
            self.pipe("convert", "-f", "raw", "-O", "qcow2", "-", self.path("image"), given=given)
            self.assertEqual(self.pipe("convert", "-f", "qcow2", self.path("image"), "-"), given + bytes(-length % 512))

    def test_what_becomes_a_file_has_holes(self):
        image = self.create("image", size="1G")
        self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 1 100M 64k", image)
        with open(self.path("file"), "wb") as file:
            subprocess.run([VMM_IMG, "convert", "-f", "qcow2", image, "-"], stdout=file, check=True)
        self.assertEqual(os.path.getsize(self.path("file")), 1 << 30)
        self.assertLess(os.stat(self.path("file")).st_blocks * 512, 1 << 20)
        self.qemu("qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, self.path("file"))

        small = self.create("small", size="64k")
        for flags in (os.O_APPEND, 0):
            before = self.write("before", b"x" * 1000 + b"y" * (1 << 20))
            descriptor = os.open(before, os.O_WRONLY | flags)
            try:
                os.lseek(descriptor, 1000, os.SEEK_SET)
                subprocess.run([VMM_IMG, "convert", "-f", "qcow2", small, "-"], stdout=descriptor, check=True)
            finally:
                os.close(descriptor)
            y = b"y" * (1 << 20)
            wanted = y + bytes(65536) if flags else bytes(65536) + y[65536:]
            self.assertEqual(self.read(before), b"x" * 1000 + wanted, "zeroes over what was there are no holes")

    def test_a_file_as_standard_input_is_read_from_where_it_stands(self):
        source = self.source()
        for offset in (0, 512):
            with open(source, "rb") as file:
                os.lseek(file.fileno(), offset, os.SEEK_SET)
                subprocess.run([VMM_IMG, "convert", "-f", "raw", "-O", "raw", "-", self.path("copy")], stdin=file, check=True)
            self.assertEqual(self.read(self.path("copy")), self.read(source)[offset:])

    def test_what_a_stream_cannot_be_is_refused(self):
        source = self.source()
        image = self.create("image")
        for arguments, told in ((["-f", "raw", "-O", "qcow2", source, "-"], "raw"), (["-f", "qcow2", "-", self.path("new")], "raw"),
                                (["-f", "raw", "-n", source, "-"], "-n"), (["-f", "raw", "-W", source, "-"], "-W"),
                                (["-f", "raw", "-p", source, "-"], "-p"), (["-f", "raw", "-", "-", self.path("new")], "once"),
                                (["-f", "raw", "-o", "preallocation=full", source, "-"], "-o"), (["-f", "qcow2", "-", "-"], "raw"),
                                (["-", self.path("new")], "-f")):
            with self.subTest(arguments=arguments):
                self.assertIn(told, self.pipe("convert", *arguments, given=b"x", status=1))
        self.assertFalse(os.path.exists(self.path("new")))
        self.assertIn("standard output", self._run("bash", "-c", 'exec "$@" > /dev/full', "-", VMM_IMG, "convert", "-f", "raw", source, "-").errors)
        del image

    # --- The kernel's copies ---

    def test_the_kernel_copies_raw_files_and_keeps_their_holes(self):
        source = self.source()
        other = self.write("other", b"z" * 1000)
        for sources in ([source], [source, other], [other, source]):
            wanted = b"".join(self.read(path) + bytes(-os.path.getsize(path) % 512) for path in sources)
            for options in (["-C"], ["-C", "-p"], ["-C", "-o", "preallocation=falloc"], []):
                self.assertEqual(self.img("convert", *options, "-f", "raw", *sources, self.path("copy")).status, 0)
                self.assertEqual(self.read(self.path("copy")), wanted, options)
        self.assertEqual(self.img("convert", "-C", "-f", "raw", source, self.path("copy")).status, 0)
        self.assertLessEqual(os.stat(self.path("copy")).st_blocks, os.stat(source).st_blocks + 64)
        # The sanitizer that looks for leaks does not work under strace.
        calls = self._run("env", "ASAN_OPTIONS=detect_leaks=0", "strace", "-f", "-o", self.path("calls"), "-e",
                          "trace=copy_file_range,ioctl", VMM_IMG, "convert", "-C", "-f", "raw", source, self.path("copy"))
        self.assertEqual(calls.status, 0, calls.errors)
        trace = self.read(self.path("calls"))
        self.assertIn(b"FICLONE", trace)
        if b"FICLONE" in trace and b"EOPNOTSUPP" in trace:
            self.assertIn(b"copy_file_range(", trace)

    def test_where_the_kernel_cannot_copy_we_do(self):
        source = self.source()
        image = self.create("image", size="1M")
        for arguments in (["-O", "qcow2", "-f", "raw", source], ["-f", "qcow2", image]):
            self.assertEqual(self.img("convert", "-C", *arguments, self.path("copy")).status, 0)
        for more, told in (["-c", "-O", "qcow2"], "-c"), (["-S", "4k"], "-S"):
            result = self.img("convert", "-C", *more, "-f", "raw", source, self.path("new"))
            self.assertEqual(result.status, 1)
            self.assertIn(told, result.errors)
        # Another file system.
        with open("/dev/shm/" + os.path.basename(self.folder), "wb") as file:
            self.addCleanup(os.unlink, file.name)
            file.write(self.read(source))
        self.assertEqual(self.img("convert", "-C", "-f", "raw", file.name, self.path("copy")).status, 0)
        self.assertEqual(self.read(self.path("copy")), self.read(source))

    # --- Progress and signals ---

    def test_sigusr1_tells_how_far_it_is(self):
        child = self.slow()
        child.send_signal(signal.SIGUSR1)
        line = child.stderr.readline()
        self.assertRegex(line, r"\A    \(\d+\.\d\d/100%\)\n\Z")
        self.assertTrue(0 < float(line[5:].split("/", maxsplit=1)[0]) < 100, line)
        self.assertIsNone(child.poll())

    def test_what_is_interrupted_leaves_nothing_and_says_so(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            target = self.write("target", b"precious")
            child = self.slow()
            child.send_signal(number)
            _, errors = child.communicate(timeout=60)
            self.assertEqual((child.returncode, errors), (-number, "vmm-img: interrupted; the new file was not made\n"))
            self.assertEqual((self.leftovers(), self.read(target)), ([], b"precious"))

    def test_a_terminal_gets_a_bar_and_nobody_else(self):
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        source = self.write("noise", random.Random(1).randbytes(1 << 20) * 3)
        command = [VMM_IMG, "convert", "-r", "2M", "-f", "raw", "-O", "qcow2", source, self.path("target")]

        def shown(*options):
            done = subprocess.run([*command[:2], *options, *command[2:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
                                  timeout=60, check=True)
            fcntl.fcntl(ours, fcntl.F_SETFL, os.O_NONBLOCK)
            try:
                text = os.read(ours, 1 << 20).decode()
            except BlockingIOError:
                text = ""
            return text, done.stdout.decode()

        bar, output = shown()
        self.assertEqual(output, "")
        self.assertRegex(bar, r"\A(\r\[#* *\] +\d+% of 3 MiB, [\d.]+ [KMGT]?i?B/s(, \d+:\d\d left)?\x1b\[K)+\r\x1b\[K\Z")
        self.assertEqual(shown("-q"), ("", ""))
        text, output = shown("-p")
        self.assertEqual(text, "")
        self.assertIn("(100.00/100%)", output)
        os.close(theirs)
        result = self.img(*command[1:])
        self.assertEqual((result.status, result.output, result.errors), (0, "", ""))

    def test_a_rate_is_a_size(self):
        self.assertEqual(self.img("convert", "-r", "fast", "-f", "raw", self.source(), self.path("new")).status, 1)
        self.assertFalse(os.path.exists(self.path("new")))


if __name__ == "__main__":
    unittest.main()
