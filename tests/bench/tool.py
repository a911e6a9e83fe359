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
CONVERTED_BYTES = 8 * DISK_BYTES
COMPRESSED_BYTES = DISK_BYTES // 2

# Of a plain conversion by QEMU; the fastest is paired with.
CONVERT_OPTIONS = ((), ("-m", "16"), ("-W",), ("-W", "-m", "16"))


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
        if self._paths:
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


def convert_to(target, command):
    """The target's pages are on the disk before the next run."""
    if os.path.exists(target):
        os.remove(target)
    result = run_to_end(command)
    subprocess.run(["sync", target], check=True)
    return result


def measure_convert(options, folder):
    raw, qcow2, target = (os.path.join(folder, name) for name in ("source.raw", "source.qcow2", "target"))
    fill(create(raw, form="raw", size=CONVERTED_BYTES), "raw", 0, CONVERTED_BYTES, pattern=1, step=8)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2], check=True)
    subprocess.run(["sync", raw, qcow2], check=True)
    # QEMU's default is -t unsafe: nothing is flushed. Ours is that a new image is on the disk when it is complete.
    for title, ours_words, theirs_words in (("-t unsafe", ["-t", "unsafe"], ([],)),
                                            ("flushed at the end", [], (["-t", "writeback"], ["-t", "none"]))):
        table = Table(f"tool: convert of 1 GiB of data in 8 GiB, {title}; the fastest of qemu-img's ways")
        for source, form in ((raw, "qcow2"), (qcow2, "raw"), (qcow2, "qcow2")):
            words = ["-f", "raw" if source == raw else "qcow2", "-O", form, source, target]
            ours = [options.vmm_img, "convert", *ours_words, *words]
            ways = {" ".join([*way, *cache]) or "plain": ["qemu-img", "convert", *way, *cache, *words]
                    for way in CONVERT_OPTIONS for cache in theirs_words}
            first = {name: min(convert_to(target, way)[0] for _ in range(2)) for name, way in ways.items()}
            best = min(first, key=first.get)
            samples = pairs(options.pairs, lambda: convert_to(target, ours), lambda: convert_to(target, ways[best]))
            name = f"{os.path.splitext(source)[1][1:]} to {form} ({best})"
            table.row(f"{name}: wall", [a[0] * 1000 for a, _ in samples], [b[0] * 1000 for _, b in samples], 1.0, unit=" ms")
            table.row(f"{name}: CPU", [a[1] * 1000 for a, _ in samples], [b[1] * 1000 for _, b in samples], 0.8, unit=" ms")
    empty_folder(folder)


def programs_of_this_machine(path, length):
    """Data as a root disk has them."""
    with open(path, "wb") as out:
        for folder, _, names in os.walk("/usr/lib"):
            for name in sorted(names):
                file = os.path.join(folder, name)
                if out.tell() < length and os.path.isfile(file) and not os.path.islink(file):
                    with open(file, "rb") as data:
                        out.write(data.read(length - out.tell()))
        out.truncate(length)
    return path


def measure_compression(options, folder):
    source, ours, theirs, back = (os.path.join(folder, name) for name in ("source.raw", "ours.qcow2", "theirs.qcow2", "back.raw"))
    programs_of_this_machine(source, COMPRESSED_BYTES)
    for kind in ("zlib", "zstd"):
        table = Table(f"tool: convert -c -W of 512 MiB of programs, {kind}, 2 threads; qemu-img convert -c -W -m 2")
        words = ["convert", "-c", "-W", "-m", "2", "-f", "raw", "-O", "qcow2", "-o", f"compression_type={kind}", source]
        samples = pairs(options.pairs, lambda: convert_to(ours, [options.vmm_img, *words, ours]),
                        lambda: convert_to(theirs, ["qemu-img", *words, theirs]))
        table.row("wall", [a[0] * 1000 for a, _ in samples], [b[0] * 1000 for _, b in samples], 1.0, unit=" ms")
        table.row("CPU", [a[1] * 1000 for a, _ in samples], [b[1] * 1000 for _, b in samples], None, unit=" ms")
        table.row("length", [os.path.getsize(ours) / MIB], [os.path.getsize(theirs) / MIB], 1.0, unit=" MiB")
        words = ["convert", "-t", "unsafe", "-f", "qcow2", "-O", "raw", theirs, back]
        samples = pairs(options.pairs, lambda: convert_to(back, [options.vmm_img, *words]),
                        lambda: convert_to(back, ["qemu-img", *words]))
        table.row("back: wall", [a[0] * 1000 for a, _ in samples], [b[0] * 1000 for _, b in samples], 0.7, unit=" ms")
        table.row("back: CPU", [a[1] * 1000 for a, _ in samples], [b[1] * 1000 for _, b in samples], None, unit=" ms")
    empty_folder(folder)


def measure_reading(options, folder):
    """Commands that change nothing."""
    first = fill(create(os.path.join(folder, "first.qcow2")), "qcow2", 0, DISK_BYTES, pattern=1)
    second = os.path.join(folder, "second.raw")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", first, second], check=True)
    large = create(os.path.join(folder, "large.qcow2"), "-o", "preallocation=metadata", size=64 * DISK_BYTES)
    table = Table("tool: compare, check and info; qemu-img")
    for name, arguments in (("compare of 1 GiB, the same", ["compare", "-q", "-f", "qcow2", "-F", "raw", first, second]),
                            ("check of 64 GiB of clusters", ["check", "-q", "-f", "qcow2", large])):
        compare(table, name, options, Restored(), arguments)
    arguments = ["info", "-f", "qcow2", first]
    samples = pairs(5 * options.pairs, lambda: run_to_end([options.vmm_img, *arguments]), lambda: run_to_end(["qemu-img", *arguments]))
    table.row("info: wall", [a[0] * 1000 for a, _ in samples], [b[0] * 1000 for _, b in samples], None, unit=" ms")
    table.row("info: CPU", [a[1] * 1000 for a, _ in samples], [b[1] * 1000 for _, b in samples], 0.3, unit=" ms")
    empty_folder(folder)


def measure_tool(options, folder):
    measure_reading(options, folder)
    measure_convert(options, folder)
    measure_compression(options, folder)
    measure_commit(options, folder)
    measure_rebase(options, folder)
