"""The guests that are measured: how each side is started, and how long it takes until one says something."""

import os
import select
import subprocess
import sys
import time

sys.dont_write_bytecode = True

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPTS = os.path.join(TOP, "scripts")

RUN_SECONDS = 180
QEMU = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none"]


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
