"""Measures of vmm-img's commands against qemu-img's: the same images before each, on this machine and without KVM."""

import os
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
from figures import Table, pairs, run_to_end
from images import create

MIB = 1 << 20
DISK_BYTES = 1 << 30
COMMITTED_BYTES = DISK_BYTES // 2


def fill(path, form, offset, length, *, pattern, step=1):
    """One MiB of every `step`."""
    count = (length >> 20) // step
    subprocess.run(["qemu-img", "bench", "-q", "-w", "-f", form, "-t", "unsafe", "-s", "1M", "-d", "8", "-o", str(offset), "-S",
                    str(step << 20), "-c", str(count), f"--pattern={pattern}", path], check=True, stdout=subprocess.DEVNULL)
    return path


class Restored:
    """Images of a command, as they were, before each of its runs; in the page cache, and nothing left to be written."""

    def __init__(self, *paths):
        self._paths = paths
        for path in paths:
            shutil.copy(path, path + ".before")

    def run(self, command):
        for path in self._paths:
            subprocess.run(["cp", "--sparse=always", path + ".before", path], check=True)
        subprocess.run(["sync", *self._paths], check=True)
        return run_to_end(command)


def compare(table, name, options, restored, arguments):
    ours, theirs = [options.vmm_img, *arguments], ["qemu-img", *arguments]
    samples = pairs(options.pairs, lambda: restored.run(ours), lambda: restored.run(theirs))
    table.row(f"{name}: wall", [a[0] * 1000 for a, _ in samples], [b[0] * 1000 for _, b in samples], 1.0, unit=" ms")
    table.row(f"{name}: CPU", [a[1] * 1000 for a, _ in samples], [b[1] * 1000 for _, b in samples], None, unit=" ms")


def empty_folder(folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)


def measure_commit(options, folder):
    table = Table("tool: commit of 512 MiB; qemu-img")
    for form in ("raw", "qcow2"):
        base = fill(create(os.path.join(folder, "base"), form=form), form, 0, DISK_BYTES, pattern=1)
        overlay = create(os.path.join(folder, "overlay"), "-b", base, "-F", form)
        fill(overlay, "qcow2", DISK_BYTES // 4, COMMITTED_BYTES, pattern=2)
        restored = Restored(base, overlay)
        for words in ([], ["-d"]):
            compare(table, " ".join(["into", form, *words]), options, restored, ["commit", "-q", *words, "-f", "qcow2", overlay])
        empty_folder(folder)


def measure_rebase(options, folder):
    table = Table("tool: rebase of an overlay of 1 GiB with 64 MiB of data; qemu-img")
    old, new = (fill(create(os.path.join(folder, name)), "qcow2", 0, DISK_BYTES, pattern=1) for name in ("old", "new"))
    fill(new, "qcow2", 0, DISK_BYTES, pattern=2, step=16)
    overlay = create(os.path.join(folder, "overlay"), "-b", old, "-F", "qcow2")
    fill(overlay, "qcow2", DISK_BYTES // 2, 64 * MIB, pattern=3)
    restored = Restored(overlay)
    to_new = ["-f", "qcow2", "-b", new, "-F", "qcow2", overlay]
    compare(table, "-u", options, restored, ["rebase", "-u", *to_new])
    compare(table, "64 MiB differ", options, restored, ["rebase", *to_new])
    restored.run(["true"])
    middle = create(os.path.join(folder, "middle"), "-b", old, "-F", "qcow2")
    fill(middle, "qcow2", 0, 64 * MIB, pattern=4)
    subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", middle, "-F", "qcow2", overlay], check=True)
    compare(table, "to the base of its base", options, Restored(overlay), ["rebase", "-f", "qcow2", "-b", old, "-F", "qcow2", overlay])
    empty_folder(folder)


def measure_tool(options, folder):
    measure_commit(options, folder)
    measure_rebase(options, folder)
