"""An overlay is committed while its guest writes: how long it takes, and what the guest gets done meanwhile. QMP, the same words for both."""

import json
import os
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True

from control import Client  # noqa: E402
from figures import Table, pairs  # noqa: E402

COMMIT_MIB = 512
DISK_MIB = 512  # all of which is in the overlay: what the guest writes adds nothing to it
JOB_SECONDS = 300
LOAD = "seconds=600 op=randwrite bs=4096 depth=1"


def drop_from_cache(path):
    """cache=none knows nothing of these pages, and is slowed down by them."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Commit:
    def __init__(self, options, folder, start, end):
        self.folder, self.start, self.end = folder, start, end
        self.kept = {name: os.path.join(folder, f"kept-{name}") for name in ("base.qcow2", "top.qcow2")}
        self.paths = {name: os.path.join(folder, name) for name in self.kept}
        subprocess.run([options.vmm_img, "create", "-q", "-f", "qcow2", self.kept["base.qcow2"], f"{DISK_MIB}M"], check=True)
        subprocess.run([options.vmm_img, "create", "-q", "-f", "qcow2", "-u", "-b", self.paths["base.qcow2"], "-F", "qcow2",
                        self.kept["top.qcow2"], f"{DISK_MIB}M"], check=True)
        shutil.copy(self.kept["base.qcow2"], self.paths["base.qcow2"])
        writes = [word for at in range(0, COMMIT_MIB, 64) for word in ("-c", f"write -P {at // 64 + 1} {at}M 64M")]
        subprocess.run(["qemu-io", "-f", "qcow2", *writes, self.kept["top.qcow2"]], check=True, stdout=subprocess.DEVNULL)

    def measure(self, command, control, device):
        """(seconds until it is over, operations of the guest a second meanwhile)."""
        for name, path in self.paths.items():
            shutil.copy(self.kept[name], path)
        os.sync()
        for path in self.paths.values():
            drop_from_cache(path)
        child = self.start(command)
        try:
            client = Client(control)
            time.sleep(1)  # the load is even by then
            written, begin = self.written(client), time.monotonic()
            self.ask(client, "block-commit", device=device, **{"job-id": "commit"})
            while not (jobs := self.ask(client, "query-block-jobs")) or not jobs[0]["ready"]:
                if not jobs or time.monotonic() > begin + JOB_SECONDS:
                    raise SystemExit(f"{command[0]}: the commit does not get ready: {jobs}")
                time.sleep(0.005)
            ready, done = time.monotonic(), self.written(client) - written
            self.ask(client, "block-job-complete", device="commit")
            while self.ask(client, "query-block-jobs"):
                time.sleep(0.005)
            return time.monotonic() - begin, done / (ready - begin)
        except OSError as error:
            time.sleep(1)
            status, printed = child.poll(), child.stdout.read1(1 << 16) if child.poll() is not None else b""
            raise SystemExit(f"{command[0]}: {error}; its status is {status}, it printed {printed!r}") from error
        finally:
            self.end(child)

    @staticmethod
    def ask(client, command, **arguments):
        client.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        seen = b""
        while True:
            for line in seen.split(b"\n")[:-1]:
                answer = json.loads(line)
                if "error" in answer:
                    raise SystemExit(f"{command}: {answer['error']['desc']}")
                if "return" in answer:
                    return answer["return"]
            seen = seen[seen.rfind(b"\n") + 1:] + client.socket.recv(1 << 16)

    def written(self, client):
        return self.ask(client, "query-blockstats")[0]["stats"]["wr_operations"]


def measure(commit, count, ours, theirs):
    """`ours`, `theirs`: command, path of the control socket, name of the disk."""
    samples = pairs(min(count, 5), lambda: commit.measure(*ours), lambda: commit.measure(*theirs))
    table = Table(f"live: block-commit of {COMMIT_MIB} MiB, the guest writes 4 KiB at depth 1; cache=none, pc; QEMU iothread, io_uring")
    table.row("from start to end", [a[0] for a, _ in samples], [b[0] for _, b in samples], 1.0, unit=" s")
    table.row("the guest's writes a second meanwhile", [a[1] for a, _ in samples], [b[1] for _, b in samples], 1.0, False)
