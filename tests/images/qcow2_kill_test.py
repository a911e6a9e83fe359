#!/usr/bin/env python3
"""kill -9 of a process that works on a qcow2 image, over and over.

Usage: qcow2_kill_test.py DISK_OPS [--seed S] [--seconds LIMIT]
After each kill qemu-img check must find no corruption (leaks are allowed), and each sector of the disk must be what the last
completed flush made durable, or something written later. The next process goes on with the same image.
Status 0: so it was; 1: the first case where it was not, with its seed; 77: there is no qemu-img.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from qcow2_differential import Failure, pattern, run  # noqa: E402

SECTOR = 512
DISK_BYTES = 8 << 20
KILLS = 5  # of one image
ZERO = bytes(SECTOR)


class Image:
    """A qcow2 image, and for each sector of its disk what it may hold now, and what it may have held since the last flush."""

    def __init__(self, folder, rng):
        self.path, self.raw, self.rng = os.path.join(folder, "top.qcow2"), os.path.join(folder, "read.raw"), rng
        data, base = bytes(DISK_BYTES), []
        if rng.random() < 0.5:
            data, base = pattern(0, DISK_BYTES, 7), ["-b", "base.raw", "-F", "raw"]
            with open(os.path.join(folder, "base.raw"), "wb") as file:
                file.write(data)
        self.options = f"cluster_size={rng.choice([512, 4096, 65536, 65536, 1 << 20])}" + rng.choice(
            ["", ",lazy_refcounts=on", ",refcount_bits=64", ",extended_l2=on,cluster_size=65536", ",compat=0.10"])
        run(["qemu-img", "create", "-q", "-f", "qcow2", *base, "-o", self.options, self.path, str(DISK_BYTES)])
        data = bytes(self.age(bytearray(data)))
        self.now = [{data[at : at + SECTOR]} for at in range(0, DISK_BYTES, SECTOR)]
        self.since_flush = [set(may_be) for may_be in self.now]

    def age(self, data):
        """Some images have compressed clusters, and a snapshot that shares them."""
        self.held = None
        cluster = int(self.options.split("cluster_size=")[-1].split(",")[0])
        if self.rng.random() < 0.6:
            for index in sorted(self.rng.sample(range(DISK_BYTES // cluster), min(12, DISK_BYTES // cluster))):
                at, value = index * cluster, self.rng.randrange(1, 256)
                # QEMU refuses some that would share a sector.
                done = run(["qemu-io", "-f", "qcow2", "-c", f"write -c -P {value} {at} {cluster}", self.path], ok=(0, 1))
                if "wrote" in done.stdout:
                    data[at:at + cluster] = bytes([value]) * cluster
        if self.rng.random() < 0.6:
            run(["qemu-img", "snapshot", "-c", "held", self.path])
            self.held = bytes(data)
        return data

    def operations(self, count):
        """Lines for disk_ops. What is under way at once does not overlap."""
        lines, busy = [], set()
        for _ in range(count):
            length = self.rng.choice([512, 4096, 4096, 65536, 200 << 10])
            offset = self.rng.randrange(0, DISK_BYTES - length, SECTOR)
            kind, seed = self.rng.choice("wwwwzud"), self.rng.randrange(1, 1 << 20)
            sectors = range(offset // SECTOR, (offset + length) // SECTOR)
            if not busy.isdisjoint(sectors):
                lines.append("b")
                busy = set()
            busy.update(sectors)
            data = pattern(offset, length, seed) if kind == "w" else bytes(length)
            for at, sector in enumerate(sectors):
                content = data[at * SECTOR : (at + 1) * SECTOR]
                self.now[sector] = {content} | (self.now[sector] if kind == "d" else set())
                self.since_flush[sector].add(content)
            lines.append(f"{kind} {offset} {length} {seed}")
        return lines

    def flushed(self):
        self.since_flush = [set(may_be) for may_be in self.now]

    def check(self):
        run(["qemu-img", "check", "-f", "qcow2", self.path], ok=(0, 3))
        run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", self.path, self.raw])
        with open(self.raw, "rb") as file:
            for number, may_be in enumerate(self.since_flush):
                found = file.read(SECTOR)
                if found not in may_be:
                    raise Failure(f"sector {number} holds none of the {len(may_be)} contents that it may have")
                self.now[number] = {found}
        self.flushed()
        if self.held is not None:
            run(["qemu-img", "convert", "-f", "qcow2", "-l", "snapshot.name=held", "-O", "raw", self.path, self.raw])
            with open(self.raw, "rb") as file:
                if file.read() != self.held:
                    raise Failure("the snapshot changed")


class Worker:
    """One process of disk_ops."""

    def __init__(self, program, image, rng, more=()):
        words = [program, *more, "--cache", rng.choice(["none", "writeback"]), "--depth", rng.choice(["1", "8", "32"])]
        words += rng.choice([[], ["--io", "threads"], ["--discard"], ["--table-cache", "131072"]])
        self.process = subprocess.Popen([*words, image.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(self, lines):
        self.process.stdin.write("".join(line + "\n" for line in lines))
        self.process.stdin.flush()

    def wait_for(self, word):
        while (line := self.process.stdout.readline().strip()) != word:
            if not line or line.startswith("failed"):
                raise Failure(f"disk_ops said {line!r} and not {word!r}")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def kill_once(program, image, rng):
    worker = Worker(program, image, rng)
    try:
        for turn in range(rng.randrange(3)):
            worker.send([*image.operations(rng.randrange(1, 40)), "b", "f", f"say {turn}"])
            worker.wait_for(str(turn))
            image.flushed()
        # The process is somewhere behind the word when it is killed.
        lines = image.operations(60)
        lines.insert(rng.randrange(len(lines)), "say now")
        lines.insert(rng.randrange(len(lines)), "f")
        worker.send(lines)
        worker.wait_for("now")
    finally:
        worker.kill()
    image.check()


def one_case(program, seed):
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="vmm-kill.") as folder:
        image = Image(folder, rng)
        try:
            for _ in range(KILLS):
                kill_once(program, image, rng)
        except Failure as failure:
            raise Failure(f"seed {seed} ({image.options}): {failure}") from failure


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=15)
    options = parser.parse_args()
    if shutil.which("qemu-img") is None:
        print("there is no qemu-img")
        return 77
    start, cases = time.monotonic(), 0
    while cases == 0 or time.monotonic() - start < options.seconds:
        try:
            one_case(options.program, options.seed + cases)
        except Failure as failure:
            print(failure)
            return 1
        cases += 1
    print(f"{cases} images, {cases * KILLS} kills")
    return 0


if __name__ == "__main__":
    sys.exit(main())
