#!/usr/bin/env python3
"""What the host's side of a guest is tuned by: limits of its disks, and the CPUs that its threads run on."""

import os
import re
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from firmware_guest import SECONDS, FirmwareTest  # noqa: E402

# A sector in 512 s: the first read goes, and the next one waits for longer than any test.
WAITS = 3  # seconds, in which a disk without a limit is read many times
ALMOST_NOTHING = "<iotune><total_bytes_sec>1</total_bytes_sec></iotune>"


class Limit(FirmwareTest):
    def request_that_waits_is_in_nobodys_way(self, bus):
        name, form, _ = self.boot_disk("disk", "the first disk")
        with self.start(self.domain((name, form, ALMOST_NOTHING), bus=bus)) as session:
            session.wait_for(rb"the first disk", SECONDS)
            session.type("x")  # a reset; then firmware reads the disk again, which waits
            session.wait_for(rb"Booting from Hard Disk", SECONDS)
            with self.assertRaisesRegex(AssertionError, "did not come"):
                session.wait_for(rb"the first disk", WAITS)
            session.type("\x01x")
            self.assertEqual(session.wait_end(SECONDS), 0)

    def test_keeps_no_virtio_guest_from_its_end(self):
        self.request_that_waits_is_in_nobodys_way("virtio")

    def test_keeps_no_ide_guest_from_its_end(self):
        self.request_that_waits_is_in_nobodys_way("ide")


class Pins(FirmwareTest):
    def setUp(self):
        super().setUp()
        cpus = sorted(os.sched_getaffinity(0))
        self.first, self.last = cpus[0], cpus[-1]

    def threads(self, session):
        """Names of threads, and the CPUs that they may run on."""
        folder = f"/proc/{session.process.pid}/task"
        found = set()
        for task in os.listdir(folder):
            with open(f"{folder}/{task}/comm", encoding="ascii") as file:
                name = file.read().strip()
            with open(f"{folder}/{task}/status", encoding="ascii") as file:
                found.add((name, re.search(r"Cpus_allowed_list:\t(.*)", file.read())[1]))
        return found

    def domain_with(self, vcpu, tune):
        self.boot_disk("disk", "the first disk")
        path = self.domain(("disk", "raw", ""), others="<iothreads>1</iothreads>" + tune, vcpus=2)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        text = text.replace("<vcpu>", vcpu).replace("type='raw'/>", "type='raw' io='threads' iothread='1'/>")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_each_thread_runs_where_the_file_says(self):
        tune = (f"<cputune><vcpupin vcpu='1' cpuset='{self.last}'/><emulatorpin cpuset='{self.first}'/>"
                f"<iothreadpin iothread='1' cpuset='{self.last}'/></cputune>")
        with self.start(self.domain_with(f"<vcpu cpuset='{self.first}'>", tune)) as session:
            session.wait_for(rb"the first disk", SECONDS)
            first, last = str(self.first), str(self.last)
            threads = self.threads(session)
            self.assertLessEqual({("vcpu-0", first), ("vcpu-1", last), ("io-1", last), ("vmm", first)}, threads)
            # Beside the main thread: what it began for the disk.
            self.assertLessEqual({cpus for name, cpus in threads if name in ("vmm", "io-1")}, {first, last})
            self.assertIn(("vmm", last), threads)

    def test_threads_that_nothing_is_said_of_run_anywhere(self):
        with self.start(self.domain_with("<vcpu>", f"<cputune><emulatorpin cpuset='{self.first}'/></cputune>")) as session:
            session.wait_for(rb"the first disk", SECONDS)
            with open("/proc/self/status", encoding="ascii") as file:
                all_cpus = re.search(r"Cpus_allowed_list:\t(.*)", file.read())[1]
            self.assertLessEqual({("vcpu-0", all_cpus), ("vcpu-1", all_cpus), ("io-1", all_cpus), ("vmm", str(self.first))},
                                 self.threads(session))

    def test_cpus_that_are_not_there_are_refused_and_told_where_some_are(self):
        said = self.refusal(self.domain_with("<vcpu cpuset='8000-8001'>", ""), 2)
        self.assertRegex(said, r"guest\.xml:1: <vcpu cpuset='8000-8001'>: vmm may not use any of these CPUs here; it may use \d")
        said = self.refusal(self.domain_with("<vcpu>", "<cputune><vcpupin vcpu='0' cpuset='8000'/></cputune>"), 2)
        self.assertIn("<cputune>/<vcpupin vcpu='0' cpuset='8000'>", said)
        with self.start(self.domain_with(f"<vcpu cpuset='{self.first},8000'>", "")) as session:
            session.wait_for(rb"the first disk", SECONDS)
            session.type("\x01x")
            self.assertEqual(session.wait_end(SECONDS), 0)
            self.assertIn("vmm may not use 8000 here", session.process.stderr.read().decode())


if __name__ == "__main__":
    unittest.main(verbosity=2)
