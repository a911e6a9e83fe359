#!/usr/bin/env python3
"""A guest that runs is paused, goes on, is reset and ended, by people and by programs, who are told of it."""

import json
import os
import struct
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from firmware_guest import SECONDS, FirmwareTest  # noqa: E402
from linux_guest import VMM, Session  # noqa: E402
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
            with Client(self.path("control"), SECONDS) as client:
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

    def test_what_is_done_at_its_end_can_be_changed(self):
        with self.run_guest() as session:
            session.wait_for(rb"the first disk", SECONDS)
            with Client(self.path("control"), SECONDS) as client:
                client.ask("set-action", reboot="shutdown", shutdown="pause")
                session.type("x")
                self.assertEqual(client.wait_for_event("SHUTDOWN"), {"guest": True, "reason": "guest-reset"})
            self.assertEqual(session.wait_end(SECONDS), 0)

    def test_programs_see_its_devices_and_what_they_do(self):
        with self.run_guest() as session:
            session.wait_for(rb"the first disk", SECONDS)
            with Client(self.path("control"), SECONDS) as client:
                disk = client.ask("query-blockstats")[0]
                self.assertGreater(disk["stats"]["rd_operations"], 0)
                self.assertEqual(disk["stats"]["rd_operations"], sum(disk["stats"]["rd_latency_histogram"]["bins"]))
                self.assertGreaterEqual(disk["stats"]["rd_bytes"], 512)
                self.assertEqual(disk["stats"]["wr_operations"], 0)
                nodes = client.ask("query-named-block-nodes", flat=True)
                self.assertEqual([node["node-name"] for node in nodes], [disk["node-name"]])
                self.assertEqual(nodes[0]["image"]["virtual-size"], os.path.getsize(nodes[0]["file"]))
                bridge, *others = client.ask("query-pci")[0]["devices"]
                self.assertEqual((bridge["slot"], bridge["id"]["device"]), (0, 0x1237))
                self.assertIn({"vendor": 0x1AF4, "device": 0x1042}.items(), [dict(list(each["id"].items())[:2]).items() for each in others])
                self.assertIn("serial0", [console["label"] for console in client.ask("query-chardev")])

    def test_its_disk_is_limited_while_it_runs(self):
        with self.run_guest() as session:
            session.wait_for(rb"the first disk", SECONDS)
            with Client(self.path("control"), SECONDS) as client:
                disk = client.ask("query-block")[0]["device"]
                self.assertEqual(self.ctl("throttle", disk), f"{disk}: no limits\n")
                self.assertIn("total-iops-sec             5\n", self.ctl("throttle", disk, "--total-iops-sec", "5"))
                self.assertEqual(client.ask("query-block")[0]["inserted"]["iops"], 5)
                session.type("x")  # it reads its boot sector again, and what is limited is done
                session.wait_for(rb"the first disk", SECONDS)
                self.ctl("throttle", disk, "--total-iops-sec", "0")
                self.assertEqual(client.ask("query-block")[0]["inserted"]["iops"], 0)
                self.assertIn("has no disk 'vdz'", self.ctl("throttle", "vdz", status=1))
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

    def test_its_figures_are_watched_until_it_ends(self):
        with self.run_guest() as session:
            session.wait_for(rb"the first disk", SECONDS)
            with Client(self.path("control"), SECONDS) as client:
                used = client.ask("x-vmm-query-stats")
                self.assertEqual(used["memory-bytes"], 64 << 20)
                self.assertGreater(used["resident-bytes"], 1 << 20)
                self.assertGreater(used["vcpus"][0]["exits"]["io"], 0)
                self.assertGreaterEqual(used["cpu-time-ns"], used["vcpus"][0]["cpu-time-ns"])
            watch = [VMM, "ctl", self.path("control"), "stats", "--watch", "1"]
            with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as lines, \
                    subprocess.Popen([*watch, "--output=json"], stdout=subprocess.PIPE, text=True) as programs, Session(watch) as terminal:
                for _ in range(2):
                    self.assertRegex(lines.stdout.readline(), rf"^{self.name} running cpu [0-9.]+ % memory .*B vda r [0-9]+/s")
                    self.assertEqual(json.loads(programs.stdout.readline())["disks"][0]["device"], "vda")
                    terminal.wait_for(rb"\x1b\[H" + self.name.encode() + rb": running, CPU", SECONDS)
                    terminal.wait_for(rb"  vda [^\n]*\n\x1b\[J", SECONDS)
                self.ctl("kill")
                self.assertEqual([lines.wait(SECONDS), programs.wait(SECONDS), terminal.wait_end(SECONDS)], [0, 0, 0])

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


class DiskErrors(FirmwareTest):
    """A disk of which the host cannot read the first cluster: its table says that it lies where it cannot."""

    def broken_disk(self):
        image = self.path("broken.qcow2")
        self.boot_disk("disk", "never read")
        subprocess.run([f"{os.path.dirname(VMM)}/vmm-img", "convert", "-q", "-O", "qcow2", "-f", "raw", self.path("disk"), image], check=True)
        with open(image, "r+b") as file:
            file.seek(40)
            (l1_offset,) = struct.unpack(">Q", file.read(8))
            file.seek(l1_offset)
            (l1_entry,) = struct.unpack(">Q", file.read(8))
            file.seek(l1_entry & 0x00FFFFFFFFFFFE00)
            file.write(struct.pack(">Q", 1 << 63 | 0x200))  # not at the beginning of a cluster
        return image

    def test_are_told(self):
        self.broken_disk()
        for policy, action in (("report", "report"), ("stop", "stop")):
            domain = self.domain(("broken.qcow2", "qcow2", ""))
            with open(domain, "r+", encoding="utf-8") as file:
                text = file.read()
                file.seek(0)
                file.write(text.replace("type='qcow2'", f"type='qcow2' rerror_policy='{policy}'"))
            with self.start(domain, "--control", self.path("control")), Client(self.path("control"), SECONDS) as client:
                client.ask("system_reset")
                error = client.wait_for_event("BLOCK_IO_ERROR")
                self.assertEqual(error, {"device": "vda", "node-name": "#vda", "operation": "read", "action": action, "nospace": False,
                                         "reason": "Input/output error"})
                if policy == "stop":
                    client.wait_for_event("STOP")
                    self.assertEqual(client.ask("query-status"), {"running": False, "status": "io-error"})
                else:
                    # It is counted when the guest is answered, a little later.
                    end = time.monotonic() + SECONDS
                    while client.ask("query-blockstats")[0]["stats"]["failed_rd_operations"] == 0:
                        self.assertLess(time.monotonic(), end)
                        time.sleep(0.05)


if __name__ == "__main__":
    unittest.main()
