#!/usr/bin/env python3
"""Programs that speak QMP to QEMU find the same here: what libvirt asks first, events, and errors word for word.

The client is lib/qmp.py: Debian has none as a package. It is tried on QEMU, too, whose answers are what vmm's are measured by.
"""

import os
import shutil
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from firmware_guest import SECONDS, FirmwareTest  # noqa: E402
from qmp import Client, Fault  # noqa: E402

# Of what libvirt asks a QEMU that it does not know yet, and of one that runs: where query-commands has it.
PROBES = ("query-version", "query-commands", "query-qmp-schema", "query-events", "query-target", "query-kvm", "query-machines",
          "query-cpu-definitions", "query-tpm-models", "query-command-line-options", "query-migrate-capabilities", "query-sev-capabilities",
          "query-gic-capabilities", "query-name", "query-uuid", "query-status", "query-cpus-fast", "query-chardev", "query-block",
          "query-blockstats", "query-named-block-nodes", "query-block-jobs", "query-jobs", "query-iothreads", "query-pci", "query-balloon")
WRONG = ("nosuch", "stop x=1", "eject", "eject id=7", "eject id=hdc device=hdc", "eject id=hdc force=x", "eject id=nosuch", "eject device=nosuch",
         "blockdev-open-tray id=nosuch", "blockdev-change-medium id=hdc", "qmp_capabilities")


def arguments_of(words):
    return {name: int(value) if value.isdigit() else value for name, value in (word.split("=") for word in words)}


def surplus(ours, theirs):
    """What has a member or a type in our answer that it has not in theirs. Lists: by their first."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [f"{name}{each}" for name, value in ours.items() for each in (surplus(value, theirs[name]) if name in theirs else ["?"])]
    if isinstance(ours, list) and isinstance(theirs, list):
        return surplus(ours[0], theirs[0]) if ours and theirs else []
    return [] if type(ours) is type(theirs) else [f": {ours!r} for {theirs!r}"]


class Qmp(FirmwareTest):
    def connect(self, name, process):
        while not os.path.exists(self.path(name)):
            self.assertIsNone(process.poll())
            time.sleep(0.05)
        client = Client(self.path(name))
        self.addCleanup(client.close)
        return client

    def vmm(self):
        self.blank_disk("disc.iso")
        session = self.start(self.domain(self.boot_disk("disk", "the first disk"), cdrom="disc.iso", vcpus=2), "--control", self.path("control"))
        self.addCleanup(session.__exit__)
        return self.connect("control", session.process), session

    def qemu(self):
        process = subprocess.Popen(["qemu-system-x86_64", "-machine", "pc", "-accel", "tcg", "-smp", "2,dies=1", "-m", "64", "-S", "-nodefaults",
                                    "-display", "none", "-name", self.name, "-qmp", f"unix:{self.path('qemu')},server=on,wait=off",
                                    "-drive", "if=none,id=hdc,media=cdrom", "-device", "ide-cd,drive=hdc,bus=ide.1"], stdin=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return self.connect("qemu", process)

    def test_what_libvirt_asks_first(self):
        client, _ = self.vmm()
        self.assertEqual(client.greeting["version"], client.ask("query-version"))
        known = {command["name"] for command in client.ask("query-commands")}
        self.assertLessEqual({"qmp_capabilities", "query-version", "query-commands", "query-events", "query-kvm", "query-status"}, known)
        for command in PROBES:
            if command in known:
                self.assertIsInstance(client.ask(command), (dict, list), command)
            else:
                with self.assertRaises(Fault) as caught:
                    client.ask(command)
                self.assertEqual(caught.exception.error_class, "CommandNotFound", command)
        self.assertEqual(client.ask("query-kvm"), {"enabled": True, "present": True})
        if "query-qmp-schema" in known:
            schema = client.ask("query-qmp-schema")
            self.assertEqual({entry["name"] for entry in schema if entry["meta-type"] == "command"}, known)
            self.assertEqual({entry["name"] for entry in schema if entry["meta-type"] == "event"}, {event["name"] for event in client.ask("query-events")})

    @unittest.skipUnless(shutil.which("qemu-system-x86_64"), "QEMU is not installed")
    def test_answers_and_errors_are_those_of_qemu(self):
        ours, _ = self.vmm()
        theirs = self.qemu()
        self.assertLessEqual(set(ours.greeting), set(theirs.greeting))
        schema = theirs.ask("query-qmp-schema")
        for query, kind in (("query-commands", "command"), ("query-events", "event")):
            names = {each["name"] for each in ours.ask(query)} - {each["name"] for each in schema if each["meta-type"] == kind}
            # QEMU has given up one of them, which older clients ask still.
            self.assertEqual({name for name in names if not name.startswith("x-vmm-")}, {"query-events"} & names)
        for query in ("query-version", "query-name", "query-uuid", "query-status", "query-kvm"):
            self.assertEqual(surplus(ours.ask(query), theirs.ask(query)), [], query)
        for words in WRONG:
            command, *arguments = words.split()
            told = []
            for client in (ours, theirs):
                with self.assertRaises(Fault, msg=words) as caught:
                    client.ask(command, **arguments_of(arguments))
                told.append(str(caught.exception))
            self.assertEqual(*told)

    def test_events_come_at_any_time(self):
        client, session = self.vmm()
        other = self.connect("control", session.process)
        session.wait_for(rb"the first disk", SECONDS)
        other.ask("stop")
        other.ask("cont")
        self.assertIsNone(client.wait_for_event("STOP"))
        self.assertIsNone(client.wait_for_event("RESUME"))
        session.type("x")
        self.assertEqual(client.wait_for_event("RESET"), {"guest": True, "reason": "guest-reset"})
        other.ask("query-status")  # events that came before its answer are kept
        self.assertEqual([event["event"] for event in other.events], ["STOP", "RESUME", "RESET"])
        for event in other.events:
            self.assertEqual(set(event["timestamp"]), {"seconds", "microseconds"})
        client.ask("quit")
        self.assertEqual(other.wait_for_event("SHUTDOWN"), {"guest": False, "reason": "host-qmp-quit"})
        self.assertEqual(session.wait_end(SECONDS), 0)
        with self.assertRaises((EOFError, OSError)):
            other.ask("query-status")


if __name__ == "__main__":
    unittest.main()
