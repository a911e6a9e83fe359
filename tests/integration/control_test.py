#!/usr/bin/env python3
"""A guest that runs is paused, goes on, is reset and ended, by people and by programs, who are told of it."""

import json
import os
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from firmware_guest import SECONDS, FirmwareTest  # noqa: E402
from linux_guest import VMM  # noqa: E402
from qmp import Client  # noqa: E402

STANDS_STILL = 3  # seconds, in which a guest that runs would be far


class Control(FirmwareTest):
    """A guest whose boot sector waits for a key, and resets then."""

    def run_guest(self, others=""):
        session = self.start(self.domain(self.boot_disk("disk", "the first disk"), others=others, vcpus=2), "--control", self.path("control"))
        while not os.path.exists(self.path("control")):
            self.assertIsNone(session.process.poll())
            time.sleep(0.05)
        return session

    def ctl(self, *words, status=0, guest=None):
        done = subprocess.run([VMM, "ctl", guest or self.path("control"), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=SECONDS, check=False)
        self.assertEqual(done.returncode, status, done)
        return done.stdout if status == 0 else done.stderr

    def test_a_paused_guest_stands_still(self):
        with self.run_guest() as session:
            session.wait_for(rb"the first disk", SECONDS)
            self.ctl("pause")
            self.ctl("pause")
            self.assertIn(f"{self.name}: paused", self.ctl("status"))
            session.type("x")
            with self.assertRaisesRegex(AssertionError, "did not come"):
                session.wait_for(rb"the first disk", STANDS_STILL)
            self.ctl("resume")
            session.wait_for(rb"the first disk", SECONDS)
            self.assertIn(f"{self.name}: running", self.ctl("status"))

    def test_a_reset_of_a_paused_guest_leaves_it_paused(self):
        with self.run_guest() as session:
            session.wait_for(rb"the first disk", SECONDS)
            self.ctl("pause")
            self.ctl("reset")
            with self.assertRaisesRegex(AssertionError, "did not come"):
                session.wait_for(rb"the first disk", STANDS_STILL)
            self.assertEqual(json.loads(self.ctl("status", "--output=json"))["status"], "paused")
            self.ctl("resume")
            session.wait_for(rb"the first disk", SECONDS)
            self.ctl("pause")
            self.ctl("kill")
            self.assertEqual(session.wait_end(SECONDS), 0)

    def test_a_guest_that_is_kept_goes_on_after_a_reset_only(self):
        with self.run_guest(others="<on_reboot>preserve</on_reboot>") as session:
            session.wait_for(rb"the first disk", SECONDS)
            with Client(self.path("control")) as client:
                session.type("x")
                self.assertEqual(client.wait_for_event("SHUTDOWN"), {"guest": True, "reason": "guest-reset"})
                client.wait_for_event("STOP")
                self.assertEqual(client.ask("query-status"), {"running": False, "status": "shutdown"})
            self.assertIn("a reset begins it anew", self.ctl("resume", status=1))
            self.ctl("reset")
            session.wait_for(rb"the first disk", SECONDS)
            self.assertIn(f"{self.name}: running", self.ctl("status"))

    def test_programs_are_told_what_happens(self):
        with self.run_guest() as session:
            session.wait_for(rb"the first disk", SECONDS)
            with Client(self.path("control")) as client, Client(self.path("control")) as other:
                self.assertEqual(client.greeting["capabilities"], ["oob"])
                threads = [cpu["thread-id"] for cpu in client.ask("query-cpus-fast")]
                self.assertEqual(len(threads), 2)
                for thread in threads:
                    self.assertTrue(os.path.exists(f"/proc/{session.process.pid}/task/{thread}"))
                client.ask("stop")
                other.wait_for_event("STOP")
                client.ask("cont")
                other.wait_for_event("RESUME")
                session.type("x")
                self.assertEqual(other.wait_for_event("RESET"), {"guest": True, "reason": "guest-reset"})
                session.wait_for(rb"the first disk", SECONDS)
                client.ask("system_reset")
                self.assertEqual(other.wait_for_event("RESET"), {"guest": False, "reason": "host-qmp-system-reset"})
                client.ask("system_powerdown")
                other.wait_for_event("POWERDOWN")
                client.ask("quit")
                self.assertEqual(other.wait_for_event("SHUTDOWN"), {"guest": False, "reason": "host-qmp-quit"})
            self.assertEqual(session.wait_end(SECONDS), 0)

    def attach(self, *words, stdin=subprocess.PIPE):
        return subprocess.Popen([VMM, "ctl", self.path("control"), "console", *words], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def read_until(self, process, wanted):
        seen = b""
        while wanted not in seen:
            piece = os.read(process.stdout.fileno(), 4096)
            self.assertTrue(piece, (wanted, seen))
            seen += piece

    def test_its_console_is_seen_from_another_terminal(self):
        with self.run_guest() as session, self.attach() as first:
            self.read_until(first, b"the first disk")
            session.wait_for(rb"the first disk", SECONDS)
            first.stdin.write(b"x")  # as if typed at the guest's own terminal: it starts again
            first.stdin.flush()
            self.read_until(first, b"the first disk")
            session.wait_for(rb"the first disk", SECONDS)
            self.assertIn("somebody else is attached to serial0; --force takes it", self.ctl("console", status=1))
            self.assertIn("the guest has no console 'serial1'; it has serial0", self.ctl("console", "serial1", status=1))
            with self.attach("serial0", "--force") as second:
                self.assertEqual(first.wait(SECONDS), 0)
                second.stdin.close()  # only a terminal leaves; what the guest says is read on
                session.type("x")
                self.read_until(second, b"the first disk")
                self.ctl("kill")
                self.assertEqual(second.wait(SECONDS), 0)

    def test_its_console_has_a_log(self):
        domain = self.domain(self.boot_disk("disk", "the first disk"))
        with open(domain, "r+", encoding="utf-8") as file:
            text = file.read().replace("<serial type='stdio'/>", "<serial type='null'><log file='console.log'/></serial>")
            file.seek(0)
            file.write(text)
        with open(self.path("console.log"), "w", encoding="utf-8") as file:
            file.write("of the last run\n")
        for option in ((), ("--set", "serial.0.log.append=on")):
            with self.start(domain, *option) as session:
                while self.console_log().count("the first disk") != 1 + len(option[:1]):
                    self.assertIsNone(session.process.poll(), session.process.stderr)
                    time.sleep(0.05)
        self.assertNotIn("of the last run", self.console_log())
        self.assertIn("domain file, and would be overwritten", self.refusal(domain, 2, "--set", "serial.0.log.file=" + domain))

    def console_log(self):
        with open(self.path("console.log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def test_a_second_guest_of_the_name_is_refused(self):
        domain = self.domain(self.boot_disk("disk", "the first disk"))
        with self.start(domain) as first:
            first.wait_for(rb"the first disk", SECONDS)
            before = sorted(os.listdir(self.folder))
            for command in (("--log", self.path("log")), ("--check",)):
                refusal = self.refusal(domain, 1, *command)
                self.assertIn(f"a guest of the name '{self.name}' runs already, as process {first.process.pid}; ", refusal)
            self.assertEqual(sorted(os.listdir(self.folder)), before)
            self.assertIn("running", self.ctl("status", guest=self.name))
            with self.start(domain, "--ephemeral") as throwaway:  # of which there may be many
                self.assertEqual(throwaway.wait_end(SECONDS), 1)  # its disk is in use, though
                self.assertNotIn(b"runs already", throwaway.process.stderr.read())
            first.process.kill()
            first.process.wait(SECONDS)
        folder = os.path.join("/run" if os.geteuid() == 0 else os.environ["XDG_RUNTIME_DIR"], "vmm", self.name)
        self.assertTrue(os.path.exists(folder))
        subprocess.run([VMM, "list"], stdout=subprocess.DEVNULL, timeout=SECONDS, check=True)
        self.assertFalse(os.path.exists(folder))

    def test_it_is_listed(self):
        environment = {**os.environ, "XDG_RUNTIME_DIR": self.folder}
        with subprocess.Popen([VMM, "list", "--help"], stdout=subprocess.DEVNULL) as helped:
            self.assertEqual(helped.wait(SECONDS), 0)
        os.environ.update(environment)
        with self.start(self.domain(self.boot_disk("disk", "the first disk"))) as session:
            session.wait_for(rb"the first disk", SECONDS)
            done = subprocess.run([VMM, "list", "--output=json"], env=environment, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True)
            listed = {guest["name"]: guest for guest in json.loads(done.stdout)}
            self.assertEqual(listed[self.name], {"name": self.name, "status": "running", "pid": session.process.pid})
            self.assertIn("NAME", subprocess.run([VMM, "list"], env=environment, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True).stdout)


if __name__ == "__main__":
    unittest.main()
