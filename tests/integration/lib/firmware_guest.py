"""Guests that begin with firmware: a folder with a domain file and disks. For tests."""

import os
import shutil
import tempfile
import unittest

from linux_guest import VMM, Session
from media import boot_disk

SECONDS = 120


class FirmwareTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="vmm-firmware.", dir=os.environ.get("VMM_LAB_SCRATCH"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.name = f"firmware-{os.getpid()}"  # two guests of one name are refused, and tests run side by side

    def path(self, name):
        return os.path.join(self.folder, name)

    def domain(self, *disks, cdrom=None, os_elements="", others="", vcpus=1, memory=64, bus="virtio", cards=""):
        """`disks`: file, format, and what else stands in the element. `bus` is theirs. `cards`: <interface>s."""
        prefix = {"virtio": "vd", "ide": "hd"}[bus]
        elements = "".join(f"<disk type='file' device='disk'><driver name='qemu' type='{form}'/><source file='{name}'/>"
                           f"<target dev='{prefix}{chr(ord('a') + number)}' bus='{bus}'/>{more}</disk>"
                           for number, (name, form, more) in enumerate(disks))
        if cdrom:
            elements += (f"<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='{cdrom}'/>"
                         "<target dev='hdc' bus='ide'/><readonly/></disk>")
        with open(self.path("guest.xml"), "w", encoding="utf-8") as file:
            file.write(f"<domain type='kvm'><name>{self.name}</name><memory unit='MiB'>{memory}</memory><vcpu>{vcpus}</vcpu>"
                       f"<os><type arch='x86_64' machine='pc'>hvm</type>{os_elements}</os><features><acpi/></features>{others}"
                       f"<devices>{elements}{cards}<serial type='stdio'/></devices></domain>")
        return self.path("guest.xml")

    def start(self, domain, *options):
        return Session([VMM, "--domain", domain, *options])

    def boot_disk(self, name, text, form="raw"):
        boot_disk(self.path(name), text)
        return name, form, ""

    def blank_disk(self, name):
        with open(self.path(name), "wb") as file:
            file.truncate(1 << 20)

    def refusal(self, domain, status, *options):
        """What is said on standard error when vmm ends with this status."""
        with self.start(domain, *options) as session:
            self.assertEqual(session.wait_end(SECONDS), status)
            return session.process.stderr.read().decode()
