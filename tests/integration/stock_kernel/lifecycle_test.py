#!/usr/bin/env python3
"""The ends of a guest: power-off, reboot, power button, crash, and what the domain file wants done then."""

import signal
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import MIB, Disk, Guest, GuestTest, main  # noqa: E402

# The first boot leaves its mark on the disk; the second finds it.
TWICE = """
if [ "$(head -c 4 /dev/vda)" = mark ]; then echo second=boot; exit; fi
echo first=boot
printf mark | dd of=/dev/vda conv=notrunc 2>/dev/null
sync
%s
sleep 1000
"""
BUTTON = """
for named in /sys/class/input/event*/device/name; do
  [ "$(cat $named)" = "Power Button" ] && event=$(basename ${named%/device/name})
done
exec 3</dev/input/$event  # an event that comes before is lost
echo listening=$event
head -c 24 <&3 >/dev/null
echo pressed=yes
"""


class Reboot(GuestTest):
    def run_twice(self, script, **options):
        with Guest(TWICE % script, disks=[Disk("disk.img", MIB)], **options) as guest:
            run = guest.run()
            self.assertEqual(guest.read("disk.img")[:4], b"mark")
            return run

    def test_pc_starts_again_in_place(self):
        run = self.run_twice("reboot -f", cpus=2)
        self.assert_ended_well(run)
        self.assertEqual(run.values(), {"first": "boot", "second": "boot"})

    def test_microvm_starts_again_in_place(self):
        run = self.run_twice("reboot -f", machine="microvm", cpus=2)
        self.assert_ended_well(run)
        self.assertEqual(run.values(), {"first": "boot", "second": "boot"})

    def test_on_reboot_destroy_ends_the_run(self):
        run = self.run_twice("reboot -f", after="<on_reboot>destroy</on_reboot>")
        self.assert_ended_well(run)
        self.assertEqual(run.values(), {"first": "boot"})

    def test_on_poweroff_restart_starts_again(self):
        # The second power-off would start it once more, so that the second boot ends in another way.
        with Guest("""[ "$(head -c 4 /dev/vda)" = mark ] && { echo second=boot; reboot -f; sleep 1000; }
                      printf mark | dd of=/dev/vda conv=notrunc 2>/dev/null""",
                   disks=[Disk("disk.img", MIB)],
                   after="<on_poweroff>restart</on_poweroff><on_reboot>destroy</on_reboot>") as guest:
            run = guest.run()
        self.assert_ended_well(run)
        self.assertEqual(run.values(), {"second": "boot"})


class PowerButton(GuestTest):
    def test_sigterm_reaches_the_guest_which_ends_in_its_own_way(self):
        for machine in ("pc", "microvm"):
            with self.subTest(machine), Guest(BUTTON, machine=machine) as guest, guest.start() as run:
                run.wait_for("^listening=event")
                run.process.send_signal(signal.SIGTERM)
                run.wait_end()
                self.assert_ended_well(run)
                self.assertEqual(run.values()["pressed"], "yes")

    def test_a_second_sigterm_ends_a_guest_that_does_not_listen(self):
        with Guest("echo deaf=yes\nsleep 1000", modules=()) as guest, guest.start() as run:
            run.wait_for("^deaf=yes")
            run.process.send_signal(signal.SIGTERM)
            with self.assertRaises(AssertionError):
                run.wait_end(2)
            run.process.send_signal(signal.SIGTERM)
            self.assertEqual(run.wait_end(20), 0, run.account())

    def test_sigquit_ends_at_once(self):
        with Guest("echo deaf=yes\nsleep 1000", modules=()) as guest, guest.start() as run:
            run.wait_for("^deaf=yes")
            run.process.send_signal(signal.SIGQUIT)
            self.assertEqual(run.wait_end(20), 0, run.account())


class Crash(GuestTest):
    def test_a_panic_that_reboots_is_a_reboot(self):
        with Guest("echo first=boot\necho c >/proc/sysrq-trigger\nsleep 1000",
                   after="<on_reboot>destroy</on_reboot>", modules=()) as guest:
            run = guest.run()
        self.assertEqual((run.status, run.values()), (0, {"first": "boot"}), run.account())

    def test_a_triple_fault_ends_with_its_own_status_and_shows_the_registers(self):
        with Guest("echo first=boot\nreboot -f\nsleep 1000", cmdline="reboot=t", modules=(), cpus=2) as guest:
            run = guest.run()
        self.assertEqual((run.status, run.values()), (3, {"first": "boot"}), run.account())
        for part in ("triple fault", "rip ", "rflags ", "cr3 ", "instruction bytes:"):
            self.assertIn(part, run.errors)

    def test_on_crash_restart_starts_again(self):
        with Guest(TWICE % "reboot -f", cmdline="reboot=t", disks=[Disk("disk.img", MIB)],
                   after="<on_crash>restart</on_crash>") as guest:
            run = guest.run()
        self.assertEqual((run.status, run.values()), (0, {"first": "boot", "second": "boot"}), run.account())
        self.assertIn("triple fault", run.errors)


if __name__ == "__main__":
    main()
