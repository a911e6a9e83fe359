#!/usr/bin/env python3
"""What vmm's query-qmp-schema says, against QEMU's: commands and events that both have take, return and tell the same."""

import json
import os
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from firmware_guest import SECONDS, FirmwareTest  # noqa: E402
from qmp import Client  # noqa: E402

# Gone from QEMU's schema, or never there, though its names are in use: query-events until version 6.
OWN = {"query-events"}
# What vmm needs beyond QEMU's: it has no blockdev-add, and so no node that could be named.
MORE_ARGUMENTS = {"blockdev-backup": {"format", "mode"}, "blockdev-insert-medium": {"device", "filename", "format"}, "blockdev-remove-medium": {"device"}}
# What QEMU wants, or may have, and vmm has not.
LESS_ARGUMENTS = {"blockdev-insert-medium": {"node-name"}}
# What QEMU 7 always tells and vmm does not: of a list that is always empty, and what QEMU 9 tells no more.
LESS_RESULTS = {"query-blockstats.stats.timed_stats": None, "query-status": {"singlestep"}}


def schema_of_qemu():
    """None where QEMU is not installed."""
    try:
        process = subprocess.run(["qemu-system-x86_64", "-M", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"], text=True,
                                 input='{"execute":"qmp_capabilities"}{"execute":"query-qmp-schema","id":1}{"execute":"quit"}',
                                 stdout=subprocess.PIPE, timeout=SECONDS, check=True)
    except FileNotFoundError:
        return None
    return next(message["return"] for message in map(json.loads, process.stdout.splitlines()) if message.get("id") == 1)


class Schema:
    def __init__(self, entries):
        self.entries = {(entry["meta-type"] in ("command", "event"), entry["name"]): entry for entry in entries}

    def call(self, name):
        return self.entries.get((True, name))

    def calls(self):
        return [entry for (is_call, _), entry in self.entries.items() if is_call]

    def type(self, name):
        return self.entries[False, name]


class Comparison:
    """Is what one says of a type true of the other's, too?"""

    def __init__(self, own, other):
        self.own, self.other, self.faults, self.seen = own, other, [], set()

    def arguments(self, name, own, other):
        """A client of the other may send what it sends, but for what this lacks; and all that is taken is known there."""
        own, other = (schema.type(entry["arg-type"])["members"] for schema, entry in ((self.own, own), (self.other, other)))
        own, other = ({member["name"]: member for member in members} for members in (own, other))
        for member in own.values():
            if member["name"] in MORE_ARGUMENTS.get(name, ()):
                continue
            if member["name"] not in other:
                self.faults.append(f"{name}: {member['name']} is nothing that QEMU takes")
                continue
            if "default" in other[member["name"]] and "default" not in member:
                self.faults.append(f"{name}: {member['name']} may be left out with QEMU")
            self.types(f"{name}.{member['name']}", member["type"], other[member["name"]]["type"], is_result=False)
        for member in other.values():
            if member["name"] not in own and "default" not in member and member["name"] not in LESS_ARGUMENTS.get(name, ()):
                self.faults.append(f"{name}: {member['name']} is not taken")

    def types(self, where, own_name, other_name, is_result=True):
        if (own_name, other_name) in self.seen:
            return
        self.seen.add((own_name, other_name))
        own, other = self.own.type(own_name), self.other.type(other_name)
        if own["meta-type"] == "enum" and other["meta-type"] == "enum":
            unknown = set(own["values"]) - set(other["values"])
            if unknown:
                self.faults.append(f"{where}: {unknown} are no values of QEMU's")
        elif own["meta-type"] != other["meta-type"] and not (own["meta-type"] == "builtin" and other["meta-type"] == "enum"):
            if own["meta-type"] != "enum" or other.get("json-type") != "string":
                self.faults.append(f"{where}: {own['meta-type']} is {other['meta-type']} with QEMU")
        elif own["meta-type"] == "builtin":
            if own["json-type"] != other.get("json-type", "string"):
                self.faults.append(f"{where}: {own['json-type']} is {other.get('json-type')} with QEMU")
        elif own["meta-type"] == "array":
            self.types(where, own["element-type"], other["element-type"], is_result)
        elif own["meta-type"] == "object":
            self.members(where, own, other, is_result)

    def members(self, where, own, other, is_result):
        known = {member["name"]: member for member in other["members"]}
        for member in own["members"]:
            if member["name"] not in known:
                self.faults.append(f"{where}: {member['name']} is not QEMU's")
            else:
                self.types(f"{where}.{member['name']}", member["type"], known[member["name"]]["type"], is_result)
        if LESS_RESULTS.get(where, ()) is None:
            return
        always = {member["name"] for member in own["members"] if "default" not in member}
        for name in {member["name"] for member in other["members"] if "default" not in member} - always - LESS_RESULTS.get(where, set()):
            self.faults.append(f"{where}: {name} is always there with QEMU")


class AgainstQemu(FirmwareTest):
    maxDiff = None

    def test_commands_and_events_are_the_same(self):
        other = schema_of_qemu()
        if other is None:
            self.skipTest("QEMU is not installed")
        with self.start(self.domain(self.boot_disk("disk", "the first disk")), "--control", self.path("control")):
            with Client(self.path("control"), SECONDS) as client:
                own = Schema(client.ask("query-qmp-schema"))
        other = Schema(other)
        comparison = Comparison(own, other)
        for call in own.calls():
            if call["name"].startswith("x-vmm-") or call["name"] in OWN:
                continue
            theirs = other.call(call["name"])
            if theirs is None:
                comparison.faults.append(f"{call['name']} is not QEMU's")
                continue
            self.assertEqual(call["meta-type"], theirs["meta-type"], call)
            if call["meta-type"] == "command":
                comparison.arguments(call["name"], call, theirs)
                comparison.types(call["name"], call["ret-type"], theirs["ret-type"])
            else:
                comparison.types(call["name"], call["arg-type"], theirs["arg-type"])
        self.assertEqual("\n".join(comparison.faults), "")


if __name__ == "__main__":
    unittest.main()
