#!/usr/bin/env python3
"""Random numbers, consoles of virtio and panics, as a stock kernel's own drivers find them."""

import os
import socket
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import STDIO, Guest, GuestTest, main  # noqa: E402

MODULES = ("virtio_pci", "virtio_mmio", "virtio_rng", "virtio_console", "pvpanic_mmio")
DEVICES = STDIO + """
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
<console type='unix'><source mode='connect' path='hvc0.sock'/><target type='virtio' port='0'/></console>
<console type='file'><source path='hvc1.log'/><target type='virtio' port='1'/></console>
<panic model='isa'/>"""
SCRIPT = """
echo rng=$(cat /sys/class/misc/hw_random/rng_current)
echo random=$(dd if=/dev/hwrng bs=512 count=4 2>/dev/null | wc -c)
echo kinds=$(dd if=/dev/hwrng bs=512 count=4 2>/dev/null | od -An -v -tx1 | tr -s ' ' '\\n' | sort -u | wc -l)
exec 3<>/dev/hvc0  # the last close forgets the settings
stty raw -echo <&3
echo what is your name >&3
read -r name <&3
echo name=$name
seq 1 5000 >/dev/hvc1
echo last on hvc1 >/dev/hvc1
echo panicking=now
echo c >/proc/sysrq-trigger
sleep 1000
"""


class Answerer:
    """At the other end of hvc0: answers the guest's question."""

    def __init__(self, path):
        self.heard = b""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self):
        try:
            client, _ = self._listener.accept()
        except OSError:
            return  # nobody has come
        with client:
            while data := client.recv(4096):
                self.heard += data
                if self.heard.endswith(b"your name\n"):
                    client.sendall(b"hypervisor console\n")


class Devices(GuestTest):
    def run_on(self, machine, **options):
        with Guest(SCRIPT, machine=machine, modules=MODULES, serials=DEVICES, **options) as guest:
            with Answerer(guest.path("hvc0.sock")) as answerer:
                run = guest.run()
            values = run.values()
            self.assertEqual(run.status, 3, run.account())
            self.assertRegex(values["rng"], r"^virtio_rng\.\d+$")
            self.assertEqual(values["random"], "2048")
            self.assertGreater(int(values["kinds"]), 200)
            self.assertEqual(values["name"], "hypervisor console")
            self.assertEqual(answerer.heard, b"what is your name\n")
            hvc1 = guest.read("hvc1.log").replace(b"\r\n", b"\n")
            self.assertEqual(hvc1, b"".join(b"%d\n" % line for line in range(1, 5001)) + b"last on hvc1\n")
            self.assertEqual(run.errors, "vmm: the guest's kernel panicked\n")

    def test_of_pc(self):
        self.run_on("pc")

    def test_of_microvm(self):
        self.run_on("microvm")


class Panic(GuestTest):
    """Where <on_crash> keeps or restarts the guest."""

    SCRIPT = "echo booted=yes\necho c >/proc/sysrq-trigger\nsleep 1000"

    def guest(self, action):
        return Guest(self.SCRIPT, modules=("pvpanic_mmio",), serials=STDIO + "<panic model='isa'/>",
                     after=f"<on_crash>{action}</on_crash>")

    def test_the_guest_is_kept_where_the_domain_says_so(self):
        with self.guest("preserve") as guest, guest.start() as run:
            run.wait_for_error(r"the guest's kernel panicked\n(.*\n)*.*kept as it is")
            self.assertIsNone(run.process.poll())
            run.process.terminate()
            run.wait_end(20)

    def test_the_guest_is_started_again_where_the_domain_says_so(self):
        with self.guest("restart") as guest, guest.start() as run:
            for _ in range(2):
                run.wait_for("^booted=yes")
            run.wait_for_error(r"the guest's kernel panicked\n")


if __name__ == "__main__":
    main()
