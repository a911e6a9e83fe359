#!/usr/bin/env python3
"""Disks as a stock kernel uses them: every cache mode and engine, discard, read-only, errors of the host, QEMU as peer."""

import hashlib
import subprocess
import os
import signal
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import (BOOT_SECONDS, MIB, Disk, Guest, GuestTest, Run, file_system_check, kernel_path, main,  # noqa: E402
                   make_file_system, read_from_image)

# Each disk has a file system; the guest writes a file of random bytes to it, and reads it again past its own cache.
WRITE_AND_VERIFY = """
for disk in /sys/block/vd*; do
  name=${disk##*/}
  echo $name.serial=$(cat $disk/serial)
  echo $name.cache=$(cat $disk/queue/write_cache)
  echo $name.queues=$(ls $disk/mq | wc -l)
  mount -t ext4 /dev/$name /mnt || continue
  dd if=/dev/urandom of=/mnt/data bs=37k count=50 2>/dev/null
  echo $name.written=$(sha256sum </mnt/data)
  sync
  echo 3 >/proc/sys/vm/drop_caches
  echo $name.read=$(sha256sum </mnt/data)
  umount /mnt
done
"""
FILE_SYSTEM_BYTES = 16 * MIB


def allocated_bytes(path):
    return os.stat(path).st_blocks * 512


class DiskTest(GuestTest):
    def write_and_verify(self, drivers, **options):
        """One disk for each <driver>: what the guest wrote to it must be in the image afterwards."""
        disks = [Disk(f"disk{number}.img", driver=driver, inside=f"<serial>SERIAL-{number}</serial>")
                 for number, driver in enumerate(drivers)]
        with Guest(WRITE_AND_VERIFY, disks=disks, **options) as guest:
            for disk in disks:
                make_file_system(guest.path(disk.name), FILE_SYSTEM_BYTES)
            run = guest.run()
            self.assert_ended_well(run)
            values = run.values()
            for number, disk in enumerate(disks):
                name = f"vd{chr(ord('a') + number)}"
                with self.subTest(driver=disk.driver):
                    self.assertEqual(values[f"{name}.serial"], f"SERIAL-{number}")
                    self.assertEqual(values[f"{name}.read"], values[f"{name}.written"])
                    self.assertEqual(file_system_check(guest.path(disk.name)), 0)
                    data = read_from_image(guest.path(disk.name), "/data")
                    self.assertEqual(hashlib.sha256(data).hexdigest(), values[f"{name}.written"].split()[0])
            return values


class Caches(DiskTest):
    def test_every_cache_mode_with_io_uring(self):
        values = self.write_and_verify([f"cache='{mode}'" for mode in ("none", "writeback", "writethrough", "directsync", "unsafe")],
                                       cpus=2)
        modes = [values[f"vd{letter}.cache"] for letter in "abcde"]
        # Without a FLUSH to send ("unsafe"), the guest believes that nothing is cached.
        self.assertEqual(modes, ["write back", "write back", "write through", "write through", "write through"])

    def test_every_cache_mode_with_threads(self):
        self.write_and_verify([f"cache='{mode}' io='threads'" for mode in ("none", "writeback", "writethrough", "directsync", "unsafe")])

    def test_queues_io_threads_and_discard(self):
        values = self.write_and_verify(["cache='none' queues='2' queue_size='1024' iothread='1'", "queues='1' iothread='2' discard='unmap'",
                                        "queue_size='4' detect_zeroes='on' event_idx='off'", "ioeventfd='off' detect_zeroes='unmap' discard='unmap'"],
                                       cpus=2, before="<iothreads>2</iothreads>")
        self.assertEqual([values[f"vd{letter}.queues"] for letter in "abcd"], ["2", "1", "2", "2"])

    def test_microvm(self):
        self.write_and_verify(["cache='none'", "io='threads' discard='unmap'"], machine="microvm", cpus=2)


class Requests(DiskTest):
    def test_fstrim_gives_the_host_its_space_back(self):
        script = """
mount -t ext4 /dev/vda /mnt
dd if=/dev/urandom of=/mnt/data bs=1M count=20 2>/dev/null
sync; rm /mnt/data; sync
echo before=there; read -r answer
fstrim /mnt && echo trimmed=yes
umount /mnt
"""
        with Guest(script, disks=[Disk("disk.img", driver="discard='unmap' cache='none'")]) as guest:
            make_file_system(guest.path("disk.img"), 48 * MIB)
            with guest.start() as run:
                run.wait_for("^before=")
                before = allocated_bytes(guest.path("disk.img"))
                run.type("go on\n")
                run.wait_end()
            self.assert_ended_well(run)
            self.assertEqual(run.values()["trimmed"], "yes")
            self.assertGreater(before, 20 * MIB)
            self.assertLess(allocated_bytes(guest.path("disk.img")), before - 15 * MIB)
            self.assertEqual(file_system_check(guest.path("disk.img")), 0)
            self.assertEqual(os.path.getsize(guest.path("disk.img")), 48 * MIB)

    def test_read_only_block_sizes_and_a_disk_without_discard(self):
        script = """
echo vda.ro=$(cat /sys/block/vda/ro)
dd if=/dev/zero of=/dev/vda bs=4k count=1 2>/dev/null && sync && echo vda.wrote=yes
echo vdb.logical=$(cat /sys/block/vdb/queue/logical_block_size)
echo vdb.physical=$(cat /sys/block/vdb/queue/physical_block_size)
dd if=/dev/zero of=/dev/vdb bs=4k count=1 2>/dev/null && sync && echo vdb.wrote=yes
echo vda.discard=$(cat /sys/block/vda/queue/discard_max_bytes)
"""
        disks = [Disk("a.img", MIB, inside="<readonly/>"),
                 Disk("b.img", MIB, inside="<blockio logical_block_size='4096' physical_block_size='4096'/>")]
        with Guest(script, disks=disks) as guest:
            for disk in disks:
                with open(guest.path(disk.name), "wb") as file:
                    file.write(b"\xaa" * MIB)
            os.chmod(guest.path("a.img"), 0o444)
            run = guest.run()
            self.assert_ended_well(run)
            self.assertEqual(run.values(), {"vda.ro": "1", "vdb.logical": "4096", "vdb.physical": "4096", "vdb.wrote": "yes",
                                            "vda.discard": "0"})
            self.assertEqual(guest.read("a.img"), b"\xaa" * MIB)
            self.assertEqual(guest.read("b.img"), bytes(4096) + b"\xaa" * (MIB - 4096))


@unittest.skipUnless(os.geteuid() == 0, "mounts a small file system")
class FullHost(DiskTest):
    """The image is sparse, and the host's file system has no room for what the guest writes to it."""

    SCRIPT = """
echo writing=now
dd if=/dev/urandom of=/dev/vda bs=64k count=128 conv=fsync 2>&1 | grep -q 'error' && echo error=yes
echo written=$(head -c 8388608 /dev/vda | sha256sum)
"""

    def setUp(self):
        self.mount = os.path.join(os.environ.get("VMM_LAB_SCRATCH", "/tmp"), f"full.{os.getpid()}")
        os.mkdir(self.mount)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", self.mount], check=True)
        self.addCleanup(os.rmdir, self.mount)
        self.addCleanup(subprocess.run, ["umount", "-l", self.mount], check=True)

    def guest(self, driver):
        image = os.path.join(self.mount, "disk.img")
        with open(image, "wb") as file:
            file.truncate(8 * MIB)
        self.filler = os.path.join(self.mount, "filler")
        with open(self.filler, "wb") as file:
            file.write(bytes(4 * MIB))
        return Guest(self.SCRIPT, disks=[Disk(image, driver=driver)])

    def test_report_gives_the_guest_an_error(self):
        with self.guest("error_policy='report'") as guest:
            run = guest.run()
            self.assertEqual((run.status, run.values().get("error")), (0, "yes"), run.account())

    def test_enospace_pauses_the_guest_until_there_is_room(self):
        with self.guest("error_policy='enospace'") as guest, guest.start() as run:
            run.wait_for("^writing=now")
            run.wait_for_error("vda")
            self.assertNotIn("written", run.values())
            os.remove(self.filler)
            run.wait_end()
            self.assertEqual(run.status, 0, run.account())
            self.assertNotIn("error", run.values())
            with open(os.path.join(self.mount, "disk.img"), "rb") as file:
                self.assertEqual(run.values()["written"].split()[0], hashlib.sha256(file.read()).hexdigest())

    def test_a_paused_guest_can_be_ended(self):
        with self.guest("error_policy='stop'") as guest, guest.start() as run:
            run.wait_for_error("vda")
            run.process.send_signal(signal.SIGQUIT)
            run.wait_end(30)
            self.assertIn(run.status, (0, 1), run.account())


class Interchange(DiskTest):
    def test_qemu_reads_and_goes_on_writing_what_the_guest_wrote_under_vmm(self):
        script = """
mount -t ext4 /dev/vda /mnt
[ -e /mnt/data ] && echo found=$(sha256sum </mnt/data)
dd if=/dev/urandom of=/mnt/data bs=37k count=50 2>/dev/null
echo written=$(sha256sum </mnt/data)
umount /mnt
"""
        with Guest(script, disks=[Disk("disk.img", driver="cache='none'")]) as guest:
            image = guest.path("disk.img")
            make_file_system(image, FILE_SYSTEM_BYTES)
            first = guest.run()
            self.assert_ended_well(first)
            under_vmm = first.values()["written"]
            qemu = Run(["qemu-system-x86_64", "-accel", "kvm", "-machine", "pc", "-cpu", "host", "-m", "256", "-nodefaults",
                        "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel", kernel_path(), "-initrd", guest.path("initrd.img"),
                        "-append", "console=ttyS0 quiet loglevel=1 panic=-1", "-drive", f"if=virtio,format=raw,file={image}"])
            with qemu:
                qemu.wait_end(2 * BOOT_SECONDS)
            under_qemu = qemu.values()
            self.assertEqual(under_qemu.get("found"), under_vmm, qemu.account())
            again = guest.run()
            self.assert_ended_well(again)
            self.assertEqual(again.values()["found"], under_qemu["written"])
            self.assertEqual(file_system_check(image), 0)


if __name__ == "__main__":
    main()
