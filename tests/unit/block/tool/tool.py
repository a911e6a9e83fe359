"""What the tests of vmm-img share: a folder, and both programs."""

import json
import os
import subprocess
import tempfile
import time
import unittest

VMM_IMG = os.environ["VMM_IMG"]
PASSPHRASE = "swordfish"


class Result:
    def __init__(self, done):
        self.status = done.returncode
        self.output = done.stdout
        self.errors = done.stderr


class ToolTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="vmm-img-test-", dir=os.getcwd())
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.secret = "secret,id=s,file=" + self.write("passphrase", PASSPHRASE.encode())

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, contents):
        with open(self.path(name), "wb") as file:
            file.write(contents)
        return self.path(name)

    def _run(self, *command):
        return Result(subprocess.run(command, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                     errors="replace", timeout=60, check=False))

    def popen(self, *command):
        """A program that waits for its standard input, and is ended with the test."""
        child = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.stdin.close)
        return child

    def img(self, *arguments):
        return self._run(VMM_IMG, *arguments)

    def qemu(self, program, *arguments):
        """qemu-img or qemu-io, which must do it."""
        result = self._run(program, *arguments)
        self.assertEqual(result.status, 0, f"{program} {arguments}: {result.errors}")
        return result.output

    def create(self, name, *options, size="1M", format="qcow2"):
        """An image by qemu-img."""
        result = self.run_measuring("qemu-img", "create", "-q", "-f", format, "--object", self.secret, *options, self.path(name), size)
        self.assertEqual(result.status, 0, result.errors)
        return self.path(name)

    def run_measuring(self, *command):
        """A program of QEMU that may make a LUKS header. It measures its processor first, and fails where the kernel's
        clock of its thread did not tick meanwhile: many times in a row where its starts fall in step with the ticks."""
        for attempt in range(500):
            result = self._run(*command)
            if "accurate CPU usage" not in result.errors:
                break
            time.sleep(attempt * 3 % 17 / 1000)
        return result

    def json(self, *arguments):
        result = self.img(*arguments)
        self.assertEqual(result.status, 0, result.errors)
        return json.loads(result.output)
