#!/usr/bin/env python3
"""The metrics of a guest that runs, at a socket and at a port, judged by a reader of the format that forgives nothing."""

import json
import os
import re
import socket
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from firmware_guest import SECONDS, FirmwareTest  # noqa: E402
from linux_guest import VMM  # noqa: E402
from qmp import Client, connect  # noqa: E402

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (NaN|[+-]Inf|[+-]?[0-9.]+(?:e[+-]?[0-9]+)?)")
SUFFIXES = {"counter": [""], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}


class Metrics:
    """Prometheus' text format, version 0.0.4: samples by name and labels. Whatever is not as it should be is an AssertionError."""

    def __init__(self, text):
        self.samples, self.types, self.helps = {}, {}, {}
        family = None
        assert text.endswith("\n"), "the last line has no end"
        for line in text[:-1].split("\n"):
            if line.startswith("# HELP "):
                family = self.begin(*re.fullmatch(rf"# HELP ({NAME}) (.+)", line).groups())
            elif line.startswith("# TYPE "):
                name, kind = re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line).groups()
                assert name == family and name not in self.types, line
                self.types[name] = kind
            else:
                self.add(family, line)
        assert self.helps.keys() == self.types.keys()
        for name, kind in self.types.items():
            assert (kind == "counter") == name.endswith("_total"), name
            if kind == "histogram":
                self.check_histogram(name)

    def begin(self, name, text):
        assert name not in self.helps, f"{name} comes twice"
        self.helps[name] = text
        return name

    def add(self, family, line):
        found = SAMPLE.fullmatch(line)
        assert found, f"no sample: {line!r}"
        name, labels, value = found[1], dict(re.findall(LABEL, found[2] or "")), float(found[found.lastindex])
        assert name in [family + suffix for suffix in SUFFIXES[self.types[family]]], line
        assert (found[2] or "").count('="') == len(labels), f"a label comes twice: {line!r}"
        key = (name, tuple(sorted(labels.items())))
        assert key not in self.samples, f"a sample comes twice: {line!r}"
        assert value >= 0, line
        self.samples[key] = value

    def check_histogram(self, name):
        """Buckets of all labels alike: growing, to +Inf, which is the count."""
        series = {}
        for (sample, labels), value in self.samples.items():
            if sample == f"{name}_bucket":
                own = dict(labels)
                series.setdefault(tuple(sorted((key, each) for key, each in labels if key != "le")), []).append((own["le"], value))
        assert series, name
        for labels, buckets in series.items():
            ends = [float(end) for end, _ in buckets]
            counts = [value for _, value in buckets]
            assert ends == sorted(set(ends)) and ends[-1] == float("inf"), buckets
            assert counts == sorted(counts), buckets
            assert self.samples[f"{name}_count", labels] == counts[-1]
            assert (f"{name}_sum", labels) in self.samples

    def get(self, name, **labels):
        return self.samples[name, tuple(sorted(labels.items()))]


class Served(FirmwareTest):
    def fetch(self, client, request=b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        """The status, the fields and the body of the answer."""
        with client:
            client.sendall(request)
            answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
        head, body = answer.split(b"\r\n\r\n", 1)
        status, *fields = head.decode().split("\r\n")
        fields = dict(field.split(": ", 1) for field in fields)
        self.assertEqual(int(fields["Content-Length"]), len(body))
        return int(status.split()[1]), fields, body.decode()

    def run_guest(self, *options, others=""):
        return self.start(self.domain(self.boot_disk("disk", "the first disk"), others=others, vcpus=2), "--control", self.path("control"), *options)

    def test_at_a_socket(self):
        with self.run_guest("--metrics", self.path("metrics")) as session:
            session.wait_for(rb"the first disk", SECONDS)
            self.assertEqual(os.stat(self.path("metrics")).st_mode & 0o777, 0o600)
            status, fields, text = self.fetch(connect(self.path("metrics"), SECONDS))
            self.assertEqual((status, fields["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
            metrics = Metrics(text)
            self.assertEqual(metrics.get("vmm_guest_running"), 1)
            self.assertEqual(metrics.get("vmm_guest_memory_bytes"), 64 << 20)
            self.assertGreater(metrics.get("vmm_resident_memory_bytes"), 1 << 20)
            self.assertGreater(metrics.get("vmm_vcpu_exits_total", vcpu="0", reason="io"), 0)
            self.assertGreater(metrics.get("vmm_vcpu_cpu_seconds_total", vcpu="0"), 0)
            self.assertEqual(metrics.get("vmm_disk_operations_total", disk="vda", operation="read"),
                             metrics.get("vmm_disk_latency_seconds_count", disk="vda", operation="read"))
            self.assertGreaterEqual(metrics.get("vmm_disk_bytes_total", disk="vda", operation="read"), 512)
            with Client(self.path("control"), SECONDS) as client:
                client.ask("stop")
            self.assertEqual(Metrics(self.fetch(connect(self.path("metrics"), SECONDS))[2]).get("vmm_guest_running"), 0)
            self.assertEqual(self.fetch(connect(self.path("metrics"), SECONDS), b"GET / HTTP/1.0\r\n\r\n")[0], 404)
            session.type("\x01x")
            self.assertEqual(session.wait_end(SECONDS), 0)
            self.assertFalse(os.path.exists(self.path("metrics")))

    def test_of_tables_that_are_found_in_memory(self):
        self.boot_disk("disk", "the first disk")
        subprocess.run([f"{os.path.dirname(VMM)}/vmm-img", "convert", "-q", "-O", "qcow2", "-f", "raw", self.path("disk"), self.path("disk.qcow2")],
                       check=True)
        with self.start(self.domain(("disk.qcow2", "qcow2", "")), "--metrics", self.path("metrics")) as session:
            session.wait_for(rb"the first disk", SECONDS)
            session.type("x")
            session.wait_for(rb"the first disk", SECONDS)
            metrics = Metrics(self.fetch(connect(self.path("metrics"), SECONDS))[2])
            self.assertGreater(metrics.get("vmm_disk_table_lookups_total", disk="vda", result="hit"), 0)
            self.assertGreater(metrics.get("vmm_disk_table_lookups_total", disk="vda", result="miss"), 0)

    def test_at_a_port_of_the_loopback_interface(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        with self.run_guest("--metrics", str(port)) as session:
            session.wait_for(rb"the first disk", SECONDS)
            self.assertEqual(Metrics(self.fetch(socket.create_connection(("127.0.0.1", port), SECONDS))[2]).get("vmm_guest_running"), 1)
            with open("/proc/net/tcp", encoding="ascii") as table:
                listeners = [line.split()[1] for line in table if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")]
            self.assertEqual(listeners, [f"0100007F:{port:04X}"])
            with socket.create_server(("127.0.0.1", 0)) as taken:
                errors = self.refusal(self.path("guest.xml"), 1, "--control", self.path("other"), "--metrics", str(taken.getsockname()[1]))
                self.assertIn("cannot listen at the metrics' port", errors)

    def test_places_that_cannot_be(self):
        domain = self.domain(self.boot_disk("disk", "the first disk"))
        self.assertIn("ports are 1 to 65535", self.refusal(domain, 2, "--metrics", "70000"))
        self.assertIn("--metrics", self.refusal(domain, 1, "--check", "--metrics", self.path("no-folder/metrics")))


class Clients(FirmwareTest):
    """Those that say nothing, or nonsense, or read nothing, are nobody's business."""

    def test_do_not_hold_up_the_guest(self):
        with self.start(self.domain(self.boot_disk("disk", "the first disk")), "--control", self.path("control"), "--metrics", self.path("metrics")) as session:
            session.wait_for(rb"the first disk", SECONDS)
            hung = [connect(self.path("metrics"), SECONDS) for _ in range(30)]
            for number, client in enumerate(hung):
                try:
                    client.sendall((b"G", b"\0" * 100_000, b"GET /metrics HTTP/1.0\r\n\r\n")[number % 3])
                except OSError:
                    pass  # it is one too many
            with Client(self.path("control"), SECONDS) as client:
                self.assertEqual(client.ask("query-status"), {"running": True, "status": "running"})
            session.type("x")
            session.wait_for(rb"the first disk", SECONDS)
            for client in hung:
                client.close()


class Reader(unittest.TestCase):
    """The judge itself."""

    def test_forgives_nothing(self):
        good = '# HELP a_total x\n# TYPE a_total counter\na_total{b="c\\"d"} 1\n'
        self.assertEqual(Metrics(good).get("a_total", b='c\\"d'), 1)
        for bad in (good[:-1], good + 'a_total{b="c\\"d"} 2\n', good.replace("a_total{", "b_total{"), good.replace(" 1\n", " x\n"), good + "\n",
                    good.replace('"c', 'c'), good.replace("counter", "gauge"), good + good, good.replace("TYPE a", "TYPE b"),
                    json.dumps({"a": 1}) + "\n"):
            with self.assertRaises((AssertionError, AttributeError, KeyError), msg=bad):
                Metrics(bad)


if __name__ == "__main__":
    unittest.main()
