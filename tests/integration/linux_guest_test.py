#!/usr/bin/env python3
"""The domain files of configs/, with the guest of scripts/guest-image: what scripts/run-demo and the README promise."""

import os
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from linux_guest import PROMPT, Guest  # noqa: E402


def file_system_check(image):
    """e2fsck's verdict without repairing: 0 means clean."""
    environment = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
    return subprocess.run(["e2fsck", "-fn", image], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False).returncode


def read_from_image(image, path):
    environment = dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin")
    return subprocess.run(["debugfs", "-R", f"cat {path}", image], env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=True).stdout


class Command(unittest.TestCase):
    def test_output_and_status_come_through_unchanged(self):
        script = r'printf "%s|" "$@"; printf "\001\377tail"; exit 3'
        with Guest("command.xml", ["sh", "-c", script, "name", "a  b", "$HOME", "\"'\\", ""]) as guest:
            ended = guest.run()
            self.assertEqual(ended.stderr, b"")
            self.assertEqual(ended.stdout, b"a  b|$HOME|\"'\\||\x01\xfftail")
            self.assertEqual(ended.returncode, 3)

    def test_a_balloon_has_its_driver_and_only_a_balloon(self):
        command = ["sh", "-c", "ls /sys/bus/virtio/drivers/virtio_balloon | grep -c ^virtio"]
        with Guest("command.xml", command, edit=[("</devices>", "<memballoon model='virtio' freePageReporting='on'/></devices>")]) as guest:
            ended = guest.run()
            self.assertEqual((ended.stdout, ended.stderr), (b"1\n", b""))
        with Guest("command.xml", ["ls", "/sys/module/virtio_balloon"]) as guest:
            self.assertEqual(guest.run().returncode, 1)

    def test_one_that_hangs_is_ended(self):
        with Guest("command.xml", ["sh", "-c", "echo before; sleep 1000"]) as guest:
            ended = guest.run("--timeout", "20s")
            self.assertEqual(ended.returncode, 124)
            self.assertEqual(ended.stderr, b"vmm: the guest has not ended after 20 s (--timeout), and is ended now\n")

    def test_one_that_ends_without_a_word_is_told(self):
        with Guest("command.xml", ["poweroff", "-f"]) as guest:
            ended = guest.run()
            self.assertEqual(ended.returncode, 125)
            self.assertEqual(ended.stderr, b"vmm: the guest ended without reporting a status at its exit port\n")

    def test_the_helper_runs_commands_and_says_what_is_missing(self):
        script = """guest-exit --port 0xf5 1; guest-exit 256 2>&1 | head -n 1; guest-exit --port 70000 1
            echo nobody:x:1:1::/:/bin/sh >>/etc/passwd; su nobody -c 'guest-exit 1'
            echo printed; guest-exit -- sh -c 'echo inside; exit 42'"""
        with Guest("command.xml", ["sh", "-c", script]) as guest:
            ended = guest.run()
            self.assertEqual(ended.returncode, 42)
            self.assertEqual(ended.stdout.decode().splitlines(), [
                "guest-exit: there is no exit port at 0xf5; has the domain file a <vmm:exit port='0xf5'/>, and is this vmm?",
                "Usage: guest-exit [--port PORT] STATUS",
                "guest-exit: --port 70000: give a port below 0xc000",
                "guest-exit: only root may use ports; run it as root",
                "printed", "inside"])

    def test_guest_finds_its_processors_memory_and_disk(self):
        script = "nproc; grep -c ^processor /proc/cpuinfo; sed -n 's/^MemTotal: *//p' /proc/meminfo; cat /sys/block/vda/size"
        with Guest("command.xml", ["sh", "-c", script]) as guest:
            nproc, processors, memory, sectors = guest.run().stdout.decode().splitlines()
            self.assertEqual((nproc, processors), ("2", "2"))
            self.assertTrue(200_000 < int(memory.split()[0]) < 256 * 1024, memory)
            self.assertEqual(int(sectors), os.path.getsize(guest.path("root.img")) // 512)

    def test_what_the_guest_writes_is_on_the_disk_image(self):
        script = "dd if=/dev/urandom of=/root/data bs=4096 count=2000 2>/dev/null; sync; md5sum </root/data >/root/sum"
        with Guest("command.xml", ["sh", "-c", script]) as guest:
            self.assertEqual(guest.run().returncode, 0)
            self.assertEqual(file_system_check(guest.path("root.img")), 0)
            data = read_from_image(guest.path("root.img"), "/root/data")
            self.assertEqual(len(data), 4096 * 2000)
            summed = subprocess.run(["md5sum"], input=data, stdout=subprocess.PIPE, check=True).stdout
            self.assertEqual(read_from_image(guest.path("root.img"), "/root/sum"), summed)


class Terminal(unittest.TestCase):
    def test_shell_answers_and_the_terminal_is_restored(self):
        with Guest("demo.xml") as guest, guest.start() as session:
            session.wait_for(PROMPT)
            self.assertNotEqual(session.terminal_now(), session.terminal_before)
            session.type("echo $((6 * 7)) | sed s/^/answer-/\n")
            session.wait_for(rb"answer-42\r+\n")
            session.type("exit 9\n")
            self.assertEqual(session.wait_end(), 9)
            self.assertEqual(session.terminal_now(), session.terminal_before)

    def test_ctrl_a_x_ends_the_guest_and_restores_the_terminal(self):
        with Guest("demo.xml") as guest, guest.start() as session:
            session.wait_for(PROMPT)
            session.type("\x01x")
            session.wait_end(20)
            self.assertEqual(session.terminal_now(), session.terminal_before)


class Examples(unittest.TestCase):
    """Each example of configs/ boots as it stands (demo.xml and command.xml: above; install.xml: disc_test.py; network.xml: firmware_test.py; throwaway.xml is one that is
    installed, see examples_test.py)."""

    def assert_boots(self, guest, processors, connect=None):
        with guest, guest.start() as session:
            if connect:
                session.use_socket(guest.path(connect))
                session.type("\n")  # the first prompt may have gone before anybody listened
            session.wait_for(PROMPT)
            session.type("echo processors: $(nproc)\n")
            session.wait_for(b"processors: %d\r+\n" % processors)
            session.type("exit\n")
            self.assertEqual(session.wait_end(), 0)

    def test_minimal(self):
        self.assert_boots(Guest("minimal.xml"), 1)

    def test_microvm(self):
        self.assert_boots(Guest("microvm.xml"), 1)

    def test_smp(self):
        guest = Guest("smp.xml")
        with open(guest.path("data.img"), "wb") as file:
            file.truncate(1 << 20)
        self.assert_boots(guest, 4)

    def test_headless(self):
        self.assert_boots(Guest("headless.xml"), 2, connect="headless.sock")

    def test_memory(self):
        # The whole 6 GiB are more than the lab has.
        pages = 600
        with open("/proc/sys/vm/nr_hugepages", "r+", encoding="ascii") as file:
            before = int(file.read())
            file.seek(0)
            file.write(str(before + pages))
        try:
            self.assert_boots(Guest("memory.xml", edit=[("<memory unit='GiB'>6<", "<memory unit='GiB'>1<")]), 2)
        finally:
            with open("/proc/sys/vm/nr_hugepages", "w", encoding="ascii") as file:
                file.write(str(before))

    def test_initrd(self):
        # This initramfs wants a root disk; without one it says so and switches the machine off.
        with Guest("initrd.xml") as guest:
            ended = guest.run()
            self.assertIn(b"the root device /dev/vda has not appeared", ended.stdout)
            self.assertEqual(ended.returncode, 0)


if __name__ == "__main__":
    unittest.main()
