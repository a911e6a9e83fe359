#!/usr/bin/env python3
"""The images of a running guest's disk are changed, by people and by programs."""

import json
import os
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from control_test import Control  # noqa: E402
from firmware_guest import SECONDS  # noqa: E402
from linux_guest import VMM  # noqa: E402
from qmp import Client  # noqa: E402

VMM_IMG = os.path.join(os.path.dirname(VMM), "vmm-img")

def run(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=True).stdout


class LiveDisk(Control):
    """A guest whose boot sector waits for a key, and boots from its disk again then."""

    def boot_disk(self, name, text, form="raw"):
        made = super().boot_disk(name, text, form)
        with open(self.path(name), "ab") as file:  # several pieces to copy
            file.write(os.urandom(4 << 20))
        return made

    def still_boots(self, session):
        session.type("x")
        session.wait_for(rb"the first disk", SECONDS)

    def disk_of(self, client):
        return client.ask("query-block")[0]["device"]

    def chain(self, client):
        image, files = client.ask("query-block")[0]["inserted"]["image"], []
        while image:
            files.append(os.path.basename(image["filename"]))
            image = image.get("backing-image")
        return files

    def test_snapshots_are_committed_and_streamed(self):
        with self.run_guest() as session:
            session.wait_for(rb"the first disk", SECONDS)
            with Client(self.path("control"), SECONDS) as client:
                disk = self.disk_of(client)
                first = self.chain(client)[0]
                said = self.ctl("snapshot", disk, self.path("one.qcow2"))
                self.assertIn(f"writes to {self.path('one.qcow2')} from now on", said)
                client.ask("blockdev-snapshot-sync", device=disk, **{"snapshot-file": self.path("two.qcow2")})
                self.assertEqual(self.chain(client), ["two.qcow2", "one.qcow2", first])
                self.still_boots(session)
                self.assertIn("there is such a file already", self.ctl("snapshot", disk, self.path("one.qcow2"), status=1))

                # Into the one below, or the one that is named.
                self.ctl("snapshot", disk, self.path("short-lived.qcow2"))
                self.ctl("commit", disk)
                self.assertEqual(self.chain(client), ["two.qcow2", "one.qcow2", first])
                client.wait_for_event("BLOCK_JOB_COMPLETED")
                told = json.loads(self.ctl("commit", disk, "--base", self.path(first), "--output=json"))
                self.assertEqual((told["device"], os.path.basename(told["file"])), (disk, first))
                self.assertEqual(self.chain(client), [first])
                client.wait_for_event("BLOCK_JOB_READY")
                completed = client.wait_for_event("BLOCK_JOB_COMPLETED")
                self.assertEqual((completed["type"], completed["offset"]), ("commit", completed["len"]))
                self.still_boots(session)

                client.ask("blockdev-snapshot-sync", device=disk, **{"snapshot-file": self.path("three.qcow2")})
                client.ask("block-stream", device=disk, **{"job-id": "s"})
                states = []
                while "null" not in states:
                    event = client.wait_for_event("JOB_STATUS_CHANGE")
                    states += [event["status"]] if event["id"] == "s" else []
                self.assertEqual(states, ["created", "running", "waiting", "pending", "concluded", "null"])
                self.assertEqual(self.chain(client), ["three.qcow2"])
                self.still_boots(session)
                client.ask("quit")
            self.assertEqual(session.wait_end(SECONDS), 0)
            self.assertIn(b"name the first one there before the guest is started again", session.process.stderr.read())
        for image in ("one.qcow2", "two.qcow2", "short-lived.qcow2", "three.qcow2"):
            run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", self.path(first), self.path(image))
            run("qemu-img", "check", "-q", "-f", "qcow2", self.path(image))

    def test_it_is_backed_up(self):
        with self.run_guest() as session:
            session.wait_for(rb"the first disk", SECONDS)
            with Client(self.path("control"), SECONDS) as client:
                disk, source = self.disk_of(client), self.chain(client)[0]
                self.ctl("backup", disk, self.path("whole.qcow2"))
                self.ctl("backup", disk, self.path("whole.raw"), "--format", "raw")
                self.assertEqual(self.ctl("jobs"), "")
                self.assertIn("stands on nothing", self.ctl("backup", disk, self.path("other"), "--format", "raw", "--sync", "top", status=1))
                self.assertIn("there is such a file already", self.ctl("backup", disk, self.path("whole.raw"), "--format", "raw", status=1))
                # Those that have ended and are kept are bounded.
                for number in range(64):
                    client.ask("drive-backup", device=disk, target=self.path(f"many-{number}"), sync="full", **{"job-id": f"job-{number}", "auto-dismiss": False})
                    while client.ask("query-block-jobs")[-1]["status"] != "concluded":
                        time.sleep(0.02)
                self.assertIn("64 jobs already", self.ctl("backup", disk, self.path("too-many"), status=1))
                for number in range(64):
                    client.ask("job-dismiss", id=f"job-{number}")
                # One that takes its time, and is given up, leaves nothing.
                client.ask("drive-backup", device=disk, target=self.path("slow"), sync="full", speed=1, **{"job-id": "slow"})
                self.assertIn("slow       backup  running", self.ctl("jobs"))
                self.assertIn("is busy", self.ctl("resize", disk, "+1M", status=1))
                self.assertIn("is busy", self.ctl("backup", disk, self.path("other"), status=1))
                self.ctl("cancel", "slow")
                client.wait_for_event("BLOCK_JOB_CANCELLED")
                self.still_boots(session)
            self.ctl("kill")
            self.assertEqual(session.wait_end(SECONDS), 0)
        run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", self.path(source), self.path("whole.qcow2"))
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", self.path(source), self.path("whole.raw"))
        self.assertEqual([name for name in os.listdir(self.path("")) if "slow" in name], [])

    def test_after_a_kill_the_image_that_is_no_more_the_disk_is_refused(self):
        with self.run_guest() as session:
            session.wait_for(rb"the first disk", SECONDS)
            with Client(self.path("control"), SECONDS) as client:
                disk, first = self.disk_of(client), self.chain(client)[0]
                self.ctl("snapshot", disk, self.path("top.qcow2"))
                session.process.kill()
                session.process.wait(SECONDS)
        domain = self.path("guest.xml")
        for options in ([], ["--check"], ["--ephemeral", "--commit"]):
            self.assertIn(f"is in {self.path('top.qcow2')}: name that one", self.refusal(domain, 2, *options))
        cloned = subprocess.run([VMM, "clone", domain, "second"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False)
        self.assertEqual(cloned.returncode, 2)
        self.assertIn(f"is in {self.path('top.qcow2')}: name that one", cloned.stderr)

        # In a commit the base is not to be used for anything.
        with open(domain, encoding="utf-8") as file:
            text = file.read()
        with open(domain, "w", encoding="utf-8") as file:
            file.write(text.replace(f"file='{first}'", "file='top.qcow2'").replace("type='raw'", "type='qcow2'"))
        run("qemu-io", "-f", "qcow2", "-c", "write -P 7 2M 1M", self.path("top.qcow2"))
        with self.start(domain, "--control", self.path("control")) as session:
            session.wait_for(rb"the first disk", SECONDS)
            with Client(self.path("control"), SECONDS) as client:
                client.ask("block-commit", device=disk, speed=1)
                while not client.ask("query-block-jobs")[0]["offset"]:
                    time.sleep(0.02)
                session.process.kill()
                session.process.wait(SECONDS)
        with open(domain, "w", encoding="utf-8") as file:
            file.write(text)
        for options in ([], ["--ephemeral"], ["--check"]):
            self.assertIn(f"a commit of {self.path('top.qcow2')} into it was cut short", self.refusal(domain, 2, *options))
        run(VMM_IMG, "commit", "-q", "-f", "qcow2", self.path("top.qcow2"))
        with self.start(domain) as session:
            session.wait_for(rb"the first disk", SECONDS)
        # Back to what was before a snapshot.
        with self.start(domain, "--control", self.path("control")) as session:
            session.wait_for(rb"the first disk", SECONDS)
            self.ctl("snapshot", disk, self.path("next.qcow2"))
            self.ctl("kill")
        self.refusal(domain, 2, "--check")
        self.assertIn("next.qcow2", run(VMM_IMG, "info", "-f", "raw", self.path(first)))
        self.assertIn(f"what its guest wrote since is in {self.path('next.qcow2')}", run(VMM_IMG, "unmark", self.path(first)))
        self.refusal(domain, 0, "--check")

    def test_it_grows(self):
        with self.run_guest() as session:
            session.wait_for(rb"the first disk", SECONDS)
            with Client(self.path("control"), SECONDS) as client:
                disk, source = self.disk_of(client), self.chain(client)[0]
                before = os.path.getsize(self.path(source))
                self.ctl("resize", disk, "+1M")
                self.assertEqual(os.path.getsize(self.path(source)), before + (1 << 20))
                self.assertEqual(client.ask("query-block")[0]["inserted"]["image"]["virtual-size"], before + (1 << 20))
                self.assertIn("cannot become shorter", self.ctl("resize", disk, "1M" if before > 1 << 20 else "512", status=1))
                self.still_boots(session)
            self.ctl("kill")
            self.assertEqual(session.wait_end(SECONDS), 0)


del Control  # its own tests run elsewhere

if __name__ == "__main__":
    unittest.main()
