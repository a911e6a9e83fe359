#!/usr/bin/env python3
"""qcow2 images under a stock kernel: chains through a reset and a kill, encrypted disks; QEMU judges, and reads all."""

import filecmp
import hashlib
import os
import random
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import BOOT_SECONDS, MIB, Disk, Guest, GuestTest, main  # noqa: E402
from programs import ProgramsDisk  # noqa: E402

KIB = 1 << 10
SECTOR = 512


def qemu_img(*arguments, statuses=(0,)):
    done = subprocess.run(["qemu-img", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    if done.returncode not in statuses:
        raise AssertionError(f"qemu-img {' '.join(arguments)}: status {done.returncode}, {done.stdout}")
    return done.stdout


def qemu_io(*arguments):
    subprocess.run(["qemu-io", *arguments], stdout=subprocess.DEVNULL, timeout=300, check=True)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class ChainUnderFio(GuestTest):
    """Two overlays share a qcow2 image over a shorter raw one. The guest runs fio on both, one round after the other; each
    round writes a region of its own, in another pattern than the region had before, and ends with a flush."""

    DISK_BYTES = 16 * MIB
    # What becomes of the parts of each disk: the backing files show through, BLKZEROOUT, BLKDISCARD, fio.
    UNTOUCHED, ZEROED, TRIMMED, FIRST_REGION = 0, 4 * MIB, 5 * MIB, 6 * MIB
    REGION_BYTES = MIB
    REGIONS = 3
    FLUSHED_ROUNDS = 3  # the next is written over the first
    # In each region: name, block size, start and length. 36 KiB are in several clusters each. What is trimmed first is
    # written when the rest of the round is done, and in the endless round at the same time.
    JOBS = (("odd", 36 * KIB, 512 * KIB, 7 * 36 * KIB), ("small", 4 * KIB, 768 * KIB, 128 * KIB), ("trimmed", 64 * KIB, 0, 512 * KIB))
    TRIM = ("trim", *JOBS[-1][1:])
    SPOILED_AT = FIRST_REGION + FLUSHED_ROUNDS % REGIONS * REGION_BYTES + 768 * KIB + 100 * KIB
    OVERLAYS = {"a.qcow2": "cluster_size=64k", "b.qcow2": "cluster_size=64k,extended_l2=on"}

    SCRIPT = """
write() { fio --eta=never --output=/dev/null /jobs/write-$1; }
verify() { fio --eta=never --output=/dev/null /jobs/verify-$1 2>/dev/null && echo $2=good || echo $2=bad; }
sectors_written() { set -- $(cat /sys/block/vda/stat); echo $7; }

if [ "$(head -c 4 /dev/vdc)" != mark ]; then
  for disk in a b; do
    /usr/bin/blkdiscard -z -o %(zeroed)d -l %(region)d /dev/vd$disk
    /usr/bin/blkdiscard -o %(trimmed)d -l %(region)d /dev/vd$disk
  done
  write first && echo flushed=yes
  for disk in a b; do set -- $(cat /sys/block/vd$disk/stat); echo vd$disk.discards=${12}; done
  printf mark | dd of=/dev/vdc conv=notrunc,fsync 2>/dev/null
  before=$(sectors_written)
  write endless &
  until [ $(($(sectors_written) - before)) -gt 1024 ]; do sleep 0.05; done
  echo middle=yes
  %(end)s
  wait
fi
verify flushed verified
dd if=/dev/vdb of=/saved bs=512 skip=%(spoiled)d count=1 iflag=direct 2>/dev/null
dd if=/dev/urandom of=/dev/vdb bs=512 seek=%(spoiled)d count=1 oflag=direct conv=notrunc 2>/dev/null
verify flushed spoiled
dd if=/saved of=/dev/vdb bs=512 seek=%(spoiled)d oflag=direct conv=notrunc 2>/dev/null
write more && verify more verified.more
"""

    def region_of(self, number):
        return self.FIRST_REGION + number % self.REGIONS * self.REGION_BYTES

    def job_file(self, what, rounds, loops=1):
        """fio's. `what`: randwrite or randread; what is read is compared with what must be there."""
        lines = ["[global]", "thread", "ioengine=libaio", "direct=1", "iodepth=8", "end_fsync=1", f"loops={loops}",
                 "verify_fatal=1", "do_verify=0", "verify_state_save=0"]
        if loops > 1:
            lines += ["fsync=16"]
        for number in rounds:
            pattern = [f"rw={what}", "verify=pattern", f'verify_pattern="{self.pattern(number).decode()}"%o']
            groups = [[(job, ["rw=randtrim"] if job is self.TRIM else pattern) for job in jobs]
                      for jobs in ([*self.JOBS[:-1], self.TRIM], self.JOBS[-1:])]
            if what == "randread":
                groups = [[(job, pattern) for job in self.JOBS]]
            elif loops > 1:
                groups = [groups[0] + groups[1]]
            for group in groups:
                waits = ["stonewall"]
                for disk in ("vda", "vdb"):
                    for (name, block_bytes, start, length), options in group:
                        lines += [f"[{number}-{name}-{disk}]", *waits, *options, f"filename=/dev/{disk}", f"bs={block_bytes}",
                                  f"offset={self.region_of(number) + start}", f"size={length}", f"randseed={number}"]
                        waits = []
        return "".join(line + "\n" for line in lines)

    @staticmethod
    def pattern(number):
        return b"round-%d:" % number

    def guest(self, end):
        script = self.SCRIPT % {"zeroed": self.ZEROED, "trimmed": self.TRIMMED, "region": self.REGION_BYTES,
                                "spoiled": self.SPOILED_AT // SECTOR, "end": end}
        # More goes where no round is that is verified.
        last = self.FLUSHED_ROUNDS
        flushed = range(1, last + 1)
        jobs = {"jobs/write-first": self.job_file("randwrite", flushed),
                "jobs/verify-flushed": self.job_file("randread", flushed[-self.REGIONS + 1:]),
                "jobs/write-more": self.job_file("randwrite", [last + 1]),
                "jobs/verify-more": self.job_file("randread", [last + 1]),
                "jobs/write-endless": self.job_file("randwrite", [last + 1], loops=1_000_000)}
        overlays = [Disk(name, driver=f"discard='unmap' cache='{cache}'", image_format="qcow2")
                    for name, cache in zip(self.OVERLAYS, ("none", "writeback"))]
        programs = ProgramsDisk(("fio", "blkdiscard"))
        guest = Guest(programs.mount + script, disks=[*overlays, Disk("mark.img", MIB), programs], files=jobs)
        self.addCleanup(guest.remove)
        programs.make(guest)
        self.make_chain(guest)
        return guest

    def make_chain(self, guest):
        with open(guest.path("base.img"), "wb") as file:
            file.write(random.Random(1).randbytes(7 * MIB))
        middle = guest.path("middle.qcow2")
        qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "-b", "base.img", "-F", "raw", middle, str(8 * MIB))
        qemu_io("-f", "qcow2", middle, *(word for at in range(MIB, 8 * MIB, 3 * MIB // 4) for word in ("-c", f"write -P 0x6d {at} 70k")))
        for name, options in self.OVERLAYS.items():
            qemu_img("create", "-q", "-f", "qcow2", "-o", options, "-b", "middle.qcow2", "-F", "qcow2", guest.path(name), str(self.DISK_BYTES))
        for name in ("base.img", "middle.qcow2"):
            shutil.copy(guest.path(name), guest.path(f"copy-{name}"))

    def content(self, guest, name):
        """Of the disk, as QEMU reads it."""
        qemu_img("convert", "-f", "qcow2", "-O", "raw", guest.path(name), guest.path("read.img"))
        return guest.read("read.img")

    def expected(self, guest, rounds):
        """What the disks hold after these rounds of fio: its pattern, and the place of each block as 8 bytes."""
        data = bytearray(self.content(guest, "middle.qcow2").ljust(self.DISK_BYTES, b"\0"))
        data[self.ZEROED:self.ZEROED + 2 * self.REGION_BYTES] = bytes(2 * self.REGION_BYTES)
        for number in rounds:
            for _, block_bytes, start, length in self.JOBS:
                first = self.region_of(number) + start
                for at in range(first, first + length, block_bytes):
                    unit = self.pattern(number) + at.to_bytes(8, "little")
                    data[at:at + block_bytes] = unit * (block_bytes // len(unit))
        return bytes(data)

    def assert_images_are_sound(self, guest, leaks_allowed):
        for name in self.OVERLAYS:
            # Status 3: clusters leaked, and nothing else; corruption is 2.
            qemu_img("check", "-f", "qcow2", guest.path(name), statuses=(0, 3) if leaks_allowed else (0,))
        for name, image_format in (("base.img", "raw"), ("middle.qcow2", "qcow2")):
            qemu_img("compare", "-f", image_format, "-F", image_format, guest.path(name), guest.path(f"copy-{name}"))
            self.assertTrue(filecmp.cmp(guest.path(name), guest.path(f"copy-{name}"), shallow=False), f"{name} was written to")

    def assert_each_sector_is_one_of(self, data, *choices):
        self.assertEqual(len(data), self.DISK_BYTES)
        for at in range(0, len(data), SECTOR):
            sector = data[at:at + SECTOR]
            if not any(sector == choice[at:at + SECTOR] for choice in choices):
                self.fail(f"the sector at {at} begins with {sector[:32]}, and not with one of {[choice[at:at + 32] for choice in choices]}")

    def assert_verified(self, values):
        """By fio in the guest, which did find the sector that was spoiled."""
        self.assertEqual([values.get(name) for name in ("verified", "spoiled", "verified.more")], ["good", "bad", "good"], values)

    def assert_written(self, values):
        self.assertEqual(values.get("flushed"), "yes", values)
        for disk in ("vda", "vdb"):
            self.assertGreater(int(values[f"{disk}.discards"]), 0)

    def assert_disks_hold_all_rounds(self, guest):
        expected = self.expected(guest, range(1, self.FLUSHED_ROUNDS + 2))
        for name in self.OVERLAYS:
            self.assert_each_sector_is_one_of(self.content(guest, name), expected)

    def test_a_reset_in_the_middle_of_writing(self):
        guest = self.guest("echo b >/proc/sysrq-trigger")
        run = guest.run(2 * BOOT_SECONDS)
        self.assert_ended_well(run)
        self.assertEqual(run.text().count("middle=yes"), 1)
        self.assert_written(run.values())
        self.assert_verified(run.values())
        self.assert_images_are_sound(guest, leaks_allowed=False)
        self.assert_disks_hold_all_rounds(guest)

    def test_a_kill_in_the_middle_of_writing(self):
        guest = self.guest("")
        with guest.start() as run:
            run.wait_for("^middle=yes", 2 * BOOT_SECONDS)
            run.process.kill()
            run.wait_end()
        self.assert_written(run.values())
        self.assert_images_are_sound(guest, leaks_allowed=True)
        before = self.expected(guest, range(1, self.FLUSHED_ROUNDS + 1))
        after = self.expected(guest, range(1, self.FLUSHED_ROUNDS + 2))
        trimmed = self.trimmed_by(self.FLUSHED_ROUNDS + 1, before)
        for name in self.OVERLAYS:
            self.assert_each_sector_is_one_of(self.content(guest, name), before, after, trimmed)
        run = guest.run(2 * BOOT_SECONDS)
        self.assert_ended_well(run)
        self.assertNotIn("flushed", run.values())
        self.assert_verified(run.values())
        self.assert_images_are_sound(guest, leaks_allowed=True)
        self.assert_disks_hold_all_rounds(guest)

    def trimmed_by(self, number, data):
        """What the disks hold where a round has trimmed, and not written yet."""
        start, length = self.region_of(number), self.TRIM[-1]
        return data[:start] + bytes(length) + data[start + length:]


class Encrypted(GuestTest):
    """The passphrase is the same for all disks; the header says how it is used."""

    PASSPHRASE = "open, sesame"  # legacy AES takes at most 16 bytes
    DISK_BYTES = 8 * MIB
    MARK = b"what nobody is to read in the image file"
    SECRET = "c2b9a5a0-0d4e-4b5f-8a53-6f3b1a6c7d10"
    # Name, format of the encryption, and qemu-img's other options.
    IMAGES = (("luks.qcow2", "luks", "encrypt.iter-time=10"),
              ("cbc.qcow2", "luks", "encrypt.iter-time=10,encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,"
                                    "encrypt.ivgen-hash-alg=sha256,cluster_size=4k"),
              ("aes.qcow2", "aes", ""))
    # The whole disk is read before and after, and past the guest's own cache.
    SCRIPT = """
for disk in a b c; do
  echo $disk.found=$(sha256sum </dev/vd$disk)
  dd if=/dev/urandom of=/dev/vd$disk bs=36k seek=50 count=30 oflag=direct 2>/dev/null
  yes "%s" | head -c 65536 | dd of=/dev/vd$disk bs=512 seek=9 conv=notrunc,fsync 2>/dev/null
  echo 3 >/proc/sys/vm/drop_caches
  echo $disk.left=$(sha256sum </dev/vd$disk)
done
"""

    def guest(self, script=""):
        disks = [Disk(name, image_format="qcow2", driver="cache='none'",
                      inside=f"<encryption format='{'luks' if kind == 'luks' else 'qcow'}'>"
                             f"<secret type='passphrase' uuid='{self.SECRET}'/></encryption>")
                 for name, kind, _ in self.IMAGES]
        guest = Guest(script, disks=disks)
        self.addCleanup(guest.remove)
        for name, text in (("passphrase", self.PASSPHRASE), ("wrong", "open, barley")):
            with open(guest.path(name), "w", encoding="ascii") as file:
                file.write(text)
        return guest

    def make_images(self, guest):
        for name, kind, options in self.IMAGES:
            qemu_img("create", "-q", *self.secret_object(guest), "-f", "qcow2",
                     "-o", f"encrypt.format={kind},encrypt.key-secret=key,{options}".rstrip(","), guest.path(name), str(self.DISK_BYTES))

    @staticmethod
    def secret_object(guest):
        return "--object", f"secret,id=key,file={guest.path('passphrase')}"

    @staticmethod
    def image_options(guest, name):
        return "--image-opts", f"driver=qcow2,file.filename={guest.path(name)},encrypt.key-secret=key"

    def content(self, guest, name):
        """Of the disk, as QEMU reads it."""
        qemu_img("convert", *self.secret_object(guest), *self.image_options(guest, name), "-O", "raw", guest.path("read.img"))
        return guest.read("read.img")

    def vmm_secret(self, guest, name):
        return "--secret", f"id={self.SECRET},file={guest.path(name)}"

    def test_the_guest_reads_what_qemu_wrote_and_qemu_what_the_guest_wrote(self):
        guest = self.guest(self.SCRIPT % self.MARK.decode())
        self.make_images(guest)
        found = {}
        for name, _, _ in self.IMAGES:
            qemu_io(*self.secret_object(guest), *self.image_options(guest, name),
                    *(word for at in range(0, self.DISK_BYTES, MIB) for word in ("-c", f"write -P {1 + at // MIB} {at + 1024} 300k")))
            found[name] = self.content(guest, name)
        run = guest.run(options=self.vmm_secret(guest, "passphrase"))
        self.assert_ended_well(run)
        for (name, _, _), disk in zip(self.IMAGES, "abc"):
            with self.subTest(name):
                qemu_img("check", *self.secret_object(guest), *self.image_options(guest, name))
                left = self.content(guest, name)
                self.assertEqual(run.values()[f"{disk}.found"].split()[0], sha256(found[name]))
                self.assertEqual(run.values()[f"{disk}.left"].split()[0], sha256(left))
                self.assertNotEqual(left, found[name])
                self.assertIn(self.MARK, left)
                self.assertNotIn(self.MARK, guest.read(name))

    def test_a_wrong_passphrase_and_none_are_refused_before_the_guest_starts(self):
        guest = self.guest()
        self.make_images(guest)
        for options, status, part in ((self.vmm_secret(guest, "wrong"), 1, "passphrase does not open any LUKS key slot"),
                                      ((), 2, f"--secret id={self.SECRET},file=")):
            with self.subTest(part):
                run = guest.run(options=options)
                self.assert_one_sentence(run, status, f"{guest.domain}:", "<disk> vda", part)
                self.assertNotIn("barley", run.errors)


if __name__ == "__main__":
    main()
