#!/usr/bin/env python3
"""kill -9 of a process that changes the images of a disk while it writes to it, over and over.

Usage: live_kill_test.py DISK_OPS [--seed S] [--seconds LIMIT]
Snapshots, commits, streams, backups and other sizes come in random order, with writes under way. After each kill the newest
overlay's chain must open, qemu-img check must find no corruption in any of its images (leaks are allowed), and each sector must
be what the last completed flush made durable, or something written later. What was told to be done must be so: a backup is
there, whole, and holds what the disk held when it began.
Status 0: so it was; 1: the first case where it was not, with its seed; 77: there is no qemu-img.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from qcow2_differential import Failure, pattern, run  # noqa: E402
from qcow2_kill_test import SECTOR, Image, Worker  # noqa: E402

KILLS = 4  # of one disk
DISK_BYTES = 8 << 20


class LiveImage(Image):
    """The chain of a disk, which grows and shrinks; `path` is where its guest has to go on."""

    def __init__(self, folder, rng):
        self.folder, self.rng, self.held, self.names = folder, rng, None, 0
        self.raw = os.path.join(folder, "read.raw")
        self.bottom_format = rng.choice(["raw", "qcow2"])
        self.path, self.format = os.path.join(folder, "bottom"), self.bottom_format
        data = pattern(0, DISK_BYTES, 7)
        with open(self.raw, "wb") as file:
            file.write(data)
        run(["qemu-img", "convert", "-f", "raw", "-O", self.format, self.raw, self.path])
        self.options = f"on {self.bottom_format}"
        self.now = [{data[at : at + SECTOR]} for at in range(0, DISK_BYTES, SECTOR)]
        self.since_flush = [set(may_be) for may_be in self.now]
        self.backups, self.pending, self.told = {}, None, []

    def chain(self):
        text = run(["qemu-img", "info", "--output=json", "--backing-chain", "-U", "-f", self.format, self.path]).stdout
        return [(layer["filename"], layer["format"]) for layer in json.loads(text)]

    def new_name(self, kind):
        self.names += 1
        return os.path.join(self.folder, f"{kind}-{self.names}")

    def change(self, depth):
        """A line for disk_ops, for a chain of so many images."""
        kinds = ["snapshot", "snapshot", "backup"] + (["commit", "stream", "commit", "stream"] if depth > 1 else [])
        kind = self.rng.choice(kinds)
        self.pending = None
        if kind == "snapshot":
            name = self.new_name("overlay")
            self.pending = ("snapshot", name)
            return f"live snapshot {name}", depth + 1
        if kind == "backup":
            form, sync = self.rng.choice([("raw", "full"), ("qcow2", "full"), ("qcow2", "top")])
            name = self.new_name("backup")
            # What it may hold: the barrier before it has ended all writes.
            self.pending = ("backup", name, form, [set(may_be) for may_be in self.now])
            return f"live backup {name} {form} {sync}", depth
        if kind == "commit":
            top = self.rng.randrange(depth - 1)
            base = self.rng.randrange(top + 1, depth)
            self.pending = ("commit", top, base)
            # From below, the images between go; from the top, all above the base.
            return f"live commit {top} {base}", depth - (base - top) if top else depth - base
        base = self.rng.choice([0] + list(range(2, depth)))
        self.pending = ("stream", base)
        return f"live stream {base}", depth - (base - 1) if base else 1

    def newest(self):
        """The snapshot that was begun last is the disk, where it came about."""
        if self.pending and self.pending[0] == "snapshot" and os.path.exists(self.pending[1]):
            self.path, self.format = self.pending[1], "qcow2"

    def take_told(self):
        """One line, for the change that is pending."""
        line = self.told.pop(0)
        if not line.startswith("live done"):
            raise Failure(f"{self.pending}: disk_ops said {line!r}")
        self.newest()
        if self.pending[0] == "backup":
            self.check_backup(*self.pending[1:])
        elif self.pending[0] == "commit" and self.pending[1] == 0 and self.rng.random() < 0.5:
            # Either file will do: the one that was merged is empty, and stands on the other.
            self.path, self.format = self.base
        self.pending = None

    def check_backup(self, name, form, may_hold):
        run(["qemu-img", "convert", "-U", "-f", form, "-O", "raw", name, self.raw])
        with open(self.raw, "rb") as file:
            for number, may_be in enumerate(may_hold):
                if file.read(SECTOR) not in may_be:
                    raise Failure(f"sector {number} of the {form} backup is not as it was when the backup began")

    def check(self):
        self.newest()
        for path, form in self.chain():
            if form == "qcow2":
                run(["qemu-img", "check", "-f", "qcow2", path], ok=(0, 3))
        run(["qemu-img", "convert", "-f", self.format, "-O", "raw", self.path, self.raw])
        with open(self.raw, "rb") as file:
            for number, may_be in enumerate(self.since_flush):
                found = file.read(SECTOR)
                if found not in may_be:
                    raise Failure(f"sector {number} holds none of the {len(may_be)} contents that it may have")
                self.now[number] = {found}
        self.flushed()
        self.pending, self.told = None, []


class LiveWorker(Worker):
    def __init__(self, program, image, rng):
        super().__init__(program, image, rng, ["--live", "--format", image.format])
        self.image = image

    def wait_for(self, word):
        while (line := self.process.stdout.readline().strip()) != word:
            if line.startswith("live "):
                self.image.told.append(line)
            elif not line or line.startswith("failed"):
                raise Failure(f"disk_ops said {line!r} and not {word!r}")


def kill_once(program, image, rng):
    layers = image.chain()
    depth = len(layers)
    worker = LiveWorker(program, image, rng)
    try:
        for turn in range(rng.randrange(1, 4)):
            line, depth_after = image.change(depth)
            if image.pending[0] == "commit":
                image.base = layers[image.pending[2]]
            worker.send(["b", line, *image.operations(rng.randrange(1, 60)), "b", "f", f"say {turn}"])
            worker.wait_for(str(turn))
            image.flushed()
            worker.send([*image.operations(rng.randrange(1, 30)), "live wait", "b", "f", f"say end {turn}"])
            worker.wait_for(f"end {turn}")
            image.flushed()
            image.take_told()
            depth, layers = depth_after, image.chain()
            if len(layers) != depth and image.format == "qcow2":
                # The guest went on in the base, and the emptied overlay is looked at.
                layers = layers[len(layers) - depth :]
        # The process is somewhere behind the word when it is killed.
        line, _ = image.change(depth)
        if image.pending[0] == "commit":
            image.base = layers[image.pending[2]]
        lines = ["b", line, *image.operations(60)]
        lines.insert(rng.randrange(2, len(lines)), "say now")
        lines.insert(rng.randrange(2, len(lines)), "f")
        worker.send(lines)
        worker.wait_for("now")
        time.sleep(rng.choice([0, 0, 0.002, 0.01, 0.03, 0.1]))
    finally:
        worker.kill()
    image.check()


def one_case(program, seed):
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="vmm-live-kill.") as folder:
        image = LiveImage(folder, rng)
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
    print(f"{cases} disks, {cases * KILLS} kills")
    return 0


if __name__ == "__main__":
    sys.exit(main())
