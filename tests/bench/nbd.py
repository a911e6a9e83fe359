"""Measures of vmm-img serve: fio's NBD engine on it, and on QEMU's servers over the same image."""

import json
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from figures import Table, pairs
from images import IMAGE_BYTES, filled

# What fio's engine gives at most hangs on the client; of QEMU's ways the fastest is paired with.
AIO = ("threads", "io_uring", "native")


def rivals(path, socket, cache):
    """QEMU's servers, by name. Its Linux AIO is for O_DIRECT only."""
    modes = AIO if cache == "none" else AIO[:2]
    result = {f"qemu-nbd {aio}": ["qemu-nbd", "-t", "-k", socket, "-f", "qcow2", f"--cache={cache}", f"--aio={aio}", path]
              for aio in modes}
    direct = "on" if cache == "none" else "off"
    for aio in modes:
        result[f"storage daemon {aio}"] = [
            "qemu-storage-daemon", "--blockdev", f"file,node-name=f,filename={path},cache.direct={direct},aio={aio}", "--blockdev",
            "qcow2,node-name=d,file=f", "--nbd-server", f"addr.type=unix,addr.path={socket}", "--export",
            "nbd,id=e,node-name=d,name=,writable=on"]
    return result


def serve_and_run(command, socket, operation, seconds):
    """(operations a second, microseconds of the server's processor time for each)."""
    if os.path.exists(socket):
        os.remove(socket)
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not os.path.exists(socket):
        if server.poll() is not None:
            raise SystemExit(f"{' '.join(command)}: failed with status {server.returncode}")
        time.sleep(0.01)
    output = subprocess.run(["fio", "--name=nbd", "--ioengine=nbd", f"--uri=nbd+unix:///?socket={socket}", f"--rw={operation}", "--bs=4k",
                             "--iodepth=32", f"--size={IMAGE_BYTES}", "--time_based", f"--runtime={seconds}", "--output-format=json"],
                            check=True, stdout=subprocess.PIPE, text=True).stdout
    server.terminate()
    _, status, usage = os.wait4(server.pid, 0)
    server.returncode = os.waitstatus_to_exitcode(status)
    # Its engine prints a line of its own before.
    job = json.loads(output[output.index("{"):])["jobs"][0]["write" if "write" in operation else "read"]
    return job["iops"], (usage.ru_utime + usage.ru_stime) / job["total_ios"] * 1e6


def measure_nbd(options, folder):
    path = filled(os.path.join(folder, "full.qcow2"))
    socket = os.path.join(folder, "s")
    for cache in ("writeback", "none"):
        ours = [options.vmm_img, "serve", "-t", "-q", "-k", socket, "-f", "qcow2", "--cache", cache, path]
        theirs = rivals(path, socket, cache)
        for operation in ("randread", "randwrite"):
            first = {name: serve_and_run(command, socket, operation, options.seconds)[0] for name, command in theirs.items()}
            best = max(first, key=first.get)
            samples = pairs(options.pairs, lambda: serve_and_run(ours, socket, operation, options.seconds),
                            lambda: serve_and_run(theirs[best], socket, operation, options.seconds))
            table = Table(f"nbd: fio {operation} 4 KiB, depth 32, qcow2, cache={cache}; {best} ("
                          f"{', '.join(f'{name} {rate:.0f}' for name, rate in first.items())})")
            table.row("operations/s", [a[0] for a, _ in samples], [b[0] for _, b in samples], 1.2, False)
            table.row("server's CPU per operation", [a[1] for a, _ in samples], [b[1] for _, b in samples], None, unit=" us")
    os.remove(path)
