#!/usr/bin/env python3
"""vmm --check where there is KVM: what it has nothing against runs, and what only the machine can tell is found.

Usage: check_test.py, with the path of vmm in VMM, and the folder of the guest programs in GUESTS.
"""

import os
import subprocess
import sys
import tempfile
import unittest

VMM, GUESTS = os.environ["VMM"], os.environ["GUESTS"]
STATUS_SKIPPED = 77


class Check(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="vmm-guest.", dir=os.environ.get("VMM_LAB_SCRATCH"))
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def domain(self, machine="pc", kernel="hello.elf", more="", features="<acpi/>", devices="<serial type='stdio'/>", memory=64):
        path = os.path.join(self.folder, "guest.xml")
        kernel = f"<kernel>{os.path.join(GUESTS, kernel)}</kernel>" if kernel else ""
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"<domain type='kvm'><name>g</name><memory unit='MiB'>{memory}</memory>\n<os><type machine='{machine}'>hvm</type>{kernel}</os>\n"
                       f"<features>{features}</features>{more}\n<devices>{devices}</devices></domain>")

    def vmm(self, *options):
        return subprocess.run([VMM, "--domain", "guest.xml", *options], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace", timeout=200, check=False)

    def check(self, status, wanted="", *options):
        done = self.vmm("--check", *options)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1 if wanted else 0, done.stderr)
        self.assertIn(wanted, done.stderr)

    def test_what_it_has_nothing_against_runs(self):
        with open(os.path.join(self.folder, "a.img"), "wb") as file:
            file.truncate(1 << 20)
        for machine in ("pc", "microvm"):
            self.domain(machine, devices="<disk type='file'><source file='a.img'/><target dev='vda' bus='virtio'/></disk>"
                                         "<serial type='file'><source path='console.log'/></serial>"
                                         "<serial type='file'><source path='debug.log'/><target type='isa-debug'/></serial>"
                                         "<console type='file'><source path='virtio.log'/><target type='virtio'/></console>"
                                         "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>")
            before = os.listdir(self.folder)
            self.check(0)
            self.check(0, "", "--strict")
            self.assertEqual(os.listdir(self.folder), before)
            done = self.vmm()
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            for name in ("console.log", "debug.log", "virtio.log"):
                os.remove(os.path.join(self.folder, name))

    def test_strict_is_strict_about_the_host_too(self):
        cpu = min(os.sched_getaffinity(0))
        self.domain(more=f"<cputune><vcpupin vcpu='0' cpuset='{cpu},4000'/></cputune>")
        told = f"<cputune>/<vcpupin vcpu='0' cpuset='{cpu},4000'>: vmm may not use 4000 here"
        self.check(0, told)
        self.check(2, told, "--strict")
        done = self.vmm()
        self.assertEqual(done.returncode, 0)
        self.assertIn(told, done.stderr)
        done = self.vmm("--strict")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn(told, done.stderr)

    def test_firmware(self):
        self.domain(kernel="")
        self.check(0)

    def test_what_only_the_machine_tells(self):
        exit_port = "<metadata><vmm:exit xmlns:vmm='urn:vmm:domain:1' port='0x20'/></metadata>"
        self.domain(more=exit_port)
        self.check(2, "guest.xml:3: <metadata>/<vmm:exit port='0x20'>: the machine has something else there")
        self.assertEqual(self.vmm().stderr, self.vmm("--check").stderr)
        self.domain(more="<cpu mode='host-passthrough'><feature name='nonsense'/></cpu>")
        self.check(2, "<cpu>/<feature name='nonsense'>: the CPU feature is not known")
        self.domain(more="<clock offset='timezone' timezone='Nowhere/Never'/>")
        self.check(2, "guest.xml:3: <clock>: the time zone")
        self.domain(more="<cputune><emulatorpin cpuset='8000'/></cputune>")
        self.check(2, "guest.xml:3: <cputune>/<emulatorpin cpuset='8000'>: vmm may not use any of these CPUs here")
        self.domain(devices="<rng model='virtio'><backend model='random'>/nowhere</backend></rng>")
        self.check(1, "guest.xml:4: <rng>: /nowhere: cannot be opened")
        # 2 MiB: the kernel file is right, and does not fit.
        self.domain(kernel="blkbench.elf", memory=2)
        done = self.vmm("--check")
        self.assertEqual((done.returncode, done.stderr), (self.vmm().returncode, self.vmm().stderr))


def kvm_usable():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
        return True
    except OSError:
        return False


if __name__ == "__main__":
    if not kvm_usable() and os.environ.get("VMM_TESTS_WITHOUT_KVM") == "1":
        print("SKIPPED: no usable /dev/kvm, and VMM_TESTS_WITHOUT_KVM=1")
        sys.exit(STATUS_SKIPPED)
    unittest.main()
