"""iperf3 both ways and round trips of a byte, in a guest with a stock kernel: over the user network, and over a tap.

In a network namespace of its own, so in the lab or as root.
"""

import ctypes
import json
import os
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import guest_files  # noqa: E402
import initramfs  # noqa: E402
from figures import Table, pairs  # noqa: E402
from guests import QEMU, RUN_SECONDS, TOP, cloud_kernel, command_for_domain  # noqa: E402

CLONE_NEWNET = 0x40000000
MODULES = ("virtio_pci", "virtio_net", "af_packet")
ROUND_TRIPS_PORT = 5300
MAC = "52:54:00:12:34:56"
ADDRESSES = {"user": ("10.0.2.15", "10.0.2.2"), "tap": ("192.0.2.2", "192.0.2.1")}
# name, what the guest runs; %(host)s is where its peer is.
LOADS = (("guest to host", "iperf3 -J -t %(seconds)d -c %(host)s"),
         ("host to guest", "iperf3 -J -R -t %(seconds)d -c %(host)s"),
         ("round trips", "round_trips %(host)s " + str(ROUND_TRIPS_PORT) + " %(seconds)d"))
PARTS = tuple((kind, name, load) for kind in ADDRESSES for name, load in LOADS)
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin
while read -r module; do insmod "/modules/$module"; done </modules/order
ip link set lo up
ip addr add %(guest)s/24 dev eth0
ip link set eth0 up
ip route add default via %(host)s
%(load)s
echo END
poweroff -f
"""


def make_initramfs(path, guest, host, load):
    folder, version = initramfs.kernel("cloud")
    archive = initramfs.Archive()
    archive.folder("dev")
    archive.device("dev/console", 5, 1)
    archive.file("init", (INIT % {"guest": guest, "host": host, "load": load}).encode(), 0o755)
    archive.file("bin/busybox", initramfs.static_busybox(), 0o755)
    programs = {**guest_files.program_files(("iperf3",)), "usr/bin/round_trips": f"{os.path.dirname(path)}/round_trips"}
    for place, file in programs.items():
        with open(file, "rb") as source:
            archive.file(place.lstrip("/"), source.read(), 0o755)
    modules = initramfs.module_files(folder, version, MODULES)
    archive.file("modules/order", "".join(os.path.basename(file) + "\n" for file in modules).encode())
    for file in modules:
        with open(file, "rb") as module:
            archive.file(f"modules/{os.path.basename(file)}", module.read())
    with open(path, "wb") as file:
        file.write(archive.finish())


def enter_namespace():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise SystemExit("network: a namespace of its own needs root")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def figure(name, command):
    """Megabits, or round trips, a second."""
    output = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=RUN_SECONDS, check=False,
                            text=True, errors="replace").stdout
    if name == "round trips":
        found = re.search(r"trips=([\d.]+)", output)
        value = float(found[1]) if found else None
    else:
        found = re.search(r"^\{.*^\}", output, re.DOTALL | re.MULTILINE)
        end = json.loads(found[0]).get("end", {}) if found else {}
        value = end["sum_received"]["bits_per_second"] / 1e6 if "sum_received" in end else None
    if not value:
        raise SystemExit(f"{' '.join(command)}: no figure:\n{output[-3000:]}")
    return value


def measure(options, folder, part, xml):
    """`xml(interface, initrd)`: the domain file."""
    kind, name, load = part
    enter_namespace()
    guest, host = ADDRESSES[kind]
    subprocess.run(["g++", "-O2", "-static", "-o", f"{folder}/round_trips", f"{TOP}/tests/bench/round_trips.cpp"], check=True)
    servers = [subprocess.Popen(["iperf3", "-s"], stdout=subprocess.DEVNULL),
               subprocess.Popen([f"{folder}/round_trips", "serve", str(ROUND_TRIPS_PORT)])]
    interface = "<interface type='user'>" if kind == "user" else "<interface type='ethernet'><target dev='bench' managed='no'/>"
    driver = "" if kind == "user" else "<driver name='qemu'/>"
    netdev = "user,id=n" if kind == "user" else "tap,id=n,ifname=bench,script=no,downscript=no,vhost=off"
    if kind == "tap":
        for command in ("tuntap add dev bench mode tap", f"addr add {host}/24 dev bench", "link set bench up"):
            subprocess.run(["ip", *command.split()], check=True)
    table = Table(f"network: iperf3 and round trips of a byte, {kind}, stock kernel, 1 vCPU, pc; QEMU -netdev {netdev.split(',')[0]}"
                  f"{' without vhost' if kind == 'tap' else ''}")
    try:
        time.sleep(1)
        initrd = os.path.join(folder, "initrd.img")
        make_initramfs(initrd, guest, host, load % {"host": host, "seconds": max(options.seconds, 3)})
        ours = command_for_domain(options, folder, xml(f"{interface}<mac address='{MAC}'/><model type='virtio'/>{driver}</interface>", initrd))
        theirs = [*QEMU, "-no-reboot", "-M", "pc", "-m", "256", "-serial", "stdio", "-kernel", cloud_kernel(), "-initrd", initrd, "-append",
                  "console=ttyS0 quiet", "-netdev", netdev, "-device", f"virtio-net-pci,netdev=n,mac={MAC}"]
        samples = pairs(min(options.pairs, 5), lambda: figure(name, ours), lambda: figure(name, theirs))
        wanted = 1.1 if kind == "tap" and name != "round trips" else 1.0
        table.row(name, [a for a, _ in samples], [b for _, b in samples], wanted, False, unit=" /s" if name == "round trips" else " Mbit/s")
    finally:
        for server in servers:
            server.kill()
            server.wait()
