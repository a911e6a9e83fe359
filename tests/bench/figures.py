"""What the measurements share: running a command, pairs of figures, the table."""

import os
import re
import statistics
import subprocess
import time


def run_to_end(command, text=None):
    """(wall seconds, CPU seconds) of a process from start to end. What it printed becomes text["output"]. It must succeed."""
    output = subprocess.DEVNULL if text is None else subprocess.PIPE
    start = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL, text=True)
    if text is not None:
        text["output"] = child.stdout.read()
        child.stdout.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)}: failed with status {child.returncode}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime


def peak_resident_kib(command):
    """The kernel counts what a process had before exec(2), so that a process smaller than Python must start it."""
    report = subprocess.run(["/usr/bin/time", "-f", "peak %M", *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, check=False, text=True, errors="replace").stderr.strip()
    return int(re.search(r"peak (\d+)\Z", report)[1])


class Table:
    def __init__(self, title, ours="vmm", theirs="QEMU"):
        print(f"\n{title}\n{'':44} {ours:>12} {theirs:>12} {'ratio':>8}  wanted", flush=True)

    def row(self, name, ours, theirs, wanted, at_most=True, unit=""):
        """`wanted` may be None: the figure is only to be known."""
        ratio = statistics.median(a / b for a, b in zip(ours, theirs))
        promise = ""
        if wanted is not None:
            good = ratio <= wanted if at_most else ratio >= wanted
            promise = f"{'<=' if at_most else '>='} {wanted}{'' if good else '  MISSED'}"
        print(f"{name:44} {number(statistics.median(ours)) + unit:>12} {number(statistics.median(theirs)) + unit:>12} "
              f"{ratio:8.2f}  {promise}", flush=True)


def number(value):
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def pairs(count, ours, theirs):
    """Alternating, so that the machine's mood strikes both; one pair first that is not counted."""
    result = []
    for _ in range(count + 1):
        result.append((ours(), theirs()))
    return result[1:]
