"""Malformed qcow2 images: every command ends with an error in words, or with reads that are safe, in 64 MiB.

ROWS is a table: an image that qemu-img made, what is wrong with it, and, where it must be refused, a part of the
sentence. No time is asserted, but processor time is bounded: a command that takes more is ended by the kernel.
"""

import concurrent.futures
import os
import struct
import subprocess
import tempfile
import unittest

from tool import VMM_IMG, ToolTest

KIB, MIB = 1 << 10, 1 << 20
MEMORY_BYTES = 64 * MIB
HANG_SECONDS = 100
CPU_SECONDS = 2
COPIED, COMPRESSED, ZERO = 1 << 63, 1 << 62, 1

# Commands that read, and commands that change the image, each on a copy of its own.
READING = (["info", "-f", "qcow2", "image"], ["check", "-f", "qcow2", "image"], ["map", "-f", "qcow2", "--output=json", "image"],
           ["snapshot", "-f", "qcow2", "-l", "image"], ["compare", "-f", "qcow2", "-F", "raw", "image", "small"])
CHANGING = (["convert", "-n", "-f", "raw", "-O", "qcow2", "small", "image"], ["check", "-f", "qcow2", "-r", "all", "image"],
            ["resize", "-f", "qcow2", "image", "+1M"], ["resize", "-f", "qcow2", "--shrink", "image", "64k"],
            ["snapshot", "-f", "qcow2", "-c", "new", "image"], ["snapshot", "-f", "qcow2", "-a", "1", "image"],
            ["snapshot", "-f", "qcow2", "-d", "1", "image"])


class Image:
    """The bytes of an image, and where its tables lie."""

    def __init__(self, data):
        self.data = bytearray(data)
        self.cluster = 1 << self.get(20, "I")
        self.l1, self.l1_entries = self.get(40, "Q"), self.get(36, "I")
        self.l2 = self.entry(self.l1)
        self.refcount_table, self.snapshots = self.get(48, "Q"), self.get(64, "Q")
        self.refcount_block = self.entry(self.refcount_table)
        self.extensions = {}
        at = self.get(100, "I") if self.get(4, "I") == 3 else 72
        while self.get(at, "I") != 0:
            self.extensions[self.get(at, "I")] = at
            at += 8 + (self.get(at + 4, "I") + 7) // 8 * 8
        self.end_of_extensions = at
        bitmaps = self.extensions.get(0x23852875)
        self.bitmaps = bitmaps and bitmaps + 8
        self.directory = bitmaps and self.get(bitmaps + 24, "Q")
        self.end = len(data)

    def get(self, offset, kind):
        return struct.unpack_from(">" + kind, self.data, offset)[0]

    def entry(self, offset):
        return self.get(offset, "Q") & 0x00FFFFFFFFFFFE00

    def put(self, offset, kind, value):
        self.data[offset:offset + struct.calcsize(">" + kind)] = struct.pack(">" + kind, value)
        return self

    def put_bytes(self, offset, data):
        self.data.extend(bytes(max(0, offset + len(data) - len(self.data))))
        self.data[offset:offset + len(data)] = data
        return self

    def extension(self, kind, length, data=b""):
        """In place of all others."""
        start = self.get(100, "I")
        self.data[start:self.cluster] = bytes(self.cluster - start)
        return self.put_bytes(start, struct.pack(">II", kind, length) + data)


def field(offset, kind, *values):
    return [(f"byte {offset} = {value:#x}", lambda image, value=value: image.put(offset, kind, value)) for value in values]


def rows(image, refusal, *cases):
    return [(image, what, change, refusal) for group in cases for what, change in (group if isinstance(group, list) else [group])]


def grow_l1(image, entries, value):
    """A disk as long as the L1 table, in a file that is mostly a hole."""
    at = 16 * MIB
    span = image.cluster * (image.cluster // 8)
    image.put(36, "I", entries).put(40, "Q", at).put(24, "Q", min(entries * span, 1 << 62) // 512 * 512)
    image.put_bytes(at, struct.pack(">Q", value) * (entries if value else 0) or bytes(8))
    return image.put_bytes(at + entries * 8 - 8, struct.pack(">Q", value))


def many_snapshots(image, count, l1_entries, l1_offset=None):
    entry = struct.pack(">QIHHIIQII", image.l1 if l1_offset is None else l1_offset, l1_entries, 1, 1, 0, 0, 0, 0, 16) + struct.pack(">QQ", 0, MIB) + b"1s"
    entry += bytes(-len(entry) % 8)
    return image.put(60, "I", count).put(64, "Q", 8 * MIB).put_bytes(8 * MIB, entry * count)


def directory_entry(table, entries, flags=2, kind=1, granularity=16, name=b"b", extra=0, name_bytes=None):
    head = struct.pack(">QIIBBHI", table, entries, flags, kind, granularity, len(name) if name_bytes is None else name_bytes, extra)
    return head + name + bytes(-(len(head) + len(name)) % 8)


def first_bitmap(**changes):
    def change(image):
        table, entries = image.get(image.directory, "Q"), image.get(image.directory + 8, "I")
        return image.put_bytes(image.directory, directory_entry(**{"table": table, "entries": entries, **changes}))
    return change


def l2(value, bitmap=None, index=0):
    """The entry at `index` of the first L2 table; `value` may be a function of the image."""
    def change(image):
        number = value(image) if callable(value) else value
        if bitmap is None:
            return image.put(image.l2 + 8 * index, "Q", number)
        return image.put(image.l2 + 16 * index, "Q", number).put(image.l2 + 16 * index + 8, "Q", bitmap)
    return change


def compressed(image, offset, sectors):
    shift = 62 - (image.get(20, "I") - 8)
    return COMPRESSED | sectors << shift | offset


TOP = 1 << 55  # host offsets are below
ROWS = [
    # --- Header fields out of range: refused by name ---
    *rows("full", "no qcow2 image", field(0, "I", 0, 0x514649FA, 0xFFFFFFFF)),
    *rows("full", "version", field(4, "I", 0, 1, 4, 0xFFFFFFFF)),
    *rows("full", "backing file", field(8, "Q", 1, 64, 65535, 65536, 1 << 63, (1 << 64) - 1)),
    *rows("overlay", "backing file", field(16, "I", 0, 1024, 0xFFFFFFFF)),
    *rows("full", "cluster_bits", field(20, "I", 0, 8, 22, 31, 63, 64, 0xFFFFFFFF)),
    *rows("full", "size", field(24, "Q", 1 << 50, 1 << 62, 1 << 63, (1 << 64) - 1)),
    *rows("full", "crypt_method", field(32, "I", 3, 0xFFFFFFFF)),
    *rows("full", "encryption header", field(32, "I", 2)),
    *rows("full", "passphrase", field(32, "I", 1)),
    *rows("full", "l1_size", field(36, "I", 0, (32 * MIB) // 8 + 1, 0x7FFFFFFF, 0xFFFFFFFF)),
    *rows("full", "past the end", field(36, "I", 1_000_000)),
    *rows("full", "l1_table_offset", field(40, "Q", 0, 1, 512, 65535, TOP << 1, (1 << 64) - 1)),
    *rows("full", "past the end", field(40, "Q", 1 << 40, TOP)),
    *rows("full", "refcount_table_offset", field(48, "Q", 0, 1, 512, TOP << 1, (1 << 64) - 1)),
    *rows("full", "refcount_table_clusters", field(56, "I", 0, 129, 0x80000000, 0xFFFFFFFF)),
    *rows("full", "nb_snapshots", field(60, "I", 65537, 0xFFFFFFFF)),
    *rows("full", "snapshots_offset", field(64, "Q", 0, 1, 512, TOP << 1, (1 << 64) - 1)),
    *rows("full", "features", field(72, "Q", 1 << 5, 1 << 63, (1 << 64) - 1)),
    *rows("full", "internal snapshots", field(72, "Q", 1 << 2)),
    *rows("full", "compression_type", field(72, "Q", 1 << 3), field(104, "B", 1, 2, 255)),
    *rows("full", "refcount_order", field(96, "I", 7, 31, 64, 0xFFFFFFFF)),
    *rows("full", "header_length", field(100, "I", 0, 72, 103, 105, 65544, 0xFFFFFFF8, 0xFFFFFFFF)),
    *rows("small clusters", "extended L2", field(72, "Q", 1 << 4)),
    # --- Flags that say that something is to be done, and tables elsewhere that may be anything ---
    *rows("full", None, field(72, "Q", 1, 2, 3, 1 << 4), field(80, "Q", 1, 1 << 63, (1 << 64) - 1), field(88, "Q", 0, 2, 1 << 63, (1 << 64) - 1)),
    *rows("full", None, field(96, "I", 0, 3, 5, 6), field(20, "I", 9, 10, 15, 17, 21), field(24, "Q", 0, 1, 511, 513)),
    *rows("full", None, field(48, "Q", 65536 * 1000, TOP - 65536), field(56, "I", 2, 128), field(60, "I", 0, 2, 65536),
          field(64, "Q", 65536 * 1000, TOP - 65536)),
    # --- Header extensions ---
    *rows("full", "header extension", ("longer than the cluster", lambda image: image.extension(0x11111111, 0xFFFFFFF0)),
          ("as long as fits, and a byte", lambda image: image.extension(0x11111111, image.cluster - 112 - 7))),
    *rows("full", "bitmaps extension", ("bitmaps too short", lambda image: image.extension(0x23852875, 16, bytes(16))),
          ("no bitmaps", lambda image: image.extension(0x23852875, 24, struct.pack(">IIQQ", 0, 0, 64, 65536))),
          ("directory not aligned", lambda image: image.extension(0x23852875, 24, struct.pack(">IIQQ", 1, 0, 64, 65537))),
          ("directory too long", lambda image: image.extension(0x23852875, 24, struct.pack(">IIQQ", 1, 0, 1 << 63, 65536))),
          ("directory at 0", lambda image: image.extension(0x23852875, 24, struct.pack(">IIQQ", 1, 0, 64, 0)))),
    *rows("full", "encryption header", ("pointer too short", lambda image: image.extension(0x0537BE77, 8, bytes(8))),
          ("pointer without encryption", lambda image: image.extension(0x0537BE77, 16, struct.pack(">QQ", 65536, 4096))),
          ("length of everything", lambda image: image.put(32, "I", 2).extension(0x0537BE77, 16, struct.pack(">QQ", 65536, (1 << 64) - 1))),
          ("not aligned", lambda image: image.put(32, "I", 2).extension(0x0537BE77, 16, struct.pack(">QQ", 65537, 4096)))),
    *rows("full", None, ("no end", lambda image: image.extension(0x11111111, image.cluster - 112 - 8)),
          ("thousands of empty ones", lambda image: image.put_bytes(112, struct.pack(">II", 0x22222222, 0) * ((65536 - 112) // 8))),
          ("names of features cut off", lambda image: image.extension(0x6803F857, 47, b"\xff" * 47)),
          ("names of features without an end", lambda image: image.extension(0x6803F857, 48 * 100, b"\x00" + b"\xff" * 47 * 100)),
          ("two of each", lambda image: image.put_bytes(112, struct.pack(">II4sxxxx", 0xE2792ACA, 4, b"qcow") * 2 + bytes(8))),
          ("a name with a zero byte", lambda image: image.extension(0x44415441, 4, b"a\0b\0")),
          ("backing format of 60000 bytes", lambda image: image.extension(0xE2792ACA, 60000, b"x" * 60000))),
    *rows("overlay", None, ("backing name with a zero byte", lambda image: image.put_bytes(image.get(8, "Q"), b"\0")),
          ("backing name is the image", lambda image: image.put(16, "I", 5).put_bytes(image.get(8, "Q"), b"image")),
          ("backing name of a device", lambda image: image.put(16, "I", 9).put_bytes(image.get(8, "Q"), b"/dev/zero")),
          ("backing name of a protocol", lambda image: image.put(16, "I", 9).put_bytes(image.get(8, "Q"), b"nbd://a/b")),
          ("backing name over the extensions", lambda image: image.put(8, "Q", 120).put(16, "I", 100))),
    # --- L1 ---
    *rows("full", None, *[(f"L1 entry {value:#x}", lambda image, value=value: image.put(image.l1, "Q", value))
                          for value in (1, 512, COPIED | 65537, COPIED, COPIED | 65536 * 1000, COPIED | TOP, (1 << 64) - 1, COMPRESSED | 65536)],
          ("L1 entry at itself", lambda image: image.put(image.l1, "Q", COPIED | image.l1)),
          ("L1 entry at the header", lambda image: image.put(image.l1, "Q", COPIED)),
          ("L1 entry at the refcount table", lambda image: image.put(image.l1, "Q", COPIED | image.refcount_table)),
          ("L1 entry at a refcount block", lambda image: image.put(image.l1, "Q", COPIED | image.refcount_block)),
          ("L1 entry at the snapshot table", lambda image: image.put(image.l1, "Q", COPIED | image.snapshots)),
          ("L1 table is the refcount table", lambda image: image.put(40, "Q", image.refcount_table)),
          ("L1 table is the header", lambda image: image.put(40, "Q", 0)),
          ("L1 table is a refcount block", lambda image: image.put(40, "Q", image.refcount_block)),
          ("the largest L1 table", lambda image: grow_l1(image, 32 * MIB // 8, 0)),
          ("an L2 table four thousand times", lambda image: grow_l1(image, 4 * KIB, COPIED | image.l2)),
          ("four thousand L2 tables past the end", lambda image: grow_l1(image, 4 * KIB, COPIED | 1 << 40))),
    *rows("full", "past the end", ("an L2 table past the end", lambda image: image.put(image.l1, "Q", COPIED | 1 << 40))),
    # Past the end, and over each other.
    *rows("full", " lie", ("half a million L2 tables past the end", lambda image: grow_l1(image, 512 * KIB, COPIED | 1 << 40))),
    *rows("small clusters", None, ("the largest L1 table", lambda image: grow_l1(image, 32 * MIB // 8, 0)),
          ("an L2 table thirty thousand times", lambda image: grow_l1(image, 30 * KIB, COPIED | image.l2))),
    # --- L2 ---
    *rows("full", None, *[(f"L2 entry {value:#x}", l2(value)) for value in
                          (2, 512, 511, COPIED | 65537, COPIED | 65536 + 512, COPIED | 65536 * 1000, COPIED | TOP, COPIED | (TOP - 65536),
                           COPIED | ZERO, COPIED | ZERO | 65536 * 1000, (1 << 64) - 1, (1 << 64) - 1 - COMPRESSED)],
          ("L2 entry at its own table", l2(lambda image: COPIED | image.l2)), ("L2 entry at the header", l2(COPIED)),
          ("L2 entry at the L1 table", l2(lambda image: COPIED | image.l1)),
          ("L2 entry at the refcount table", l2(lambda image: COPIED | image.refcount_table)),
          ("L2 entry at a refcount block", l2(lambda image: COPIED | image.refcount_block)),
          ("L2 entry at the bitmap directory", l2(lambda image: COPIED | image.directory)),
          ("all entries at one cluster", lambda image: image.put_bytes(image.l2, struct.pack(">Q", image.get(image.l2, "Q")) * (image.cluster // 8))),
          ("an L2 table of ones", lambda image: image.put_bytes(image.l2, b"\xff" * image.cluster)),
          # --- Compressed clusters ---
          ("compressed, past the end", l2(lambda image: compressed(image, image.end + 65536, 3))),
          ("compressed, far past the end", l2(lambda image: compressed(image, (1 << 54) - 1, 127))),
          ("compressed, at the end", l2(lambda image: compressed(image, image.end - 1, 127))),
          ("compressed, at the header", l2(lambda image: compressed(image, 0, 127))),
          ("compressed, at its own table", l2(lambda image: compressed(image, image.l2, 1))),
          ("compressed, no sectors", l2(lambda image: compressed(image, image.l2 + 511, 0))),
          ("compressed and copied", l2(lambda image: COPIED | compressed(image, image.l2, 5))),
          ("compressed, all ones", l2((1 << 64) - 1 - COPIED)),
          ("compressed, all entries the same", lambda image: image.put_bytes(image.l2, struct.pack(">Q", compressed(image, image.end - 70000, 127)) * (image.cluster // 8)))),
    *rows("compressed", None, ("data that are no deflate stream", lambda image: image.put_bytes(image.get(image.l2, "Q") & ((1 << 54) - 1), b"\xff" * 300)),
          ("one sector only", lambda image: image.put(image.l2, "Q", image.get(image.l2, "Q") & ~(0xFF << 54) | COMPRESSED))),
    *rows("zstd", None, ("data that are no zstd frame", lambda image: image.put_bytes(image.get(image.l2, "Q") & ((1 << 54) - 1), b"\xff" * 300)),
          ("a frame that promises a terabyte", lambda image: image.put_bytes(image.get(image.l2, "Q") & ((1 << 54) - 1),
                                                                             bytes.fromhex("28b52ffde0") + struct.pack("<Q", 1 << 40) + bytes(40))),
          ("a window of 2 GiB", lambda image: image.put_bytes(image.get(image.l2, "Q") & ((1 << 54) - 1), bytes.fromhex("28b52ffd00a8") + b"\x55" * 40))),
    # --- Extended L2 entries ---
    *rows("subclusters", None, ("allocated and zero", l2(lambda image: image.get(image.l2, "Q"), (1 << 64) - 1)),
          ("allocated without a place", l2(0, 0xFFFFFFFF)), ("zero without a place", l2(0, 0xFFFFFFFF << 32)),
          ("copied without a place", l2(COPIED, 1)), ("a place and nothing in use", l2(lambda image: image.get(image.l2, "Q"), 0)),
          ("past the end", l2(COPIED | 65536 * 1000, 0xFFFFFFFF)), ("not aligned", l2(COPIED | 512, 1)),
          ("the zero flag of standard entries", l2(lambda image: image.get(image.l2, "Q") | ZERO, 1)),
          ("compressed with a bitmap", l2(lambda image: compressed(image, image.end - 5000, 3), 0xFF)),
          ("a table of ones", lambda image: image.put_bytes(image.l2, b"\xff" * image.cluster)),
          ("cluster_bits of another", lambda image: image.put(20, "I", 14))),
    # --- Refcounts ---
    *rows("full", None, *[(f"refcount table entry {value:#x}", lambda image, value=value: image.put(image.refcount_table, "Q", value))
                          for value in (0, 1, 512, 65537, 65536 * 1000, TOP, (1 << 64) - 1)],
          ("refcount block is the table", lambda image: image.put(image.refcount_table, "Q", image.refcount_table)),
          ("refcount block is the header", lambda image: image.put(image.refcount_table, "Q", 0)),
          ("refcount block is the L1 table", lambda image: image.put(image.refcount_table, "Q", image.l1)),
          ("one block for everything", lambda image: image.put_bytes(image.refcount_table, struct.pack(">Q", image.refcount_block) * (image.cluster // 8))),
          ("refcount table is the L1 table", lambda image: image.put(48, "Q", image.l1)),
          ("refcounts all 0", lambda image: image.put_bytes(image.refcount_block, bytes(image.cluster))),
          ("refcounts all ones", lambda image: image.put_bytes(image.refcount_block, b"\xff" * image.cluster)),
          ("the file ends in its refcount block", lambda image: image.data.__delitem__(slice(image.refcount_block + 512, None)) or image),
          ("a table entry for the end of everything", lambda image: image.put(image.refcount_table + image.cluster - 8, "Q", image.refcount_block))),
    # --- Snapshots ---
    *rows("full", None, *[(f"L1 table at {offset:#x}", lambda image, offset=offset: image.put(image.snapshots, "Q", offset))
                          for offset in (0, 1, 512, 65536 * 1000, TOP, (1 << 64) - 1)],
          *[(f"L1 of {entries} entries", lambda image, entries=entries: image.put(image.snapshots + 8, "I", entries)) for entries in (0, 1 << 20, 1 << 22, (1 << 32) - 1)],
          *[(f"name of {length} bytes", lambda image, length=length: image.put(image.snapshots + 14, "H", length)) for length in (0, 65535)],
          *[(f"{length} bytes of extra data", lambda image, length=length: image.put(image.snapshots + 36, "I", length)) for length in (0, 7, 1024, 1 << 31, (1 << 32) - 1)],
          *[(f"of a disk of {size:#x} bytes", lambda image, size=size: image.put(image.snapshots + 48, "Q", size)) for size in (0, 1, 1 << 40, 1 << 62, (1 << 64) - 1)],
          ("snapshot's L1 is the active one", lambda image: image.put(image.snapshots, "Q", image.l1)),
          ("snapshot's L1 is the snapshot table", lambda image: image.put(image.snapshots, "Q", image.snapshots)),
          ("snapshot table is the L1 table", lambda image: image.put(64, "Q", image.l1)),
          ("30000 snapshots of the active L1 table", lambda image: many_snapshots(image, 30_000, 1)),
          ("300 snapshots with L1 tables of 32 MiB", lambda image: many_snapshots(image.put_bytes(48 * MIB, bytes(1)), 300, 4 * MIB, 16 * MIB)),
          ("VM state of everything", lambda image: image.put(image.snapshots + 40, "Q", (1 << 64) - 1))),
    # --- Bitmaps ---
    *rows("full", None, *[(f"bitmap: {changes}", first_bitmap(**changes)) for changes in
                          ({"table": 1}, {"table": 65536 * 1000}, {"table": (1 << 64) - 1}, {"entries": 0}, {"entries": 1 << 20}, {"entries": (1 << 32) - 1},
                           {"flags": (1 << 32) - 1}, {"kind": 0}, {"kind": 255}, {"granularity": 0}, {"granularity": 64}, {"granularity": 255},
                           {"name_bytes": 0}, {"name_bytes": 65535}, {"extra": 1}, {"extra": (1 << 32) - 1})],
          ("bitmap table is the directory", lambda image: image.put(image.directory, "Q", image.directory)),
          ("bitmap table is the L1 table", lambda image: image.put(image.directory, "Q", image.l1)),
          ("bitmap at the header", lambda image: image.put(image.get(image.directory, "Q"), "Q", 512)),
          ("bitmap past the end", lambda image: image.put(image.get(image.directory, "Q"), "Q", TOP - 65536)),
          ("65535 bitmaps, and one entry", lambda image: image.put(image.bitmaps, "I", 65535)),
          ("four billion bitmaps", lambda image: image.put(image.bitmaps, "I", (1 << 32) - 1)),
          ("directory past the end", lambda image: image.put(image.bitmaps + 16, "Q", 65536 * 1000)),
          ("directory of 60 MB", lambda image: image.put(image.bitmaps + 8, "Q", 60_000_000).put_bytes(70 * MIB, bytes(1))),
          ("directory is the header", lambda image: image.put(image.bitmaps + 16, "Q", 65536 * 0)),
          ("directory is the L1 table", lambda image: image.put(image.bitmaps + 16, "Q", image.l1))),
    # --- The file ---
    *[("full", f"the first {size} bytes", lambda image, size=size: image.data.__delitem__(slice(size, None)) or image, None if size > 65536 else "")
      for size in (0, 3, 4, 23, 24, 71, 72, 103, 104, 111, 112, 300, 512, 65535, 65536, 65537, 131072, 200_000, 327_680)],
]


# --- Other formats: the file, what is wrong with it, and a part of the sentence that refuses it ---


def bytes_at(offset, kind, *values):
    def change(data):
        data[offset:offset + struct.calcsize(">" + kind) * len(values)] = struct.pack(f">{len(values)}{kind}", *values)
    return change


def each(original, offset, kind, refusal, *values):
    return [(original, f"byte {offset} = {value:#x}", bytes_at(offset, kind, value), refusal) for value in values]


def luks(offset, kind, *values):
    """In the LUKS header of a qcow2 image."""
    def change(data):
        at = struct.unpack_from(">I", data, 100)[0]
        while struct.unpack_from(">I", data, at)[0] != 0x0537BE77:
            at += 8 + (struct.unpack_from(">I", data, at + 4)[0] + 7) // 8 * 8
        start = struct.unpack_from(">Q", data, at + 8)[0]
        for value in values:
            packed = value if isinstance(value, bytes) else struct.pack(">" + kind, value)
            data[start + offset:start + offset + len(packed)] = packed
    return change


def truncated(original, *sizes):
    def cut(size):
        def change(data):
            del data[size:]
        return change
    return [(original, f"the first {size} bytes", cut(size), None) for size in sizes]


ISO_DESCRIPTOR = 16 * 2048
SLOT = 208
HUGE = (0, 1, 0x7FFFFFFF, 0xFFFFFFFF)
OTHER_ROWS = [
    # qcow, version 1: 48 bytes of header, the L1 table behind it.
    *each("qcow", 0, "I", "qcow", 0, 0xFFFFFFFF),
    *each("qcow", 4, "I", "version", 0, 2, 7, 0xFFFFFFFF),
    *each("qcow", 8, "Q", None, 1, 48, 1 << 40, (1 << 64) - 1),
    *each("qcow", 16, "I", None, 1, 1023, 1024, 0xFFFFFFFF),
    *each("qcow", 24, "Q", None, 0, 1, 1 << 40, 1 << 62, 1 << 63, (1 << 64) - 1),
    *each("qcow", 32, "B", "header offset 32", 0, 8, 22, 63, 255),
    *each("qcow", 33, "B", "header offset 33", 0, 5, 14, 63, 255),
    *each("qcow", 36, "I", None, 1, 2, 0xFFFFFFFF),
    *each("qcow", 40, "Q", None, 0, 1, 48, 1 << 40, 1 << 62, (1 << 64) - 1),
    *each("qcow", 48, "Q", None, 1, 48, 1 << 40, 1 << 62, 1 << 63, (1 << 63) | 48, (1 << 64) - 1),
    *truncated("qcow", 0, 3, 4, 24, 47, 48, 50, 100, 600, 5000),
    # LUKS: magic, version, cipher, mode, hash; payload offset, key bytes, iterations; eight key slots.
    ("luks", "no LUKS magic", luks(0, "I", 0), "LUKS"),
    *[("luks", f"version {value}", luks(6, "H", value), "version") for value in (0, 2, 0xFFFF)],
    *[("luks", f"{what} {value!r}", luks(offset, "", value.ljust(32, b"\0")), refusal)
      for what, offset, refusal in (("cipher", 8, None), ("mode", 40, None), ("hash", 72, None))
      for value in (b"", b"serpent", b"x" * 32, b"\xff" * 32, b"xts-plain64-and-more")],
    *[("luks", f"payload at sector {value:#x}", luks(104, "I", value), None) for value in HUGE],
    *[("luks", f"key of {value:#x} bytes", luks(108, "I", value), None) for value in (*HUGE, 16, 65)],
    *[("luks", f"{value:#x} rounds for the digest", luks(164, "I", value), None if value == 1 else "") for value in HUGE],
    *[("luks", f"state {value:#x} of the first slot", luks(SLOT, "I", value), "") for value in (0, 0xDEAD, 0xFFFFFFFF)],
    *[("luks", f"{value:#x} rounds for the first slot", luks(SLOT + 4, "I", value), "") for value in HUGE],
    *[("luks", f"key material at sector {value:#x}", luks(SLOT + 40, "I", value), "") for value in (*HUGE, 2)],
    *[("luks", f"{value:#x} stripes", luks(SLOT + 44, "I", value), "") for value in (*HUGE, 4001)],
    *truncated("luks", 65536, 200_000, 300_000, 400_000),
    # ISO 9660: the primary volume descriptor, numbers in both byte orders; the descriptor that ends them.
    *each("iso", ISO_DESCRIPTOR, "B", None, 0, 2, 255),
    *each("iso", ISO_DESCRIPTOR + 1, "I", "", 0, 0xFFFFFFFF),
    *each("iso", ISO_DESCRIPTOR + 80, "Q", None, 0, 1, 1 << 32, (1 << 64) - 1),
    ("iso", "a volume of 2^32 blocks", bytes_at(ISO_DESCRIPTOR + 80, "Q", 0xFFFFFFFFFFFFFFFF), ""),
    *each("iso", ISO_DESCRIPTOR + 128, "I", None, 0, 0x00020002, 0xFFFFFFFF),
    *each("iso", ISO_DESCRIPTOR + 156, "B", None, 0, 33, 255),
    *each("iso", ISO_DESCRIPTOR + 158, "Q", None, 0, (1 << 64) - 1),
    *each("iso", ISO_DESCRIPTOR + 2048, "B", None, 0, 1, 2, 3),
    ("iso", "descriptors without an end", lambda data: data.__setitem__(slice(ISO_DESCRIPTOR + 2048, None), bytes(data[ISO_DESCRIPTOR:ISO_DESCRIPTOR + 2048]) * 200), None),
    *truncated("iso", 0, 100, 32768, 32769, 34815, 34816, 36864, 65536),
]


class Malformed(ToolTest):
    maxDiff = None
    IMAGES = {"full": [], "small clusters": ["-o", "cluster_size=512"], "subclusters": ["-o", "extended_l2=on"],
              "overlay": ["-b", "small", "-F", "raw"]}

    def setUp(self):
        super().setUp()
        self.create("small", format="raw", size="1M")
        self.originals = {}
        for name, options in self.IMAGES.items():
            path = self.create("original", *options, size="1M")
            self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 300k", path)
            self.qemu("qemu-img", "snapshot", "-c", "snapshot", path)
            self.qemu("qemu-io", "-f", "qcow2", "-c", "write -P 2 100k 300k", path)
            self.qemu("qemu-img", "bitmap", "--add", path, "b")
            self.keep(name, path)
        text = self.write("text", b"it gets smaller " * (MIB // 16))
        for name, kind in (("compressed", "zlib"), ("zstd", "zstd")):
            path = self.path("original")
            self.qemu("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", f"compression_type={kind}", text, path)
            self.keep(name, path)
        with open(VMM_IMG, "rb") as file:
            program = file.read()
        self.make_others()
        # The sanitizers need time, and memory of their own, which would count too.
        self.is_sanitized = b"__asan_init" in program or b"__tsan_init" in program

    def make_others(self):
        path = self.create("original", format="qcow", size="1M")
        self.qemu("qemu-io", "-f", "qcow", "-c", "write -P 1 0 300k", path)
        self.keep("qcow", path)
        path = self.path("original")
        made = self.img("create", "--object", self.secret, "-f", "qcow2", "-o",
                        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10,encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc", path, "1M")
        self.assertEqual(made.status, 0, made.errors)
        self.keep("luks", path)
        os.mkdir(self.path("tree"))
        self.write("tree/file", b"contents" * 1000)
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-J", "-R", "-o", path, self.path("tree")], check=True, capture_output=True, timeout=60)
        self.keep("iso", path)

    def keep(self, name, path):
        with open(path, "rb") as file:
            self.originals[name] = file.read()

    def run_bounded(self, folder, words):
        """Status, error text and peak memory."""
        # What time(1) starts begins small; a child of this process would count our own memory too.
        peak = os.path.join(folder, "peak")
        bound = [] if self.is_sanitized else ["prlimit", f"--cpu={CPU_SECONDS}"]
        done = subprocess.run(["/usr/bin/time", "-q", "-f", "%M", "-o", peak, *bound, VMM_IMG, *words], cwd=folder, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", timeout=HANG_SECONDS, check=False)
        with open(peak, encoding="utf-8") as file:
            return done.returncode, done.stderr, int(file.read()) * KIB

    def faults_of(self, folder, words, refusal=None):
        """What is wrong with the way in which the command ends."""
        status, errors, memory = self.run_bounded(folder, words)
        if status not in (0, 1, 2, 3):  # a signal is above 128
            yield f"status {status}: {errors}"
        if status == 1 and words[0] != "compare" and "vmm-img: " not in errors:
            yield f"no reason: {errors}"
        if memory > MEMORY_BYTES and not self.is_sanitized:
            yield f"{memory >> 20} MiB"
        if refusal is not None and (status == 0 or refusal not in errors):
            yield f"not refused because of '{refusal}': {status} {errors}"

    @staticmethod
    def copy(image, folder):
        with open(os.path.join(folder, "image"), "wb") as file:
            # Holes where it is large.
            for offset in range(0, len(image.data), MIB):
                part = image.data[offset:offset + MIB]
                if any(part):
                    file.seek(offset)
                    file.write(part)
            file.truncate(len(image.data))

    def faults_of_row(self, number):
        original, what, change, refusal = ROWS[number]
        image = change(Image(self.originals[original]))
        found = []
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            with open(os.path.join(folder, "small"), "wb") as file:
                file.truncate(MIB)
            # What cannot be opened needs no more tries.
            for words in READING + (CHANGING if refusal is None else CHANGING[:1]):
                if words in CHANGING or words is READING[0]:
                    self.copy(image, folder)
                opens = words[0] in ("compare", "convert")
                found += [f"row {number}: {original}, {what}: {' '.join(words)}: {fault}"
                          for fault in self.faults_of(folder, words, refusal if opens else None)]
        return found

    OTHERS = {"qcow": "qcow", "luks": "qcow2", "iso": "iso"}  # and their formats

    def commands_of_other(self, original):
        format = self.OTHERS[original]
        key = ["--object", self.secret] if original == "luks" else []
        return (["info", "-f", format, "image"], ["map", *key, "-f", format, "--output=json", "image"],
                ["compare", *key, "-f", format, "-F", "raw", "image", "small"], ["convert", *key, "-f", format, "-O", "raw", "image", "copy"])

    def faults_of_other_row(self, number):
        original, what, change, refusal = OTHER_ROWS[number]
        data = bytearray(self.originals[original])
        change(data)
        found = []
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            with open(os.path.join(folder, "small"), "wb") as file:
                file.truncate(MIB)
            with open(os.path.join(folder, "image"), "wb") as file:
                file.write(data)
            for words in self.commands_of_other(original):
                opens = words[0] in ("compare", "convert")
                found += [f"row {number}: {original}, {what}: {' '.join(words)}: {fault}"
                          for fault in self.faults_of(folder, words, refusal if opens else None)]
        return found

    def test_every_row_of_other_formats(self):
        self.assertGreater(len(OTHER_ROWS), 100)
        # Each costs four commands: all of them, but under the sanitizers.
        numbers = range(0, len(OTHER_ROWS), 6 if self.is_sanitized else 1)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            self.assertEqual([fault for faults in pool.map(self.faults_of_other_row, numbers) for fault in faults], [])

    def test_every_row(self):
        self.assertGreater(len(ROWS), 250)
        numbers = range(0, len(ROWS), 24 if self.is_sanitized else 1)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            self.assertEqual([fault for faults in pool.map(self.faults_of_row, numbers) for fault in faults], [])

    def test_the_originals_are_sound(self):
        for name, data in self.originals.items():
            with self.subTest(image=name):
                self.write("image", data)
                for words in self.commands_of_other(name) if name in self.OTHERS else READING[:4]:
                    if words[0] == "compare":
                        continue  # it differs
                    self.assertEqual(list(self.faults_of(self.folder, words, None)), [])
                    self.assertEqual(self.run_bounded(self.folder, words)[0], 0)


if __name__ == "__main__":
    unittest.main()
