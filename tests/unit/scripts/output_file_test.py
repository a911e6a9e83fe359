#!/usr/bin/env python3
"""What scripts do with names of files that they are to write: output_file_test.py FOLDER-OF-SCRIPTS."""

import os
import stat
import subprocess
import sys
import tempfile
import unittest

SCRIPTS = sys.argv.pop(1)
sys.dont_write_bytecode = True
sys.path.insert(0, f"{SCRIPTS}/lib")
import output_file  # noqa: E402


class OutputFile(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = os.path.realpath(temporary.name)
        os.mkfifo(self.path("fifo"))
        os.symlink("fifo", self.path("link"))

    def path(self, name):
        return f"{self.folder}/{name}"

    def refused(self, status, reason, script, *arguments):
        done = subprocess.run([f"{SCRIPTS}/{script}", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(reason, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertTrue(stat.S_ISFIFO(os.lstat(self.path("fifo")).st_mode))
        self.assertTrue(os.path.islink(self.path("link")))

    def test_a_link_is_followed_to_a_file_that_is_there_or_not_yet(self):
        os.symlink("there", self.path("to-there"))
        os.symlink("new", self.path("to-new"))
        with open(self.path("there"), "w", encoding="ascii"):
            pass
        for name in ("there", "new"):
            self.assertEqual(output_file.place_for(self.path(f"to-{name}")), self.path(name))
            self.assertEqual(output_file.place_for(self.path(name)), self.path(name))

    def test_the_installers_disc_takes_the_place_of_files_only(self):
        for name in ("fifo", "link"):
            self.refused(1, f"{self.path(name)} is no regular file", "make-installer-iso", "isolinux", self.path(name))
        self.refused(1, f"{self.folder} is a folder", "make-installer-iso", "isolinux", self.folder)

    def test_a_guests_files_take_the_place_of_files_only(self):
        self.refused(1, "is no regular file", "guest-image", "--command", self.path("link"), "true")
        os.symlink("fifo", self.path("vmlinuz"))
        self.refused(1, f"{self.path('vmlinuz')} is no regular file", "guest-image", self.folder)

    def test_what_a_lab_writes_takes_the_place_of_files_only(self):
        self.refused(125, f"--out {self.path('fifo')}: is no folder", "kvm-lab", "--out", self.path("fifo"), "--", "true")
        self.refused(125, "is no regular file", "kvm-lab", "--console-log", self.path("link"), "--", "true")


unittest.main()
