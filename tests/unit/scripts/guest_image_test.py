#!/usr/bin/env python3
"""scripts/guest-image's command line: guest_image_test.py PATH-OF-GUEST-IMAGE."""

import os
import subprocess
import sys
import tempfile
import unittest

GUEST_IMAGE = sys.argv.pop(1)


class GuestImage(unittest.TestCase):
    def test_a_size_that_is_too_small_or_none_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            for size in ("-5", "0", "1", "3", "", "1G"):
                run = subprocess.run([GUEST_IMAGE, f"--size={size}", f"{folder}/guest"], capture_output=True, text=True,
                                     check=False)
                self.assertEqual(run.returncode, 2, run.stderr)
                self.assertIn(f"argument --size: '{size}' is no size; it is a number of MiB, 4 or more", run.stderr)
                self.assertFalse(os.path.exists(f"{folder}/guest"))


if __name__ == "__main__":
    unittest.main()
