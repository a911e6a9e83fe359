#!/usr/bin/env python3
"""CD-ROM drives and IDE disks as Linux's own drivers (ata_piix, sr, sd) and its users' tools see them."""

import hashlib
import os
import random
import re
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import MIB, MODULES, STDIO, VMM, Guest, GuestTest, main  # noqa: E402
from programs import ProgramsDisk  # noqa: E402

DRIVE_MODULES = (*MODULES, "ata_piix", "sd_mod", "sr_mod", "isofs")
SIZES = (0, 1, 2047, 2048, 2049, 65536, MIB + 3, 2 * MIB)  # of the disc's files
DISK_BYTES = 4 * MIB
DRIVES = f"""<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='disk.img'/><target dev='hda' bus='ide'/></disk>
<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='one.iso'/><target dev='hdc' bus='ide'/><readonly/></disk>
{STDIO}"""

# A drive is there some time after its driver. Everything that waits ends after half a minute.
FUNCTIONS = """
until_true() { turns=0; until "$@" 2>/dev/null; do turns=$((turns + 1)); [ $turns -le 300 ] || return 1; sleep 0.1; done; }
sums() {
  mount -t iso9660 -o ro /dev/sr0 /mnt || return 1
  for file in /mnt/*; do echo $1.${file##*/}=$(sha256sum <$file | cut -d ' ' -f 1); done
  umount /mnt
}
label() { dd if=/dev/sr0 bs=1 skip=32808 count=32 2>/dev/null; }
until_true [ -b /dev/sr0 ]
until_true [ -b /dev/sda ]
echo 0 >/proc/sys/dev/cdrom/autoclose  # opening the device would close the tray
"""
# insmod does not look at the kernel command line.
WITHOUT_DMA = """
rmmod ata_piix && rmmod libata && insmod /modules/libata.ko dma=0 && insmod /modules/ata_piix.ko
until_true [ -b /dev/sr0 ]
until_true [ -b /dev/sda ]
"""


class CdromTest(GuestTest):
    def make_disc(self, guest, name):
        """Its files' checksums by name; every disc has other contents."""
        content = random.Random(name)
        folder = guest.path(f"{name}.files")
        os.mkdir(folder)
        sums = {}
        for size in SIZES:
            data = content.randbytes(size)
            with open(f"{folder}/f{size}", "wb") as file:
                file.write(data)
            sums[f"f{size}"] = hashlib.sha256(data).hexdigest()
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", guest.path(f"{name}.iso"), "-V", name.upper(), folder],
                       check=True, stderr=subprocess.DEVNULL)
        return sums

    def guest(self, script, programs=(), **options):
        """`programs`: those of this machine that the script uses."""
        tools = [ProgramsDisk(programs)] if programs else []
        guest = Guest("".join(disk.mount for disk in tools) + FUNCTIONS + script, modules=DRIVE_MODULES, disks=tools, serials=DRIVES,
                      **options)
        self.addCleanup(guest.remove)
        for disk in tools:
            disk.make(guest)
        with open(guest.path("disk.img"), "wb") as file:
            file.truncate(DISK_BYTES)
        return guest

    def check_sums(self, values, key, sums):
        self.assertEqual({name: values.get(f"{key}.{name}") for name in sums}, sums)


class Drive(CdromTest):
    def read_every_file(self, before, mode):
        guest = self.guest(before + """
sums disc
echo size=$(blockdev --getsize64 /dev/sr0)
echo disk.size=$(blockdev --getsize64 /dev/sda)
dd if=/dev/urandom of=/tmp.bin bs=64k count=16 2>/dev/null
dd if=/tmp.bin of=/dev/sda bs=64k seek=3 conv=fsync 2>/dev/null
echo written=$(sha256sum </tmp.bin)
echo 3 >/proc/sys/vm/drop_caches
echo read=$(dd if=/dev/sda bs=64k skip=3 count=16 2>/dev/null | sha256sum)
echo modes=$(cat /sys/class/ata_device/dev[12].0/xfer_mode)
echo errors=$(dmesg | grep -c -i -E 'ata.*(exception|failed|error|timeout)|I/O error')
""")
        sums = self.make_disc(guest, "one")
        run = guest.run()
        values = run.values()
        self.check_sums(values, "disc", sums)
        self.assertEqual(values["size"], str(os.path.getsize(guest.path("one.iso"))), run.account())
        self.assertEqual(values["disk.size"], str(DISK_BYTES))
        self.assertEqual(values["read"], values["written"])
        self.assertRegex(values["modes"], rf"^XFER_{mode}\S* XFER_{mode}\S*$", run.text())
        self.assertEqual(values["errors"], "0", run.text())

    def test_every_file_by_dma(self):
        self.read_every_file("", "(UDMA|MW_DMA)")

    def test_every_file_by_pio(self):
        self.read_every_file(WITHOUT_DMA, "PIO")


class Tools(CdromTest):
    def test_eject_close_and_another_disc(self):
        guest = self.guest("""
sums first
eject /dev/sr0; echo eject=$?
echo open=$(dd if=/dev/sr0 of=/dev/null count=1 2>&1 | grep -c 'No medium')
eject -t /dev/sr0; echo close=$?
until_true sums again >/dev/null && sums again
echo waiting
is_two() { label | grep -q '^TWO '; }
until_true is_two; echo changed=$?
sums second
""", programs=("eject",))
        first, second = self.make_disc(guest, "one"), self.make_disc(guest, "two")
        with guest.start(["--control", guest.path("control")]) as run:
            run.wait_for("^waiting")
            subprocess.run([VMM, "ctl", guest.path("control"), "change", guest.path("two.iso")], check=True)
            run.wait_end()
            values = run.values()
            self.assertEqual([values.get(name) for name in ("eject", "open", "close", "changed")], ["0", "1", "0", "0"], run.text())
            self.check_sums(values, "first", first)
            self.check_sums(values, "again", first)
            self.check_sums(values, "second", second)

    def test_drives_answer_what_is_asked_of_them(self):
        guest = self.guest("""
cat /proc/sys/dev/cdrom/info
echo "== hdparm sda"; hdparm -I /dev/sda; echo hdparm.sda=$?  # of a CD-ROM drive it shows nothing, under QEMU neither
for drive in sda sr0; do
  echo "== smartctl $drive"; smartctl -i /dev/$drive; echo smartctl.$drive=$?
done
""", programs=("hdparm", "smartctl"))
        self.make_disc(guest, "one")
        run = guest.run()
        values = run.values()
        self.assertEqual([values.get(name) for name in ("hdparm.sda", "smartctl.sda", "smartctl.sr0")], ["0", "0", "0"], run.text())
        parts = dict(re.findall(r"^== (.*)\n((?:(?!== ).*\n)*)", run.text(), re.MULTILINE))
        self.assertIn("ATA device, with non-removable media", parts["hdparm sda"])
        self.assertRegex(parts["hdparm sda"], rf"LBA48? +user addressable sectors: +{DISK_BYTES // 512}")
        self.assertRegex(parts["smartctl sr0"], r"Product: +CD/DVD-ROM\n")
        self.assertRegex(parts["smartctl sr0"], r"Device type: +CD/DVD\n")
        self.assertRegex(parts["smartctl sda"], r"User Capacity: +4[,.]194[,.]304 bytes")
        self.assertRegex(run.text(), r"(?m)^drive name:\s+sr0$")
        self.assertRegex(run.text(), r"(?m)^Can lock tray:\s+1$")
        self.assertRegex(run.text(), r"(?m)^Can open tray:\s+1$")


if __name__ == "__main__":
    main()
