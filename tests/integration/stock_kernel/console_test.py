#!/usr/bin/env python3
"""The serial console of a stock kernel: everything arrives, in order, in both directions and on each kind of console."""

import hashlib
import select
import socket
import tty
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import BOOT_SECONDS, MIB, STDIO, Guest, GuestTest, main  # noqa: E402

BYTES = MIB // 8  # each is an exit of the guest, some 100 us in the lab
# The same bytes on both sides, without a file to carry them: lines of a counter.
FLOOD = f"""
awk 'BEGIN {{ for (i = 1; i <= {BYTES // 16}; i++) printf "%015d\\n", i }}' >/tmp-flood
echo begin
cat /tmp-flood
echo end
"""
SHELL = "echo ready\nstty -echo\nsh 2>&1\n"


def flood():
    return b"".join(b"%015d\n" % number for number in range(1, BYTES // 16 + 1))


class Stdio(GuestTest):
    def test_long_output_arrives_complete_and_in_order(self):
        with Guest(FLOOD, modules=()) as guest:
            run = guest.run()
        self.assert_ended_well(run)
        output = run.output.replace(b"\r\n", b"\n")
        got = output.partition(b"begin\n")[2].rpartition(b"end\n")[0]
        self.assertEqual(len(got), BYTES)
        self.assertEqual(hashlib.sha256(got).digest(), hashlib.sha256(flood()).digest())

    def test_a_pipe_types_at_the_guest(self):
        with Guest(SHELL, modules=()) as guest, guest.start() as run:
            run.wait_for("^ready")
            # More than the 16 bytes that the port's FIFO holds; less than the terminal takes as one line.
            run.type("echo sum=$(echo " + "x" * 2000 + " | wc -c)\nexit\n")
            run.wait_end()
            self.assert_ended_well(run)
            self.assertRegex(run.output, rb"sum=2001\r?\n")


class OtherConsoles(GuestTest):
    def test_unix_socket_that_comes_and_goes(self):
        serials = "<serial type='unix'><source mode='bind' path='console.sock'/><target port='0'/></serial>"
        with Guest(SHELL, modules=(), serials=serials) as guest, guest.start() as run:
            for is_first in (True, False):
                with self.connect(guest.path("console.sock"), run) as stream:
                    stream.settimeout(BOOT_SECONDS)
                    if is_first:
                        self.wait_for(b"ready", stream.recv)
                    self.ask(stream.recv, stream.sendall)
            with self.connect(guest.path("console.sock"), run) as stream:
                stream.sendall(b"exit\n")
                run.wait_end()
            self.assert_ended_well(run)
            self.assertFalse(os.path.exists(guest.path("console.sock")))

    def test_pty(self):
        serials = "<serial type='pty'><target port='0'/></serial>"
        with Guest(SHELL, modules=(), serials=serials) as guest, guest.start(["--log-level", "info"]) as run:
            run.wait_for_error(r"/dev/pts/\d+\n")
            path = "/dev/pts/" + run.errors.partition("/dev/pts/")[2].split()[0]
            terminal = os.open(path, os.O_RDWR | os.O_NOCTTY)
            try:
                tty.setraw(terminal)
                self.wait_for(b"ready", lambda size: self.read(terminal, size))
                self.ask(lambda size: self.read(terminal, size), lambda data: os.write(terminal, data))
                os.write(terminal, b"exit\n")
                run.wait_end()
            finally:
                os.close(terminal)
            self.assertEqual(run.status, 0, run.account())

    def test_file_is_emptied_or_continued(self):
        for append, before in (("off", b""), ("on", b"earlier\n")):
            serials = (f"<serial type='file'><source path='console.log' append='{append}'/><target port='0'/></serial>"
                       "<serial type='null'><target port='1'/></serial>")
            with self.subTest(append), Guest("echo later\necho nowhere >/dev/ttyS1", modules=(), serials=serials) as guest:
                with open(guest.path("console.log"), "wb") as file:
                    file.write(b"earlier\n")
                self.assert_ended_well(guest.run())
                written = guest.read("console.log").replace(b"\r\n", b"\n")
                self.assertEqual(written.partition(b"[")[0], before + b"later\n")  # without the kernel's last word

    def test_all_four_ports(self):
        serials = STDIO + "".join(f"<serial type='file'><source path='port{n}'/><target port='{n}'/></serial>" for n in (1, 2, 3))
        script = "for port in 1 2 3; do stty raw </dev/ttyS$port; seq 1 1000 | sed s/^/$port-/ >/dev/ttyS$port; done"
        with Guest(script, modules=(), serials=serials) as guest:
            self.assert_ended_well(guest.run())
            for port in (1, 2, 3):
                self.assertEqual(guest.read(f"port{port}"), b"".join(b"%d-%d\n" % (port, line) for line in range(1, 1001)))

    def connect(self, path, run):
        """Waits until vmm listens; it says nothing when it does."""
        while run.process.poll() is None:
            stream = socket.socket(socket.AF_UNIX)
            try:
                stream.connect(path)
                return stream
            except OSError:
                stream.close()
                select.select([], [], [], 0.05)
        raise AssertionError(f"vmm ended; {run.account()}")

    def read(self, terminal, size):
        if not select.select([terminal], [], [], BOOT_SECONDS)[0]:
            raise TimeoutError("nothing came")
        return os.read(terminal, size)

    def ask(self, receive, send):
        """A question that only the guest's shell can answer."""
        send(b"echo answer-$((6 * 7))\n")
        self.wait_for(b"answer-42", receive)

    def wait_for(self, text, receive):
        """Before `ready` nothing may be typed: a driver that opens a port empties its FIFO."""
        got = b""
        while text not in got:
            data = receive(4096)
            self.assertTrue(data, f"the console was closed after {got!r}")
            got += data


if __name__ == "__main__":
    main()
