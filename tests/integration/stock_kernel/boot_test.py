#!/usr/bin/env python3
"""Direct boot of a stock kernel on each machine: its processors, interrupts and disks, and its end."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import MIB, Disk, Guest, GuestTest, main  # noqa: E402

SCRIPT = """
echo nproc=$(nproc)
echo interrupts=$(grep virtio /proc/interrupts | tr -s ' ' | tr '\\n' ';')
echo cmdline=$(cat /proc/cmdline)
echo size=$(cat /sys/block/vda/size)
echo clock=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)
echo pci=$(ls /sys/bus/pci/devices 2>/dev/null | wc -l)
echo queues=$(ls /sys/block/vda/mq | wc -l)
echo read=$(dd if=/dev/vda bs=64k count=16 2>/dev/null | sha256sum | cut -d' ' -f1)
"""
SHA_OF_ZEROED_MIB = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58"


class Boot(GuestTest):
    def boot(self, **options):
        with Guest(SCRIPT, disks=[Disk("disk.img", 8 * MIB)], **options) as guest:
            run = guest.run()
        self.assert_ended_well(run)
        values = run.values()
        self.assertEqual(int(values["size"]) * 512, 8 * MIB)
        self.assertEqual(values["read"], SHA_OF_ZEROED_MIB)
        self.assertEqual(values["nproc"], str(options.get("cpus", 1)))
        return values

    def test_pc_with_one_processor(self):
        values = self.boot()
        self.assertIn("PCI-MSI", values["interrupts"])
        self.assertIn("virtio0-req.0", values["interrupts"])
        self.assertEqual(values["queues"], "1")
        self.assertEqual(values["clock"], "kvm-clock")

    def test_pc_with_two_processors_and_a_queue_for_each(self):
        values = self.boot(cpus=2)
        self.assertEqual(values["interrupts"].count("PCI-MSI"), 3, values)  # configuration, and the two queues
        self.assertIn("virtio0-req.1", values["interrupts"])
        self.assertEqual(values["queues"], "2")

    def test_microvm_announces_its_disk_through_acpi(self):
        values = self.boot(machine="microvm", cpus=2)
        self.assertIn("virtio", values["interrupts"])
        self.assertNotIn("MSI", values["interrupts"])
        self.assertNotIn("virtio_mmio.device", values["cmdline"])
        self.assertEqual(values["pci"], "0")

    def test_microvm_without_acpi_announces_its_disk_on_the_command_line(self):
        # Debian builds its kernel without CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES, so this one does not look at it. Without
        # ACPI it cannot switch off either; its way out is the reset line.
        with Guest(SCRIPT, machine="microvm", acpi=False, disks=[Disk("disk.img", MIB)], cmdline="reboot=k vmm.end=reboot",
                   after="<on_reboot>destroy</on_reboot>") as guest:
            run = guest.run()
        self.assertEqual(run.status, 0, run.account())
        self.assertRegex(run.values()["cmdline"], r" virtio_mmio\.device=4K@0x[0-9a-f]+:\d+$")
        self.assertEqual(run.values()["nproc"], "1")
        self.assertRegex(run.errors, r"\Avmm: warning: [^\n]*without <features><acpi/></features>[^\n]*\n\Z")


if __name__ == "__main__":
    main()
