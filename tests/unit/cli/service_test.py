"""scripts/vmm@.service: systemd has nothing to say against it, and its numbers fit vmm's."""

import configparser
import os
import re
import shutil
import subprocess
import tempfile
import unittest

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))
UNIT = os.path.join(TOP, "scripts/vmm@.service")


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|min)", text).groups()
    return int(number) * {"s": 1, "min": 60}[unit]


class Service(unittest.TestCase):
    def setUp(self):
        with open(UNIT, encoding="utf-8") as file:
            self.text = file.read()
        self.unit = configparser.ConfigParser(interpolation=None)
        self.unit.optionxform = str
        self.unit.read_string(self.text)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd is not installed")
    def test_systemd_takes_it(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "vmm@.service")
            # The program and its manual page are not installed where this runs.
            with open(path, "w", encoding="utf-8") as file:
                file.write(self.text.replace("/usr/local/bin/vmm", shutil.which("true")).replace("man:vmm(1)", "man:true(1)"))
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", os.path.join(folder, "vmm@guest.service")], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
            about_us = [line for line in done.stdout.splitlines() if "vmm" in line]
            self.assertEqual(about_us, [], done.stdout)

    def test_vmm_ends_the_guest_before_systemd_kills_vmm(self):
        service = self.unit["Service"]
        own = re.search(r"--shutdown-timeout (\S+)", service["ExecStart"])[1]
        self.assertLess(seconds(own), seconds(service["TimeoutStopSec"]))

    def test_its_options_are_vmms(self):
        helped = subprocess.run([os.environ["VMM"], "--help"], stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout
        for option in re.findall(r"--[a-z-]+", self.unit["Service"]["ExecStart"]):
            self.assertIn(f"  {option} ", helped)

    def test_a_guest_that_cannot_run_or_has_crashed_is_not_started_again(self):
        with open(os.path.join(TOP, "vmm/cli/exit_status.h"), encoding="utf-8") as file:
            statuses = {int(number) for number in re.findall(r"k\w+ = (\d+)", file.read())}
        prevented = {int(word) for word in self.unit["Service"]["RestartPreventExitStatus"].split()}
        self.assertEqual(statuses - prevented, {0, 1})
        self.assertEqual(prevented - statuses, set())


if __name__ == "__main__":
    unittest.main()
