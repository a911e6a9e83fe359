"""How fast a running guest's control socket answers, and stops and goes on: QMP, the same words for both sides."""

import socket
import statistics
import sys
import time

sys.dont_write_bytecode = True

from figures import Table  # noqa: E402

CONNECT_SECONDS = 60
STATUS = b'{"execute":"query-status"}\n'
STOP = b'{"execute":"stop"}\n'
CONTINUE = b'{"execute":"cont"}\n'


class Client:
    """As little as a client can be: what it takes itself counts for both sides."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
        self.receive(b'"QMP"')
        self.ask(b'{"execute":"qmp_capabilities"}\n')

    def ask(self, command):
        self.socket.sendall(command)
        self.receive(b'"return"')

    def receive(self, word):
        """Lines, until one with this word has come."""
        seen = b""
        while word not in seen or not seen.endswith(b"\n"):
            got = self.socket.recv(1 << 16)
            if not got:
                raise SystemExit("the control socket was closed")
            seen += got

    def microseconds(self, count, *commands):
        """Of all of these, one after the other: the median of so many times."""
        samples = []
        for _ in range(count):
            start = time.perf_counter_ns()
            for command in commands:
                self.ask(command)
            samples.append((time.perf_counter_ns() - start) / 1000)
        return statistics.median(samples)


def measure(ours, theirs, paths, count, run, end):
    """`ours`, `theirs`: commands that make the sockets `paths`. `run` starts one, and waits until its guest is under load."""
    children = [run(ours), run(theirs)]
    try:
        clients = [Client(path) for path in paths]
        # The one that is not asked stands still meanwhile.
        for client in clients:
            client.ask(STOP)
        figures = {}
        for name, rounds, commands in (("query-status, round trip", 500, (STATUS,)), ("stop and cont, 1 vCPU under load", 50, (STOP, CONTINUE))):
            samples = []
            for _ in range(count + 1):
                pair = []
                for client in clients:
                    client.ask(CONTINUE)
                    pair.append(client.microseconds(rounds, *commands))
                    client.ask(STOP)
                samples.append(pair)
            figures[name] = samples[1:]
    finally:
        for child in children:
            end(child)
    table = Table("control: QMP at a unix socket, of a guest with 1 vCPU that computes; QEMU pc")
    for (name, samples), wanted in zip(figures.items(), (0.5, 1.0)):
        table.row(name, [a for a, _ in samples], [b for _, b in samples], wanted, unit=" us")

