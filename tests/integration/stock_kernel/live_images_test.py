#!/usr/bin/env python3
"""The images of a disk are changed under a stock kernel that runs fio on it, and vmm is killed in the middle; QEMU judges."""

import json
import os
import random
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from guest import BOOT_SECONDS, MIB, Disk, Guest, GuestTest, main  # noqa: E402
from programs import ProgramsDisk  # noqa: E402
from qmp import Client, Fault  # noqa: E402

JOB_SECONDS = 120


def qemu_img(*arguments, statuses=(0,)):
    done = subprocess.run(["qemu-img", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    if done.returncode not in statuses:
        raise AssertionError(f"qemu-img {' '.join(arguments)}: status {done.returncode}, {done.stdout}")
    return done.stdout


class LiveUnderFio(GuestTest):
    """What was flushed before stays, and what is written meanwhile reads back, whatever becomes of the images."""

    DISK_BYTES = 48 * MIB
    FLUSHED_BYTES = 8 * MIB
    KILLS = 2
    CHANGES = 6  # before each kill

    SCRIPT = """
echo 1 >/proc/sys/vm/drop_caches
if [ "$(head -c 4 /dev/vdb)" != mark ]; then
  fio --eta=never --output=/dev/null /jobs/write && echo flushed=yes
  printf mark | dd of=/dev/vdb conv=notrunc,fsync 2>/dev/null
else
  fio --eta=never --output=/dev/null /jobs/verify 2>/dev/null && echo verified=good || echo verified=bad
fi
(while sleep 0.3; do echo sectors=$(cat /sys/block/vda/size); done) &
echo at_work=yes
fio --eta=never --output=/dev/null /jobs/live && echo live=over || echo live=bad
"""

    @staticmethod
    def job(name, *lines):
        head = ["[global]", "thread", "ioengine=libaio", "direct=1", "filename=/dev/vda", "verify_fatal=1", "verify_state_save=0"]
        return "".join(line + "\n" for line in [*head, f"[{name}]", *lines])

    def make_guest(self):
        flushed = ("bs=36k", "offset=0", f"size={self.FLUSHED_BYTES}", "iodepth=8", "verify=pattern", 'verify_pattern="flushed:"%o')
        jobs = {"jobs/write": self.job("write", "rw=randwrite", "do_verify=0", "end_fsync=1", *flushed),
                "jobs/verify": self.job("verify", "rw=randread", *flushed),
                "jobs/live": self.job("live", "rw=randwrite", "bsrange=4k-128k", f"offset={self.FLUSHED_BYTES}", "size=32m", "iodepth=16",
                                      "verify=crc32c", "verify_backlog=32", "fsync=64", "time_based", "runtime=3600")}
        programs = ProgramsDisk(("fio",))
        disk = Disk("bottom.qcow2", driver="discard='unmap' cache='none'", image_format="qcow2")
        guest = Guest(programs.mount + self.SCRIPT, disks=[disk, Disk("mark.img", MIB), programs], files=jobs, cpus=1)
        self.addCleanup(guest.remove)
        programs.make(guest)
        qemu_img("create", "-q", "-f", "qcow2", guest.path("bottom.qcow2"), str(self.DISK_BYTES))
        self.names, self.top, self.backups = 0, "bottom.qcow2", []
        return guest

    def new_name(self, guest, kind):
        self.names += 1
        return guest.path(f"{kind}-{self.names}")

    def chain(self, client):
        image, files = client.ask("query-block")[0]["inserted"]["image"], []
        while image:
            files.append(image["filename"])
            image = image.get("backing-image")
        return files

    def end_of(self, client, job):
        """Of a job, which has to end well; one that is ready is completed."""
        deadline = time.monotonic() + JOB_SECONDS
        while time.monotonic() < deadline:
            told = [each for each in client.ask("query-block-jobs") if each["device"] == job]
            if not told:
                return
            if told[0]["status"] == "concluded":
                self.assertNotIn("error", told[0])
                client.ask("job-dismiss", id=job)
                return
            if told[0]["status"] == "ready":
                try:
                    client.ask("block-job-complete", device=job)
                except Fault:
                    pass  # it is about to end
            time.sleep(0.05)
        self.fail(f"{told} is not over after {JOB_SECONDS} s")

    def change(self, guest, client, rng, waits):
        """One change, to its end where it is waited for."""
        chain = self.chain(client)
        kinds = ["snapshot", "snapshot", "backup", "resize", "throttle"] + (["commit", "stream"] * 2 if len(chain) > 1 else [])
        kind = rng.choice(kinds)
        job = {"job-id": "job", "auto-dismiss": False}
        if kind == "snapshot":
            name = self.new_name(guest, "overlay")
            self.top = name  # where it is there it is the disk, or shows what that holds
            client.ask("blockdev-snapshot-sync", device="vda", **{"snapshot-file": name})
        elif kind == "resize":
            self.bytes += MIB
            client.ask("block_resize", device="vda", size=self.bytes)
        elif kind == "throttle":
            client.ask("block_set_io_throttle", device="vda", bps=rng.choice([0, 30 * MIB]), bps_rd=0, bps_wr=0, iops=rng.choice([0, 500]),
                       iops_rd=0, iops_wr=0)
        elif kind == "backup":
            name = self.new_name(guest, "backup")
            client.ask("drive-backup", device="vda", target=name, sync="full", format="qcow2", **job)
            self.backups.append(name)
        elif kind == "commit":
            top = rng.randrange(len(chain) - 1)
            base = rng.randrange(top + 1, len(chain))
            client.ask("block-commit", device="vda", top=chain[top], base=chain[base], **job)
        else:
            base = rng.choice([None, *chain[2:]])
            client.ask("block-stream", device="vda", **({"base": base} if base else {}), **job)
        if waits and kind in ("backup", "commit", "stream"):
            self.end_of(client, "job")
        return kind

    def assert_sound(self, guest):
        """The chain opens, its images have no errors, backups that were told to be done too."""
        text = qemu_img("info", "--output=json", "--backing-chain", "-f", "qcow2", guest.path(self.top))
        for layer in json.loads(text):
            qemu_img("check", "-f", "qcow2", guest.path(layer["filename"]), statuses=(0, 3))
        for backup in self.backups:
            qemu_img("check", "-f", "qcow2", backup)

    def name_disk(self, guest, file):
        with open(guest.domain, encoding="utf-8") as domain:
            text = domain.read()
        before = text.index("<source file=") + len('<source file="')
        after = text.index('"', before)
        with open(guest.domain, "w", encoding="utf-8") as domain:
            domain.write(text[:before] + file + text[after:])

    def test_changes_in_random_order_and_kills(self):
        seed = int(os.environ.get("VMM_LIVE_SEED") or 1)
        rng, guest, done = random.Random(seed), self.make_guest(), []
        self.bytes = self.DISK_BYTES
        for number in range(self.KILLS + 1):
            with guest.start(["--control", guest.path("control")]) as run:
                run.wait_for("^at_work=yes", 2 * BOOT_SECONDS)
                values = run.values()
                self.assertEqual(values.get("flushed" if number == 0 else "verified"), "yes" if number == 0 else "good", values)
                with Client(guest.path("control"), JOB_SECONDS) as client:
                    for _ in range(self.CHANGES):
                        done.append(self.change(guest, client, rng, waits=True))
                        time.sleep(rng.random())
                        self.assertNotIn("live", run.values(), done)
                    run.wait_for(f"^sectors={self.bytes // 512}$", JOB_SECONDS)
                    if number < self.KILLS:
                        done.append(self.change(guest, client, rng, waits=False) + " killed")
                        if "backup killed" in done[-1]:
                            self.backups.pop()
                        time.sleep(rng.random() / 4)
                    run.process.kill()
                run.wait_end()
                self.assertNotIn("live", run.values(), (seed, done))
            if not os.path.exists(guest.path(self.top)):
                self.fail(f"{self.top} is not there; seed {seed}, {done}")
            self.assert_sound(guest)
            self.name_disk(guest, guest.path(self.top))
        print("changes:", *done, file=sys.stderr)


if __name__ == "__main__":
    main()
