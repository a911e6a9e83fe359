#!/usr/bin/env python3
"""Clients of the control socket that send nonsense, flood, never read or hang, while the guest works."""

import json
import os
import random
import socket
import sys
import threading
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from firmware_guest import SECONDS, FirmwareTest  # noqa: E402
from linux_guest import VMM, Session  # noqa: E402
from qmp import Client  # noqa: E402

GUEST = os.path.join(os.path.dirname(VMM), "guests", "blkbench.elf")
MALFORMED = 10_000
CLIENTS = 100
GROWTH_KIB = 40 << 10  # 100 clients, with what each may have unread and unsaid
NEGOTIATE = b'{"execute":"qmp_capabilities"}'


def malformed(number):
    """The number-th message that is answered with an error, and with one: in a line of its own."""
    rest = random.Random(number)
    kinds = (
        lambda: b"nonsense",
        lambda: b"[1, 2, 3]",
        lambda: b'{"execute":}',
        lambda: b'{"execute":"' + rest.randbytes(8).hex().encode() + b'"}',
        lambda: b'{"execute":"qmp_capabilities"}',  # out of order: it was sent before
        lambda: b'{"execute":"stop","arguments":[]}',
        lambda: b'{"execute":"eject","arguments":{"id":"hdc","device":"hdc"}}',
        lambda: b'{"exec-oob":"query-status"}',
        lambda: b'{"execute":7}',
        lambda: b'{"return":{}}',
        lambda: b'{"execute":"stop","id":' + b"[" * 40 + b"]" * 40 + b"}",
        lambda: bytes(byte for byte in rest.randbytes(200) if byte not in b"{ \t\r\n") + b".",
        lambda: b'{"execute":"query-name","arguments":{"' + b"x" * rest.randrange(1000) + b'":1}}',
        lambda: b'{"execute":"\xff\xfe"}',
    )
    return kinds[number % len(kinds)]() + b"\n"


class Flood(threading.Thread):
    """Sends until it is told to stop, or the socket takes no more for now; then it goes on a little later."""

    def __init__(self, path, text, reads):
        super().__init__(daemon=True)
        self.path, self.text, self.reads = path, text, reads
        self.is_over = threading.Event()

    def run(self):
        while not self.is_over.is_set():
            try:
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(self.path)
                    client.settimeout(0.2)
                    client.sendall(NEGOTIATE)
                    while not self.is_over.is_set():
                        client.send(self.text)
                        if self.reads:
                            client.recv(1 << 16)
            except OSError:
                self.is_over.wait(0.05)


class HostileClients(FirmwareTest):
    def run_guest(self):
        with open(self.path("disk.raw"), "wb") as file:
            file.truncate(64 << 20)
        with open(self.path("guest.xml"), "w", encoding="utf-8") as file:
            file.write(f"<domain type='kvm'><name>{self.name}</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='pc'>hvm</type>"
                       f"<kernel>{GUEST}</kernel><cmdline>seconds=100000 op=randwrite bs=4096 depth=32</cmdline></os><features><acpi/></features>"
                       "<devices><disk type='file'><driver name='qemu' type='raw' cache='writeback'/><source file='disk.raw'/>"
                       "<target dev='vda' bus='virtio'/></disk><serial type='stdio'/></devices></domain>")
        return Session([VMM, "--domain", self.path("guest.xml"), "--control", self.path("control"), "--log-level", "error"])

    def connect(self):
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.settimeout(SECONDS)
        client.connect(self.path("control"))
        return client

    def resident_kib(self, process):
        with open(f"/proc/{process}/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))

    def wait_until_it_works(self):
        """Until it has written to its disk a few times more."""
        end = time.monotonic() + SECONDS
        times = set()
        while len(times) < 5:
            self.assertLess(time.monotonic(), end, "the guest writes nothing")
            times.add(os.stat(self.path("disk.raw")).st_mtime_ns)
            time.sleep(0.05)

    def test_ten_thousand_malformed_messages_are_answered_each(self):
        with self.run_guest() as session:
            process = session.process.pid
            while not os.path.exists(self.path("control")):
                self.assertIsNone(session.process.poll())
                time.sleep(0.05)
            self.wait_until_it_works()
            before = self.resident_kib(process)
            with Client(self.path("control")) as polite:
                client = self.connect()
                lines = client.makefile("rb")
                self.assertIn(b"QMP", lines.readline())
                client.sendall(b'{"execute":"query-status"}')  # before the negotiation
                self.assertEqual(json.loads(lines.readline())["error"]["class"], "CommandNotFound")
                client.sendall(NEGOTIATE)
                self.assertEqual(json.loads(lines.readline()), {"return": {}})
                for number in range(MALFORMED):
                    message = malformed(number)
                    client.sendall(message)
                    answer = json.loads(lines.readline())
                    self.assertIn("error", answer, message)
                    if number % 1000 == 0:
                        self.assertEqual(polite.ask("query-status"), {"running": True, "status": "running"})
                client.sendall(b'{"execute":"query-name","id":1}')
                self.assertEqual(json.loads(lines.readline()), {"return": {"name": self.name}, "id": 1})
            self.wait_until_it_works()
            self.assertLess(self.resident_kib(process) - before, GROWTH_KIB)

    def test_a_hundred_clients_at_once_keep_nobody_waiting(self):
        with self.run_guest() as session:
            process = session.process.pid
            while not os.path.exists(self.path("control")):
                self.assertIsNone(session.process.poll())
                time.sleep(0.05)
            self.wait_until_it_works()
            with Client(self.path("control")) as polite, Client(self.path("control")) as watching:
                before = self.resident_kib(process)
                floods = [Flood(self.path("control"), text, reads) for text in (b"{" * 4096, b"{}" * 2048, b"\0" * 4096,
                                                                                b'{"execute":"query-commands"}' * 100)
                          for reads in (False, True)]
                for flood in floods:
                    flood.start()
                self.addCleanup(lambda: [flood.is_over.set() for flood in floods])
                others = []
                for number in range(CLIENTS):
                    client = self.connect()
                    client.settimeout(0.2)
                    others.append(client)
                    try:
                        client.sendall((b"", NEGOTIATE, b'{"execute":"query-', NEGOTIATE + b'{"execute":"query-block"}' * 1000,
                                        NEGOTIATE + b'{"execute":"query-status","id":"' + b"x" * 60_000 + b'"}')[number % 5])
                    except TimeoutError:
                        pass  # it is not read, as it does not read
                for _ in range(50):
                    self.assertEqual(polite.ask("query-status")["status"], "running")
                polite.ask("stop")
                watching.wait_for_event("STOP")
                polite.ask("cont")
                watching.wait_for_event("RESUME")
                self.wait_until_it_works()
                with Client(self.path("control")) as late:
                    self.assertEqual(late.ask("query-name"), {"name": self.name})
                self.assertLess(self.resident_kib(process) - before, GROWTH_KIB)
                for flood in floods:
                    flood.is_over.set()
                for flood in floods:
                    flood.join(SECONDS)
                for client in others:
                    client.close()
                self.assertEqual(polite.ask("query-status")["status"], "running")
                polite.ask("quit")
            self.assertEqual(session.wait_end(SECONDS), 0)


if __name__ == "__main__":
    unittest.main()
