#!/usr/bin/env python3
"""The guest's memory: little, much, and each kind of memory backing."""

import contextlib
import re
import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import MIB, Guest, GuestTest, main  # noqa: E402

SCRIPT = """
sed -n 's/^MemTotal: *\\([0-9]*\\) kB/memory=\\1/p' /proc/meminfo
echo above=$(grep -c '^ *1[0-9a-f]\\{8\\}-.*: System RAM' /proc/iomem)
# Pattern over a good part of the memory, in files of a tmpfs, so that the kernel uses what it was told it has.
mount -t tmpfs -o size=90% tmpfs /mnt
dd if=/dev/urandom of=/mnt/a bs=1M count=FILL 2>/dev/null
cp /mnt/a /mnt/b && cmp /mnt/a /mnt/b && echo same=yes
"""
PAGE_MIB = 2


NEEDS_ROOT = unittest.skipUnless(os.geteuid() == 0, "reserves huge pages")


@contextlib.contextmanager
def huge_pages(count):
    path = "/proc/sys/vm/nr_hugepages"
    with open(path, encoding="ascii") as file:
        before = int(file.read())
    with open(path, "w", encoding="ascii") as file:
        file.write(str(before + count))
    try:
        yield
    finally:
        with open(path, "w", encoding="ascii") as file:
            file.write(str(before))


def field_of_status(process, name):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
        return int(re.search(rf"^{name}:\s+(\d+)", file.read(), re.MULTILINE)[1])


def smaps_of_guest_memory(process, length_bytes):
    """What the kernel says about the mapping of this length."""
    with open(f"/proc/{process.pid}/smaps", encoding="ascii") as file:
        for part in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", file.read(), flags=re.MULTILINE)[1:]:
            start, end = (int(text, 16) for text in part.split()[0].split("-"))
            if end - start == length_bytes:
                return part
    raise AssertionError(f"no mapping of {length_bytes} bytes")


class Memory(GuestTest):
    def boot(self, memory_mib, fill_mib, before="", look=None):
        script = SCRIPT.replace("FILL", str(fill_mib))
        if look:
            script += "echo looking\nread -r answer\n"
        with Guest(script, memory_mib=memory_mib, before=before, modules=("virtio_pci",)) as guest, guest.start() as run:
            if look:
                run.wait_for("^looking")
                look(run.process)
                run.type("go on\n")
            run.wait_end()
            self.assert_ended_well(run)
        values = run.values()
        self.assertEqual(values["same"], "yes")
        self.assertTrue(memory_mib * 1024 * 0.6 < int(values["memory"]) < memory_mib * 1024, values)
        return values

    def test_as_little_as_the_stock_kernel_can_do_with(self):
        self.boot(96, 8)

    def test_more_than_fits_below_the_hole(self):
        # 3.5 GiB: half a GiB of it lies above 4 GiB.
        resident = []
        values = self.boot(3584, 8, look=lambda process: resident.append(field_of_status(process, "VmRSS")))
        self.assertEqual(values["above"], "1")
        # Memory that the guest has not touched costs nothing.
        self.assertLess(resident[0], 1024 * 1024)

    def test_memfd(self):
        def look(process):
            self.assertIn("/memfd:guest-memory", smaps_of_guest_memory(process, 256 * MIB))
        self.boot(256, 60, "<memoryBacking><source type='memfd'/></memoryBacking>", look)

    @NEEDS_ROOT
    def test_huge_pages(self):
        def look(process):
            self.assertRegex(smaps_of_guest_memory(process, 256 * MIB), r"KernelPageSize: +2048 kB")
        with huge_pages(256 // PAGE_MIB + 2):
            self.boot(256, 60, "<memoryBacking><hugepages/></memoryBacking>", look)

    @NEEDS_ROOT
    def test_huge_pages_that_the_host_does_not_have_are_refused(self):
        with huge_pages(0), Guest(memory_mib=512, before="<memoryBacking><hugepages/></memoryBacking>") as guest:
            self.assert_one_sentence(guest.run(), 1, f"{guest.domain}:5", "<hugepages>", "vm.nr_hugepages")

    def test_locked_and_not_shared(self):
        def look(process):
            mapping = smaps_of_guest_memory(process, 256 * MIB)
            self.assertRegex(mapping, r"Locked: +262144 kB")
            self.assertNotIn(" mg", re.search(r"VmFlags:.*", mapping)[0])
        self.boot(256, 60, "<memoryBacking><nosharepages/><locked/></memoryBacking>", look)

    def test_shared_pages_are_offered_to_the_host_unless_refused(self):
        def look(process):
            self.assertIn(" mg", re.search(r"VmFlags:.*", smaps_of_guest_memory(process, 128 * MIB))[0])
        self.boot(128, 8, look=look)

    def test_more_than_the_host_has_is_refused(self):
        with Guest(memory_mib=1 << 20) as guest:
            self.assert_one_sentence(guest.run(), 1, f"{guest.domain}:3", "<memory>", "1048576 MiB")


if __name__ == "__main__":
    main()
