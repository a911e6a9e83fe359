#!/usr/bin/env python3
"""A guest that nobody sits at: in the background, as a service, with its log in a file."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from firmware_guest import SECONDS, FirmwareTest  # noqa: E402
from linux_guest import VMM  # noqa: E402


def is_there(process):
    try:
        os.kill(process, 0)
        return True
    except ProcessLookupError:
        return False


class Unattended(FirmwareTest):
    """The guest is a boot sector, which has no power button."""

    def guest(self, serial="<serial type='null'><log file='console.log'/></serial>"):
        domain = self.domain(self.boot_disk("disk", "the first disk"))
        with open(domain, "r+", encoding="utf-8") as file:
            text = file.read().replace("<serial type='stdio'/>", serial)
            file.seek(0)
            file.write(text)
            file.truncate()
        return domain

    def wait_until(self, is_so):
        end = time.monotonic() + SECONDS
        while not is_so():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

    def read(self, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as file:
            return file.read()

    def run_vmm(self, *options):
        return subprocess.run([VMM, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=SECONDS, check=False)

    def daemonize(self, domain, *options):
        """Its process. That the call returns shows that it holds none of the caller's pipes."""
        done = self.run_vmm("--domain", domain, "--daemonize", "--pidfile", self.path("pid"), "--log", self.path("log"), *options)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        process = int(self.read("pid"))
        self.addCleanup(lambda: is_there(process) and os.kill(process, signal.SIGKILL))
        return process

    def test_in_the_background_it_is_controlled_as_any(self):
        process = self.daemonize(self.guest(serial="<serial type='stdio'><log file='console.log'/></serial>"))
        self.assertIn(f"{self.name}: running", self.run_vmm("ctl", self.name, "status").stdout)
        self.assertEqual(os.getsid(process), process)
        for fd in (0, 1, 2):
            self.assertEqual(os.readlink(f"/proc/{process}/fd/{fd}"), "/dev/null")
        second = self.run_vmm("--domain", self.path("guest.xml"), "--daemonize", "--set", "serial.0.type=null")
        self.assertEqual(second.returncode, 1)
        self.assertIn(f"runs already, as process {process}; ", second.stderr)
        self.wait_until(lambda: "the first disk" in self.read("console.log"))
        self.assertEqual(self.run_vmm("ctl", self.name, "kill").returncode, 0)
        self.wait_until(lambda: not is_there(process))
        self.assertFalse(os.path.exists(self.path("pid")))

    def test_its_log_is_opened_anew_after_a_hangup(self):
        process = self.daemonize(self.guest(), "--shutdown-timeout", "500ms")
        os.rename(self.path("log"), self.path("log.1"))
        os.kill(process, signal.SIGHUP)
        self.wait_until(lambda: os.path.exists(self.path("log")))
        os.kill(process, signal.SIGTERM)  # the guest does not hear it
        self.wait_until(lambda: not is_there(process))
        self.assertIn("is ended now", self.read("log"))
        self.assertEqual(self.read("log.1"), "")

    def test_who_gives_up_waiting_leaves_nothing(self):
        domain = self.guest()
        with open(domain, encoding="utf-8") as file:
            text = file.read()
        with subprocess.Popen([VMM, "--domain", "-", "--daemonize"], stdin=subprocess.PIPE) as caller:
            caller.stdin.write(text[:20].encode())  # vmm waits for the rest
            caller.stdin.flush()
            children = f"/proc/{caller.pid}/task/{caller.pid}/children"
            child = []

            def is_forked():
                with open(children, encoding="utf-8") as file:
                    child[:] = file.read().split()
                return bool(child)

            self.wait_until(is_forked)
            caller.terminate()
            caller.wait(SECONDS)
            self.wait_until(lambda: not os.path.exists(f"/proc/{child[0]}/exe"))

    def test_a_service_manager_is_told(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(self.path("notify"))
            manager.settimeout(SECONDS)
            with subprocess.Popen([VMM, "--domain", self.guest(), "--shutdown-timeout", "500ms"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  env={**os.environ, "NOTIFY_SOCKET": self.path("notify")}) as vmm:
                self.assertEqual(manager.recv(4096).decode(), f"READY=1\nSTATUS=The guest {self.name} runs\n")
                self.assertFalse(select.select([manager], [], [], 0)[0])
                vmm.terminate()
                self.assertIn("STOPPING=1\n", manager.recv(4096).decode())
                self.assertEqual(manager.recv(4096).decode(), "STOPPING=1\nSTATUS=The guest has ended\n")
                self.assertEqual(vmm.wait(SECONDS), 0)
                self.assertIn(b"power button was pressed (--shutdown-timeout), and is ended now", vmm.stderr.read())

    def test_the_log_tells_what_it_is_asked_for(self):
        with self.start(self.guest("<serial type='stdio'/>"), "--log-level", "error,firmware=debug", "--log", self.path("log")) as session:
            session.wait_for(rb"the first disk", SECONDS)
        lines = self.read("log").splitlines()
        self.assertTrue(lines)
        for line in lines:
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\S+ debug \[firmware\]: firmware: ")


if __name__ == "__main__":
    unittest.main()
