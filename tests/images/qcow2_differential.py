#!/usr/bin/env python3
"""Random operations on random qcow2 images: ours and QEMU's in turn, on the same image.

Usage: qcow2_differential.py DISK_OPS [--cases N] [--seed S] [--seconds LIMIT]
After each turn qemu-img check must find the image clean, and qemu-img's, our own and a model's idea of the disk must be
the same bytes. Status 0: all agreed; 1: the first case that did not, with its seed; 77: there is no qemu-img.
"""

import argparse
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

LOCK_TRIES, LOCK_PAUSE = 100, 0.1


class Failure(Exception):
    pass


def run(words, text=None, ok=(0,)):
    """The end of a command. The kernel takes an io_uring apart after its killed process is gone; till then it is locked."""
    for _ in range(LOCK_TRIES):
        done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=120)
        if done.returncode in ok or not re.search("Failed to get .*lock|in use by another process", done.stderr):
            break
        time.sleep(LOCK_PAUSE)
    if done.returncode not in ok:
        raise Failure(f"{' '.join(words)}: status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done


def pattern(offset, length, seed):
    first, last = offset // 8, (offset + length + 7) // 8
    words = [((seed << 40) & 0xFFFFFFFFFFFFFFFF) ^ at ^ 0x5A00000000000000 for at in range(first, last)]
    data = struct.pack(f"<{len(words)}Q", *words)
    return data[offset - first * 8 : offset - first * 8 + length]


class Image:
    """One image, with the chain below it, and what its disk must hold."""

    def __init__(self, folder, rng):
        self.folder, self.rng = folder, rng
        self.path = os.path.join(folder, "top.qcow2")
        self.size = rng.choice([1, 2, 5, 9]) * (1 << 20) + rng.choice([0, 0, 512, 33 * 512])
        self.model = bytearray(self.size)
        self.may_be_zero = bytearray(self.size)  # discarded: what it was, or zeroes
        self.shrunk = False
        self.create()

    def create(self):
        rng = self.rng
        self.version = rng.choice([2, 3, 3, 3])
        cluster = rng.choice([512, 1024, 4096, 4096, 65536, 65536, 65536, 1 << 20, 2 << 20])
        options = [f"compat={'0.10' if self.version == 2 else '1.1'}"]
        self.data_file = ""
        self.backing = False
        if self.version == 3:
            options.append(f"refcount_bits={rng.choice([1, 2, 4, 8, 16, 16, 16, 32, 64])}")
            if rng.random() < 0.3:
                cluster = rng.choice([16384, 65536, 1 << 20])
                options.append("extended_l2=on")
            if rng.random() < 0.2:
                options.append("lazy_refcounts=on")
            if rng.random() < 0.3:
                options.append("compression_type=zstd")
            if rng.random() < 0.12:
                self.data_file = rng.choice(["plain", "raw"])
                options.append(f"data_file={self.folder}/data.raw")
                if self.data_file == "raw":
                    options.append("data_file_raw=on")
        options.append(f"cluster_size={cluster}")
        self.cluster = cluster
        self.secret, self.encryption = [], ""
        if self.data_file == "" and rng.random() < 0.2:
            options += self.make_encryption()
        words = ["qemu-img", "create", "-q", "-f", "qcow2", *self.secret]
        if self.data_file != "raw" and rng.random() < 0.5:
            words += self.make_backing()
        elif rng.random() < 0.2 and self.data_file == "" and not self.encryption:
            options.append(f"preallocation={rng.choice(['metadata', 'falloc', 'full'])}")
        self.options = ",".join(options)
        self.held = {}  # what each snapshot holds
        # Making a LUKS header, qemu-img measures its processor, and fails where its thread's clock does not tick.
        for attempt in range(500):
            time.sleep(attempt * 3 % 17 / 1000)
            made = run(words + ["-o", self.options, self.path, str(self.size)], ok=(0, 1))
            if "accurate CPU usage" not in made.stderr:
                break
        if made.returncode:
            raise Failure(made.stderr)
        narrow = any(f"refcount_bits={bits}," in self.options for bits in (1, 2, 4, 8))
        self.may_snapshot = self.data_file == "" and not narrow and rng.random() < 0.4
        # QEMU compresses only into clusters that are not there yet.
        self.may_compress = self.data_file == "" and not narrow and "preallocation" not in self.options and not self.encryption

    def make_encryption(self):
        rng = self.rng
        passphrase = os.path.join(self.folder, "passphrase")
        with open(passphrase, "w", encoding="ascii") as file:
            file.write("swordfish")
        self.secret = ["--object", f"secret,id=s,file={passphrase}"]
        self.encryption = rng.choice(["luks", "luks", "aes"])
        options = [f"encrypt.format={self.encryption}", "encrypt.key-secret=s"]
        if self.encryption == "luks":
            options.append("encrypt.iter-time=10")
            options += rng.choice([[], ["encrypt.cipher-alg=aes-128"], ["encrypt.cipher-mode=cbc", "encrypt.ivgen-alg=essiv"],
                                   ["encrypt.cipher-alg=aes-192", "encrypt.ivgen-alg=plain"], ["encrypt.cipher-mode=ctr", "encrypt.hash-alg=sha512"],
                                   ["encrypt.cipher-alg=cast5-128", "encrypt.cipher-mode=cbc", "encrypt.hash-alg=sha1"],
                                   ["encrypt.cipher-alg=aes-128", "encrypt.cipher-mode=cbc", "encrypt.ivgen-alg=essiv", "encrypt.ivgen-hash-alg=sha256"],
                                   ["encrypt.cipher-mode=ecb", "encrypt.hash-alg=ripemd160"]])
        return options

    def theirs(self, *more):
        """The image, in the words of qemu-img and qemu-io."""
        if not self.encryption:
            return ["-f", "qcow2", *more, self.path]
        return [*self.secret, "--image-opts", *more, f"driver=qcow2,file.filename={self.path},encrypt.key-secret=s"]

    def ours(self):
        """And in those of disk_ops."""
        words = ["--passphrase-file", os.path.join(self.folder, "passphrase")] if self.encryption else []
        return words + (["--data-file", f"{self.folder}/data.raw"] if self.data_file else []) + [self.path]

    def make_backing(self):
        rng = self.rng
        size = max(512, (self.size * rng.choice([50, 100, 130]) // 100) // 512 * 512)
        data = bytearray(size)
        for _ in range(12):
            offset = rng.randrange(size)
            length = min(size - offset, rng.choice([700, 5000, 70000, 400000]))
            data[offset : offset + length] = pattern(offset, length, rng.randrange(1, 1 << 20))
        raw = os.path.join(self.folder, "base.raw")
        with open(raw, "wb") as file:
            file.write(data)
        kept = min(size, self.size)
        self.model[:kept] = data[:kept]
        self.backing = True
        if rng.random() < 0.4:
            return ["-b", "base.raw", "-F", "raw"]
        base = os.path.join(self.folder, "base.qcow2")
        compressed = ["-c"] if rng.random() < 0.5 else []
        run(["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", *compressed, "-o", self.base_options(), raw, base])
        if rng.random() < 0.5:
            return ["-b", "base.qcow2", "-F", "qcow2"]
        self.make_middle(data)
        return ["-b", "middle.qcow2", "-F", "qcow2"]

    def base_options(self):
        cluster = self.rng.choice([512, 4096, 16384, 65536, 1 << 20])
        return f"cluster_size={cluster}" + (",extended_l2=on" if cluster >= 16384 and self.rng.random() < 0.4 else "")

    def make_middle(self, data):
        """A layer between base and top, of another size than the base, with writes, zeroes and discards of its own."""
        rng = self.rng
        size = max(512, len(data) * rng.choice([60, 100, 120]) // 100 // 512 * 512)
        middle = os.path.join(self.folder, "middle.qcow2")
        run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "-o", self.base_options(), middle, str(size)])
        held = bytearray(data[:size]) + bytes(max(0, size - len(data)))
        lines = []
        for _ in range(10):
            offset = rng.randrange(0, size, 512)
            length = min(size - offset, rng.choice([512, 4096, 65536, 200192]))
            value = rng.choice([0, rng.randrange(1, 256)])
            lines.append(f"write {'-z' if value == 0 else f'-P {value}'} {offset} {length}")
            held[offset : offset + length] = bytes([value]) * length
        run(["qemu-io", "-f", "qcow2", middle], "\n".join(lines) + "\nq\n")
        kept = min(size, self.size)
        self.model = held[:kept] + bytes(self.size - kept)

    def place(self):
        rng = self.rng
        length = rng.choice([512, 512, 1024, 4096, 4096, 8192, 65536, 65536, 131072, 300032, 1 << 20])
        offset = rng.randrange(0, self.size, rng.choice([512, 4096, 65536]))
        return offset, min(length, self.size - offset)

    def our_turn(self, tool):
        rng = self.rng
        discard = rng.random() < 0.7
        words = [tool, "--cache", rng.choice(["none", "writeback", "writeback", "unsafe", "writethrough"])]
        words += ["--discard"] if discard else []
        words += ["--io", "threads"] if rng.random() < 0.15 else []
        words += ["--table-cache", "4096"] if rng.random() < 0.3 else []
        lines, busy = [], []
        for _ in range(rng.choice([1, 10, 60])):
            name = rng.choice("wwwwwWzzuudfrcc")
            if name == "f":
                lines.append("f")
                continue
            offset, length = self.place()
            if name == "c":
                offset -= offset % self.cluster
                length = min(self.cluster, self.size - offset)
            if name in "wW" and rng.random() < 0.1:  # any alignment is served
                offset, length = min(offset + rng.randrange(512), self.size - 1), max(1, length - rng.randrange(512))
                length = min(length, self.size - offset)
            # What overlaps a request under way may be done before or after it: not here.
            if any(offset < end and begin < offset + length for begin, end in busy):
                lines.append("b")
                busy = []
            busy.append((offset, offset + length))
            seed = rng.randrange(1, 1 << 20)
            lines.append(f"{name} {offset} {length} {seed}")
            self.apply(name, offset, length, seed, discard)
        if rng.random() < 0.3:
            lines += ["b", "f", "b", "kill"]
        else:
            lines += ["b", f"dump {self.folder}/ours.raw"]
        done = run(words + self.ours(), "\n".join(lines) + "\n")
        if done.stdout:
            raise Failure(f"operations failed:\n{done.stdout}")
        if lines[-1] != "kill":
            self.compare(f"{self.folder}/ours.raw", "we read after writing")
        self.check(leaks_ok=lines[-1] == "kill")

    def apply(self, name, offset, length, seed, discard):
        if name in "wWc":
            self.set(offset, pattern(offset, length, seed))
        elif name in "zu":
            self.set(offset, bytes(length))
        elif name == "d" and discard:
            self.discard(offset, length)

    def set(self, offset, data):
        self.model[offset : offset + len(data)] = data
        self.may_be_zero[offset : offset + len(data)] = bytes(len(data))

    def discard(self, offset, length):
        self.may_be_zero[offset : offset + length] = bytes([1]) * length

    def compress(self):
        cluster = int(self.options.split("cluster_size=")[1].split(",")[0])
        values = {}
        for index in sorted({self.rng.randrange(self.size // cluster + 1) for _ in range(20)}):
            if (index + 1) * cluster <= self.size:
                values[index * cluster] = self.rng.randrange(1, 256)
        lines = [f"write -c -P {value} {offset} {cluster}" for offset, value in values.items()]
        # Some fail where two would share a sector; those that did not say so.
        done = run(["qemu-io", "-f", "qcow2", self.path], "\n".join(lines) + "\nq\n", ok=(0, 1))
        for offset in re.findall(r"wrote \d+/\d+ bytes at offset (\d+)", done.stdout):
            self.set(int(offset), bytes([values[int(offset)]]) * cluster)

    def qemu_turn(self):
        rng = self.rng
        if self.may_compress and rng.random() < 0.6:
            self.compress()
        self.may_compress = False
        lines = []
        for _ in range(rng.choice([1, 10, 30])):
            offset, length = self.place()
            name = rng.choice(["write", "write", "zeroes", "unmap", "discard"])
            if name == "write":
                value = rng.randrange(1, 256)
                lines.append(f"write -P {value} {offset} {length}")
                self.set(offset, bytes([value]) * length)
            elif name in ("zeroes", "unmap"):
                lines.append(f"write -z {'-u ' if name == 'unmap' else ''}{offset} {length}")
                self.set(offset, bytes(length))
            else:
                lines.append(f"discard {offset} {length}")
                self.discard(offset, length)
        run(["qemu-io", *self.theirs("-d", "unmap")], "\n".join(lines) + "\nq\n")

    def snapshots(self, tool):
        """Makes, applies and deletes snapshots: each by us or by QEMU."""
        for _ in range(self.rng.choice([0, 1, 2, 3])):
            by_us = self.rng.random() < 0.6
            snapshot = [tool, "snapshot", "-f", "qcow2"] if by_us else ["qemu-img", "snapshot"]
            place = [self.path] if by_us or not self.encryption else self.theirs()
            kind = self.rng.choice("ccaad")
            if kind == "c" or not self.held:
                name = f"s{len(self.held)}-{self.rng.randrange(1 << 30)}"
                run(snapshot + ["-c", name, *place])
                self.held[name] = bytes(self.model)
            else:
                name = self.rng.choice(sorted(self.held))
                run(snapshot + ["-" + kind, name, *place])
                if kind == "a":
                    self.model = bytearray(self.held[name])
                    self.size = len(self.model)
                    self.may_be_zero = bytearray(self.size)
                else:
                    del self.held[name]
            self.check()

    def may_resize(self):
        # In version 2 a snapshot does not tell the size of its disk.
        return self.data_file == "" and (self.version == 3 or not self.held)

    def resize(self, tool):
        """Another size, by us or by QEMU: what is new reads as zeroes, whatever lies below."""
        rng = self.rng
        size = max(512, self.size * rng.choice([50, 80, 110, 150]) // 100 // 512 * 512 + rng.choice([0, 0, 512]))
        shrink = ["--shrink"] if size < self.size else []
        # Where a shrunk disk ends inside a cluster, QEMU leaves the cluster's rest as it was, and shows it again on growing.
        stale = not shrink and self.shrunk and self.size % self.cluster
        self.shrunk = self.shrunk or bool(shrink)
        refused = not shrink and self.version == 2 and self.backing  # it has no zero clusters to hide what lies below
        if rng.random() < 0.6 or stale or refused:
            run([tool, "resize", "-f", "qcow2", *shrink, *self.secret, self.path, str(size)])
        else:
            run(["qemu-img", "resize", "-q", *shrink, *self.theirs(), str(size)])
        self.model = self.model[:size] + bytes(max(0, size - self.size))
        self.size = size
        self.may_be_zero = bytearray(size)
        self.check()

    def check(self, leaks_ok=False):
        done = run(["qemu-img", "check", *self.theirs()], ok=(0, 3) if leaks_ok else (0,))
        if done.returncode == 3:
            run(["qemu-img", "check", "-q", "-r", "leaks", *self.theirs()], ok=(0, 3))

    def compare(self, path, what):
        with open(path, "rb") as file:
            data = file.read()
        if len(data) != len(self.model):
            raise Failure(f"{what}: {len(data)} bytes, not {len(self.model)}")
        if data != self.model:
            for at in range(0, len(data), 512):
                end = min(at + 512, len(data))
                if data[at:end] != self.model[at:end]:
                    for i in range(at, end):
                        if self.may_be_zero[i] and data[i] == 0:
                            self.model[i] = 0
        self.may_be_zero = bytearray(self.size)
        if data != self.model:
            at = next(i for i in range(len(data)) if data[i] != self.model[i])
            wrong = sum(1 for i in range(0, len(data), 512) if data[i : i + 512] != self.model[i : i + 512])
            raise Failure(f"{what}: {wrong} sectors differ, the first at offset {at:#x}: {data[at:at+8].hex()} not {self.model[at:at+8].hex()}")

    def look(self, tool):
        theirs = f"{self.folder}/theirs.raw"
        run(["qemu-img", "convert", "-q", "-O", "raw", *self.theirs(), theirs])
        self.compare(theirs, "QEMU reads")
        ours = f"{self.folder}/ours.raw"
        run([tool, "--read-only", *self.ours()], f"dump {ours}\n")
        self.compare(ours, "we read")
        if self.data_file == "raw" and open(f"{self.folder}/data.raw", "rb").read(self.size) != self.model:
            raise Failure("the raw data file differs")


def one_case(tool, image_tool, seed, folder):
    rng = random.Random(seed)
    image = Image(folder, rng)
    try:
        for _ in range(rng.choice([1, 2, 4])):
            if rng.random() < 0.7:
                image.qemu_turn()
            image.look(tool)
            image.our_turn(tool)
            image.look(tool)
            if image.may_snapshot and image_tool:
                image.snapshots(image_tool)
                image.look(tool)
            if image.may_resize() and image_tool and rng.random() < 0.4:
                image.resize(image_tool)
                image.look(tool)
    except Failure as failure:
        chain = "backing, " if image.backing else ""
        raise Failure(f"seed {seed} ({chain}{image.options}, {image.size} bytes): {failure}") from None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("--vmm-img", help="makes, applies and deletes snapshots too")
    parser.add_argument("--cases", type=int, default=1 << 30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    if shutil.which("qemu-img") is None or shutil.which("qemu-io") is None:
        print("there is no qemu-img and qemu-io")
        return 77
    image_tool = arguments.vmm_img and os.path.abspath(arguments.vmm_img)
    end = time.monotonic() + arguments.seconds
    done = 0
    for seed in range(arguments.seed, arguments.seed + arguments.cases):
        if time.monotonic() > end:
            break
        folder = tempfile.mkdtemp(prefix="qcow2-differential-", dir=os.getcwd())
        try:
            one_case(os.path.abspath(arguments.tool), image_tool, seed, folder)
        except (Failure, subprocess.TimeoutExpired) as failure:
            print(failure)
            return 1
        finally:
            if not arguments.keep:
                shutil.rmtree(folder)
        done += 1
    print(f"{done} cases agreed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
