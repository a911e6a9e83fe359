"""The guests that are measured: how each side is started, and how long it takes until one says something."""

import os
import re
import select
import subprocess
import sys
import time

sys.dont_write_bytecode = True

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPTS = os.path.join(TOP, "scripts")

RUN_SECONDS = 180
QEMU = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none"]
MICROVM = "microvm,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=on"
MODERN_MMIO = ["-global", "virtio-mmio.force-legacy=false"]  # virtio 1.2, which the guest programs speak


def command_for_domain(options, folder, text):
    path = os.path.join(folder, "domain.xml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return [options.vmm, "--domain", path]


def cloud_kernel():
    return subprocess.run([f"{SCRIPTS}/guest-kernel", "cloud", "--vmlinuz"], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()


def start_until(command, line, limit=RUN_SECONDS):
    """The process, and the seconds until it printed `line`."""
    start = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    seen = b""
    while line not in seen:
        ready = select.select([child.stdout], [], [], max(0, start + limit - time.monotonic()))[0]
        got = os.read(child.stdout.fileno(), 4096) if ready else b""
        if not got:
            child.kill()
            child.wait()
            raise SystemExit(f"{' '.join(command)}: ended without {line!r}:\n{seen.decode(errors='replace')[-2000:]}")
        seen += got
    return child, time.monotonic() - start


def end(child):
    child.kill()
    child.stdout.close()
    child.wait()


def is_vcpu(name):
    return name.startswith("vcpu-") or re.match(r"CPU \d+/", name)


def io_nanoseconds(pid):
    """Processor time of all threads that are not vCPUs, exact (schedstat)."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/comm", encoding="utf-8") as file:
                if is_vcpu(file.read()):
                    continue
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="utf-8") as file:
                total += int(file.read().split()[0])
        except FileNotFoundError:
            pass
    return total


def beside_guest_kib(pid, guest_mib, *kinds):
    """Memory of these kinds (smaps) in all mappings but the guest's RAM, which is the one of at least its size."""
    total = 0
    is_guest = False
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if re.match(r"^[0-9a-f]+-[0-9a-f]+$", words[0]):
                low, high = (int(part, 16) for part in words[0].split("-"))
                is_guest = high - low >= guest_mib << 20
            elif words[0] in kinds and not is_guest:
                total += int(words[1])
    return total


def disk_figures(command):
    """(operations a second, microseconds of host CPU for each)."""
    child, _ = start_until(command, b"disk on")
    before = io_nanoseconds(child.pid)
    output = b""
    while b"\n" not in output.partition(b"BENCH ")[2]:
        got = os.read(child.stdout.fileno(), 4096)
        if not got:
            raise SystemExit(f"{' '.join(command)}: no figures:\n{output.decode(errors='replace')}")
        output += got
    used = io_nanoseconds(child.pid) - before
    end(child)
    figures = dict(word.split(b"=") for word in output.partition(b"BENCH ")[2].split(b"\n")[0].split() if b"=" in word)
    operations, nanoseconds = int(figures[b"ops"]), int(figures[b"ns"])
    return operations * 1e9 / nanoseconds, used / operations / 1000
