#!/usr/bin/env python3
"""Discs: booted once to install from, and changed from a second terminal while the guest runs."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from firmware_guest import SECONDS, FirmwareTest  # noqa: E402
from linux_guest import TOP, VMM  # noqa: E402
from media import boot_iso, data_iso, isolinux_iso  # noqa: E402

ISOLINUX_WRITES_BY_ITSELF = "<bios useserial='no'/>"


class Install(FirmwareTest):
    def install(self, domain):
        isolinux_iso(self.path("disc.iso"))
        return self.start(domain, "--install", self.path("disc.iso"))

    def test_the_disc_is_booted_once_and_then_the_disk(self):
        with self.install(self.domain(self.boot_disk("disk", "the first disk"))) as session:
            session.wait_for(rb"ISOLINUX 6", SECONDS)
            session.wait_for(rb"boot: ", SECONDS)
            session.type("reboot\r")
            session.wait_for(rb"the first disk", SECONDS)
            session.type("x")
            session.wait_for(rb"the first disk", SECONDS)

    def test_the_disc_is_booted_again_where_the_disk_does_not_boot(self):
        self.blank_disk("blank")
        with self.install(self.domain(("blank", "raw", ""), os_elements=ISOLINUX_WRITES_BY_ITSELF)) as session:
            for _ in range(2):
                session.wait_for(rb"ISOLINUX 6", SECONDS)
                session.wait_for(rb"boot: ", SECONDS)
                session.type("reboot\r")

    def test_the_disk_is_booted_next_where_the_domain_names_the_cd_only(self):
        boot_iso(self.path("disc.iso"), "this is the disc")
        domain = self.domain(self.boot_disk("disk", "the first disk"), os_elements="<boot dev='cdrom'/>")
        with self.start(domain, "--install", self.path("disc.iso")) as session:
            session.wait_for(rb"this is the disc", SECONDS)
            session.type("x")
            session.wait_for(rb"the first disk", SECONDS)

    def test_a_disc_that_cannot_be_installed_from_is_refused(self):
        self.blank_disk("blank")
        domain = self.domain(("blank", "raw", ""))
        data_iso(self.path("data.iso"))
        isolinux_iso(self.path("cut.iso"))
        os.truncate(self.path("cut.iso"), os.path.getsize(self.path("cut.iso")) // 2048 // 2 * 2048)
        with open(self.path("noise"), "wb") as file:
            file.write(os.urandom(1 << 20))
        open(self.path("empty"), "wb").close()
        for name, reason in (("data.iso", "is not bootable"), ("noise", "is not bootable: it is no ISO image"), ("cut.iso", "is truncated"),
                             ("empty", "empty"), ("missing", "No such file"), (".", "neither a file nor a block device")):
            errors = self.refusal(domain, 1, "--install", self.path(name))
            self.assertIn(reason, errors)
            self.assertIn(self.path(name), errors)
            self.assertEqual(len(errors.splitlines()), 1, errors)

    def test_a_guest_without_firmware_is_refused(self):
        with open(self.path("kernel"), "wb") as file:
            file.write(bytes(1000))
        self.blank_disk("blank")
        errors = self.refusal(self.domain(("blank", "raw", ""), os_elements="<kernel>kernel</kernel>"), 2, "--install", self.path("blank"))
        self.assertIn("--install", errors)


class Example(FirmwareTest):
    def test_install_boots_its_disc_while_its_disk_is_blank(self):
        domain = self.path("install.xml")
        with open(f"{TOP}/configs/install.xml", encoding="utf-8") as example, open(domain, "w", encoding="utf-8") as file:
            file.write(example.read().replace("/var/lib/libvirt/images", os.path.dirname(domain)))
        boot_iso(self.path("disc.iso"), "this is the disc")
        subprocess.run([f"{os.path.dirname(VMM)}/vmm-img", "create", "-q", "-f", "qcow2", self.path("guest.qcow2"), "1G"], check=True)
        with self.start(domain) as session:
            session.wait_for(rb"this is the disc", SECONDS)


class Disc(FirmwareTest):
    """A guest that waits for a key in its disk's boot sector, with a disc in hdc."""

    def setUp(self):
        super().setUp()
        boot_iso(self.path("one.iso"), "this is disc one")
        boot_iso(self.path("two.iso"), "this is disc two")

    def run_guest(self, change=lambda text: text):
        domain = self.domain(self.boot_disk("disk", "the first disk"), cdrom="one.iso")
        with open(domain, "r+", encoding="utf-8") as file:
            text = change(file.read())
            file.seek(0)
            file.write(text)
        return self.start(domain, "--control", self.path("control"))

    def ctl(self, *words, status=0, guest=None):
        done = subprocess.run([VMM, "ctl", guest or self.path("control"), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=SECONDS, check=False)
        self.assertEqual(done.returncode, status, done)
        return done.stdout if status == 0 else done.stderr

    def boot_disc(self, session):
        self.ctl("boot-once", "hdc")
        self.ctl("reset")
        return session.wait_for(rb"this is disc (one|two)", SECONDS)[1]

    def wait_until_it_runs(self, session):
        while not os.path.exists(self.path("control")):
            self.assertIsNone(session.process.poll())
            time.sleep(0.05)

    def test_is_changed_while_the_guest_runs(self):
        with self.run_guest() as session:
            self.wait_until_it_runs(session)
            self.assertIn(f"hdc      cdrom   {self.path('one.iso')}", self.ctl("status"))
            self.assertEqual(self.boot_disc(session), b"one")
            self.ctl("change", self.path("two.iso"))
            self.assertEqual(self.boot_disc(session), b"two")
            self.ctl("eject", "hdc")
            self.assertIn("(no disc) (the tray is open)", self.ctl("status"))
            self.ctl("insert", self.path("one.iso"))
            self.assertIn("holds", self.ctl("insert", self.path("two.iso"), status=1))
            self.assertEqual(self.boot_disc(session), b"one")
            self.ctl("kill")
            self.assertEqual(session.wait_end(SECONDS), 0)
        self.assertFalse(os.path.exists(self.path("control")))
        self.assertIn("control", self.ctl("status", status=1))

    def test_leaves_the_drive_while_a_read_waits_for_a_limit(self):
        def limited(text):
            text = text.replace("<readonly/>", "<readonly/><iotune><total_bytes_sec>1</total_bytes_sec></iotune>")
            # Nothing but the disc keeps its thread's engine.
            return text.replace("type='raw'/><source file='disk'", "type='raw' iothread='1'/><source file='disk'").replace(
                "</vcpu>", "</vcpu><iothreads>1</iothreads>")

        with self.run_guest(limited) as session:
            self.wait_until_it_runs(session)
            session.wait_for(rb"the first disk", SECONDS)
            self.ctl("boot-once", "hdc")
            self.ctl("reset")
            session.wait_for(rb"Booting from DVD/CD", SECONDS)
            time.sleep(0.5)  # the first read goes at once
            self.ctl("eject", "hdc", "--force")
            self.assertIn("(no disc) (the tray is open)", self.ctl("status"))
            session.wait_for(rb"the first disk", SECONDS)
            self.ctl("insert", self.path("two.iso"))
            self.assertIn("two.iso", self.ctl("status"))
            self.ctl("kill")
            self.assertEqual(session.wait_end(SECONDS), 0)

    def test_an_image_that_cannot_be_opened_leaves_the_old_one(self):
        with self.run_guest() as session:
            self.wait_until_it_runs(session)
            os.truncate(self.path("two.iso"), 100 * 2048)
            self.assertIn("is truncated", self.ctl("change", self.path("two.iso"), status=1))
            self.assertIn("No such file", self.ctl("change", self.path("none.iso"), status=1))
            self.assertIn("one.iso", self.ctl("status"))
            self.assertEqual(self.boot_disc(session), b"one")

    def test_one_that_may_be_missing_leaves_an_empty_drive(self):
        with self.run_guest(lambda text: text.replace("file='one.iso'", "file='none.iso' startupPolicy='optional'")) as session:
            self.wait_until_it_runs(session)
            self.assertIn("hdc      cdrom   (no disc)", self.ctl("status"))
            self.ctl("insert", self.path("one.iso"))
            self.assertEqual(self.boot_disc(session), b"one")
            self.ctl("kill")
            self.assertEqual(session.wait_end(SECONDS), 0)
            self.assertIn("none.iso is not there; the drive is empty", session.process.stderr.read().decode())

    def test_may_lie_in_an_open_tray_at_the_start(self):
        with self.run_guest(lambda text: text.replace("dev='hdc'", "dev='hdc' tray='open'")) as session:
            self.wait_until_it_runs(session)
            self.assertIn("one.iso (the tray is open)", self.ctl("status"))
            session.wait_for(rb"the first disk", SECONDS)
            self.ctl("change", self.path("two.iso"))
            self.assertEqual(self.boot_disc(session), b"two")

    def test_is_found_by_the_guests_name(self):
        domain = self.domain(self.boot_disk("disk", "the first disk"))
        with self.start(domain):
            for _ in range(1000):
                done = subprocess.run([VMM, "ctl", self.name, "status"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
                if done.returncode == 0:
                    break
                time.sleep(0.05)
            self.assertIn(f"{self.name}: running".encode(), done.stdout)
        self.assertIn("no guest", self.ctl("status", guest="no-such-guest", status=1))

    def test_programs_speak_qmp(self):
        with self.run_guest() as session:
            self.wait_until_it_runs(session)
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(SECONDS)
                client.connect(self.path("control"))
                lines = client.makefile("rw", encoding="utf-8", newline="\n")
                self.assertIn("QMP", json.loads(lines.readline()))

                events = []

                def ask(**message):
                    lines.write(json.dumps(message))
                    lines.flush()
                    while True:
                        answer = json.loads(lines.readline())
                        if "event" not in answer:
                            return answer
                        events.append((answer["event"], answer["data"]))

                def moved(is_open):
                    return "DEVICE_TRAY_MOVED", {"device": "hdc", "id": "hdc", "tray-open": is_open}

                self.assertEqual(ask(execute="qmp_capabilities"), {"return": {}})
                self.assertEqual(ask(execute="query-status", id=7), {"return": {"running": True, "status": "running"}, "id": 7})
                drives = {drive["device"]: drive for drive in ask(execute="query-block")["return"]}
                self.assertEqual(drives["hdc"]["inserted"]["file"], self.path("one.iso"))
                self.assertEqual(ask(execute="eject", arguments={"id": "hdc"}), {"return": {}})
                self.assertEqual(events, [moved(True)])  # before the answer, as QEMU's
                disc = {"id": "hdc", "filename": self.path("two.iso")}
                self.assertEqual(ask(execute="blockdev-insert-medium", arguments=disc), {"return": {}})
                self.assertIn("take it out first", ask(execute="blockdev-insert-medium", arguments=disc)["error"]["desc"])
                self.assertEqual(ask(execute="blockdev-close-tray", arguments={"id": "hdc"}), {"return": {}})
                drives = {drive["device"]: drive for drive in ask(execute="query-block")["return"]}
                self.assertEqual((drives["hdc"]["inserted"]["file"], drives["hdc"]["tray_open"]), (self.path("two.iso"), False))
                self.assertEqual(ask(execute="blockdev-change-medium", arguments={**disc, "filename": self.path("one.iso")}), {"return": {}})
                self.assertEqual(events, [moved(True), moved(False), moved(True), moved(False)])
                self.assertEqual(ask(execute="migrate")["error"]["class"], "CommandNotFound")
                self.assertEqual(ask(execute="quit"), {"return": {}})
            self.assertEqual(session.wait_end(SECONDS), 0)


class FirstDisc(FirmwareTest):
    def test_one_that_firmware_will_pass_over_is_told(self):
        data_iso(self.path("data.iso"))
        domain = self.domain(self.boot_disk("disk", "the first disk"), cdrom="data.iso",
                             os_elements="<boot dev='cdrom'/><boot dev='hd'/>")
        with self.start(domain) as session:
            session.wait_for(rb"the first disk", SECONDS)
            session.type("\x01x")
            self.assertEqual(session.wait_end(SECONDS), 0)
            self.assertIn("data.iso is not bootable", session.process.stderr.read().decode())


if __name__ == "__main__":
    unittest.main()
