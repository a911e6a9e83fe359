"""Measures of the block layer: vmm-img against qemu-img on the same files, on this machine and without KVM."""

import json
import os
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
from figures import Table, pairs, peak_resident_kib, run_to_end

GIB = 1 << 30
IMAGE_BYTES = GIB


def bench_arguments(path, length, depth, count, *, cache, write=False, step=None):
    arguments = ["bench", "-c", str(count), "-d", str(depth), "-s", str(length), "-t", cache, "-i", "io_uring"]
    arguments += ["-S", str(step)] if step else []
    arguments += ["-w"] if write else []
    return [*arguments, "-f", "qcow2", path]


def figures(command, count):
    """(operations a second, microseconds of processor time for each), without what opening costs."""
    text = {}
    wall, cpu = run_to_end(command, text)
    seconds = float(re.search(r"Run completed in ([\d.]+) seconds", text["output"])[1])
    del wall
    return count / seconds, cpu / count * 1e6


def create(path, *options, size=IMAGE_BYTES, form="qcow2"):
    subprocess.run(["qemu-img", "create", "-q", "-f", form, *options, path, str(size)], check=True)
    return path


def filled(path, *options):
    """An image with data in every cluster."""
    create(path, *options)
    subprocess.run(["qemu-img", "bench", "-q", "-w", "-f", "qcow2", "-t", "unsafe", "-s", "1M", "-d", "8", "-c",
                    str(IMAGE_BYTES >> 20), path], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["sync", path], check=True)
    return path


def fio_figures(path, length, depth, write, *more):
    """(operations a second, microseconds of processor time for each) on a raw file: what the disk and the kernel give."""
    output = subprocess.run(["fio", "--name=raw", f"--filename={path}", "--direct=1", "--ioengine=io_uring", f"--bs={length}",
                             f"--iodepth={depth}", f"--rw={'write' if write else 'read'}", f"--size={IMAGE_BYTES}",
                             "--output-format=json", *(more or ("--time_based", "--runtime=1"))],
                            check=True, stdout=subprocess.PIPE, text=True).stdout
    job = json.loads(output)["jobs"][0]
    rate = job["write" if write else "read"]["iops"]
    return rate, (job["usr_cpu"] + job["sys_cpu"]) / 100 / rate * 1e6


def fio_rate_of_new_space(path, length, depth, count):
    """Operations a second where the file system has to find the place."""
    if os.path.exists(path):
        os.remove(path)
    return fio_figures(path, length, depth, True, "--fallocate=none", f"--number_ios={count}")[0]


def compare_peaks(table, name, ours, theirs, before=lambda: None):
    def peak(command):
        before()
        return peak_resident_kib(command) / 1024
    peaks = pairs(1, lambda: peak(ours), lambda: peak(theirs))
    table.row(f"{name}: peak memory", [a for a, _ in peaks], [b for _, b in peaks], 1.0, unit=" MiB")


def compare(table, name, options, ours, theirs, count, *, rate, cpu=None, before=lambda: None):
    def run(command):
        before()
        return figures(command, count)
    samples = pairs(options.pairs, lambda: run([options.vmm_img, *ours]), lambda: run(["qemu-img", *theirs]))
    table.row(f"{name}: operations/s", [a[0] for a, _ in samples], [b[0] for _, b in samples], rate, False)
    if cpu:
        table.row(f"{name}: CPU per operation", [a[1] for a, _ in samples], [b[1] for _, b in samples], cpu, unit=" us")
    compare_peaks(table, name, [options.vmm_img, *ours], ["qemu-img", *theirs], before)


def title_of(length, depth, write):
    return f"{length >> 10} KiB, depth {depth}, {'rewrite' if write else 'read'}"


def measure_image(options, folder):
    path = filled(os.path.join(folder, "full.qcow2"))
    raw = os.path.join(folder, "full.raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", "-S", "0", path, raw], check=True)
    cases = [(length, depth, write, options.operations if depth > 1 else options.operations // 4)
             for length in (4096, 65536) for depth in (1, 32) for write in (False, True)]
    table = Table("image: qcow2, allocated clusters, -t none; qemu-img bench -i io_uring")
    for length, depth, write, count in cases:
        arguments = bench_arguments(path, length, depth, count, cache="none", write=write)
        compare(table, title_of(length, depth, write), options, arguments, arguments, count, rate=1.0, cpu=0.7)
    table = Table("image: the same, beside fio on a raw file", "vmm", "fio")
    for length, depth, write, count in cases:
        command = [options.vmm_img, *bench_arguments(path, length, depth, count, cache="none", write=write)]
        samples = pairs(options.pairs, lambda: figures(command, count), lambda: fio_figures(raw, length, depth, write))
        table.row(f"{title_of(length, depth, write)}: operations/s", [a[0] for a, _ in samples], [b[0] for _, b in samples], 0.95, False)
        # The kernel's share, which no program that reads at this depth is without.
        table.row(f"{title_of(length, depth, write)}: CPU per operation", [a[1] for a, _ in samples], [b[1] for _, b in samples],
                  None, unit=" us")
    os.remove(raw)
    table = Table("image: qcow2, -t writeback (page cache), depth 32; qemu-img bench")
    for write in (False, True):
        arguments = bench_arguments(path, 4096, 32, options.operations, cache="writeback", write=write)
        compare(table, f"4 KiB, {'rewrite' if write else 'read'}", options, arguments, arguments, options.operations, rate=1.5)
    measure_allocation(options, folder, path)
    os.remove(path)
    measure_encrypted(options, folder)
    measure_large(options, folder)


def rate_in_new_image(path, command, count):
    create(path)
    return figures(command, count)[0]


def measure_allocation(options, folder, base):
    table = Table("image: allocating writes, -t none; qemu-img bench -i io_uring")
    fresh, raw = os.path.join(folder, "fresh.qcow2"), os.path.join(folder, "fresh.raw")
    for depth in (1, 32):
        count = min(options.operations, IMAGE_BYTES // 65536)
        arguments = bench_arguments(fresh, 65536, depth, count, cache="none", write=True)
        compare(table, f"64 KiB into an empty image, depth {depth}", options, arguments, arguments, count, rate=1.3,
                before=lambda: create(fresh))
        arguments = bench_arguments(fresh, 4096, depth, count, cache="none", write=True, step=65536)
        compare(table, f"4 KiB into an overlay, depth {depth}", options, arguments, arguments, count, rate=1.3,
                before=lambda: create(fresh, "-b", base, "-F", "qcow2"))
    table = Table("image: 64 KiB into an empty image, beside fio into an empty file", "vmm", "fio")
    for depth in (1, 32):
        count = min(options.operations, IMAGE_BYTES // 65536)
        command = [options.vmm_img, *bench_arguments(fresh, 65536, depth, count, cache="none", write=True)]
        samples = pairs(options.pairs, lambda: rate_in_new_image(fresh, command, count),
                        lambda: fio_rate_of_new_space(raw, 65536, depth, count))
        table.row(f"64 KiB, depth {depth}: operations/s", [a for a, _ in samples], [b for _, b in samples], 0.95, False)
    os.remove(raw)
    os.remove(fresh)


def measure_large(options, folder):
    """Reads that go to another L2 table each time, all over the disk: the larger one's tables are 32 MiB. The clusters that
    are read hold data; the others are allocated too. Long enough that reading the tables, once, does not decide."""
    step = 77 * (GIB // 2) + (64 << 10)
    places = options.operations // 2
    count = 5 * places
    commands = {}
    for size in (256 * GIB, GIB):
        path = create(os.path.join(folder, f"{size}.qcow2"), "-o", "preallocation=metadata", size=size)
        subprocess.run([options.vmm_img, *bench_arguments(path, 65536, 8, places, cache="writeback", write=True, step=step)],
                       check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["sync", path], check=True)
        commands[size] = [options.vmm_img, *bench_arguments(path, 4096, 32, count, cache="none", step=step)]
    rates = pairs(options.pairs, *(lambda command=command: figures(command, count)[0] for command in commands.values()))
    table = Table("image: 4 KiB reads far apart, depth 32, qcow2", "256 GiB", "1 GiB")
    table.row("vmm-img bench: operations/s", [a for a, _ in rates], [b for _, b in rates], 0.5, False)
    for command in commands.values():
        os.remove(command[-1])


def measure_encrypted(options, folder):
    """By convert: qemu-img bench opens no encrypted image. 64 KiB clusters, sixteen requests at a time."""
    passphrase = os.path.join(folder, "passphrase")
    with open(passphrase, "w", encoding="utf-8") as file:
        file.write("correct horse")
    raw, path = os.path.join(folder, "plain.raw"), os.path.join(folder, "luks.qcow2")
    with open(raw, "wb") as file:
        for _ in range(IMAGE_BYTES >> 22):
            file.write(os.urandom(1 << 22))
    secret = ["--object", f"secret,id=s,file={passphrase}"]
    subprocess.run(["qemu-img", "convert", *secret, "-f", "raw", "-O", "qcow2", "-o",
                    "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", raw, path], check=True)
    subprocess.run(["sync", path], check=True)
    target = os.path.join(folder, "target.raw")
    with open(target, "wb") as file:
        file.truncate(IMAGE_BYTES)
    image = f"driver=qcow2,encrypt.key-secret=s,file.filename={path}"
    common = ["convert", "-n", "-m", "16", "-W", "-T", "none", "-t", "none", *secret]
    table = Table("image: qcow2 with LUKS, 1 GiB, -T none -t none; qemu-img convert -n -m 16 -W")
    for name, ours, theirs in (
            ("to raw", ["-f", "qcow2", "-O", "raw", path, target], ["--image-opts", "-O", "raw", image, target]),
            ("rewrite from raw", ["-f", "raw", "-O", "qcow2", raw, path],
             ["--image-opts", "--target-image-opts", f"driver=raw,file.filename={raw}", image])):
        ours, theirs = [options.vmm_img, *common, *ours], ["qemu-img", *common, *theirs]
        samples = pairs(options.pairs, lambda: run_to_end(ours), lambda: run_to_end(theirs))
        table.row(f"{name}: MiB/s", [(IMAGE_BYTES >> 20) / a[0] for a, _ in samples],
                  [(IMAGE_BYTES >> 20) / b[0] for _, b in samples], 1.3, False)
        table.row(f"{name}: CPU", [a[1] * 1000 for a, _ in samples], [b[1] * 1000 for _, b in samples], 1.0, unit=" ms")
        compare_peaks(table, name, ours, theirs)
    for file in (raw, path, target):
        os.remove(file)


def measure_open(options, folder):
    """Opening and checking, with the memory that they take at most."""
    chain = create(os.path.join(folder, "layer0.qcow2"), size=10 * GIB)
    for number in range(1, 51):
        below, chain = chain, os.path.join(folder, f"layer{number}.qcow2")
        create(chain, "-b", below, "-F", "qcow2", size=10 * GIB)
    large = create(os.path.join(folder, "large.qcow2"), size=1024 * GIB)
    full = create(os.path.join(folder, "64g.qcow2"), "-o", "preallocation=metadata", size=64 * GIB)
    table = Table("open: opening and checking; qemu-img info, check")
    for name, arguments in (("info of a chain of 50 overlays", ["info", "-f", "qcow2", "--backing-chain", chain]),
                            ("info of an image of 1 TiB", ["info", "-f", "qcow2", large]),
                            ("check of 64 GiB of clusters", ["check", "-f", "qcow2", full])):
        ours, theirs = [options.vmm_img, *arguments], ["qemu-img", *arguments]
        samples = pairs(options.pairs, lambda: run_to_end(ours), lambda: run_to_end(theirs))
        table.row(f"{name}: wall", [a[0] * 1000 for a, _ in samples], [b[0] * 1000 for _, b in samples], 1.0, unit=" ms")
        compare_peaks(table, name, ours, theirs)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
