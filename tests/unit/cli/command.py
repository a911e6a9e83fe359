"""What the tests of vmm's command line share: a folder, and the program."""

import os
import subprocess
import tempfile
import unittest

VMM = os.environ["VMM"]


class CommandTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="vmm-cli-test-", dir=os.getcwd())
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, contents=b""):
        with open(self.path(name), "wb") as file:
            file.write(contents)
        return self.path(name)

    def run_in_folder(self, *command):
        return subprocess.run(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, errors="replace", timeout=100, check=False)

    def vmm(self, *arguments):
        return self.run_in_folder(VMM, *arguments)

    def succeed(self, *arguments):
        done = self.vmm(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def refuse(self, wanted, *arguments, status=2):
        """vmm says so, in one line, and ends with this status."""
        done = self.vmm(*arguments)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertIn(wanted, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
