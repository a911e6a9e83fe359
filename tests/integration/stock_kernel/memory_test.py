#!/usr/bin/env python3
"""The guest's memory: little, much, and each kind of memory backing."""

import contextlib
import re
import os
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import BOOT_SECONDS, MIB, MODULES, STDIO, Disk, Guest, GuestTest, main  # noqa: E402

SCRIPT = """
sed -n 's/^MemTotal: *\\([0-9]*\\) kB/memory=\\1/p' /proc/meminfo
echo above=$(grep -c '^ *1[0-9a-f]\\{8\\}-.*: System RAM' /proc/iomem)
# Pattern over a good part of the memory, in files of a tmpfs, so that the kernel uses what it was told it has.
mount -t tmpfs -o size=90% tmpfs /mnt
dd if=/dev/urandom of=/mnt/a bs=1M count=FILL 2>/dev/null
cp /mnt/a /mnt/b && cmp /mnt/a /mnt/b && echo same=yes
"""
PAGE_MIB = 2
BALLOON_MODULES = (*MODULES, "virtio_balloon")


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


class Balloon(GuestTest):
    """What the guest does not use goes back to the host."""

    def resident_mib(self, process):
        return field_of_status(process, "VmRSS") // 1024

    def wait_until_below(self, process, limit_mib):
        deadline = time.monotonic() + BOOT_SECONDS
        while (resident := self.resident_mib(process)) > limit_mib:
            self.assertLess(time.monotonic(), deadline, f"{resident} MiB are resident, not {limit_mib}")
            time.sleep(0.2)

    def check_free_pages_go_back(self, **guest):
        script = """
            mount -t tmpfs -o size=90% tmpfs /mnt
            dd if=/dev/urandom of=/mnt/a bs=1M count=100 2>/dev/null && echo full && read -r answer
            rm /mnt/a && echo freed && read -r answer
            dd if=/dev/urandom of=/mnt/a bs=1M count=100 2>/dev/null && cp /mnt/a /mnt/b && cmp /mnt/a /mnt/b && echo same=yes"""
        balloon = "<memballoon model='virtio' freePageReporting='on'/>"
        with Guest(script, serials=STDIO + balloon, modules=BALLOON_MODULES, memory_mib=384, **guest) as world, world.start() as run:
            run.wait_for("^full")
            full = self.resident_mib(run.process)
            self.assertGreater(full, 100)
            run.type("go on\n")
            run.wait_for("^freed")
            self.wait_until_below(run.process, full - 80)
            run.type("go on\n")
            run.wait_end()
            self.assert_ended_well(run)
        self.assertEqual(run.values()["same"], "yes")

    def test_free_pages_go_back(self):
        self.check_free_pages_go_back()

    def test_free_pages_of_a_memfd_go_back_on_microvm(self):
        self.check_free_pages_go_back(machine="microvm", before="<memoryBacking><source type='memfd'/></memoryBacking>")

    def test_the_guest_is_left_its_current_memory_after_a_restart_too(self):
        # The first byte of the disk tells the second start from the first.
        script = """
            total() { sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo; }
            until [ $(total) -lt 240000 ]; do sleep 0.1; done
            sleep 1; echo left=$(total) && read -r answer
            [ "$(head -c 1 /dev/vda)" != x ] || { echo second=yes; exit; }
            printf x | dd of=/dev/vda conv=notrunc 2>/dev/null && sync && reboot -f"""
        with Guest(script, serials=STDIO + "<memballoon model='virtio'/>", memory_mib=384, modules=BALLOON_MODULES,
                   disks=[Disk("a.img", MIB)], before="<currentMemory unit='MiB'>256</currentMemory>") as world, world.start() as run:
            for _ in range(2):
                self.assertGreater(int(run.wait_for(r"^left=(\d+)")[1]), 190_000)
                self.wait_until_below(run.process, 384 - 128)
                run.type("go on\n")
            run.wait_end()
            self.assert_ended_well(run)
        self.assertEqual(run.values()["second"], "yes")


if __name__ == "__main__":
    main()
