"""Measures vmm against QEMU 7.2 on the same guest files, in pairs, in one run, and prints both sides and the ratio of
each pair's figures (medians).

Measurements: start (a program that ends at once), boot (stock kernel to the first line of /init), memory (resident
beside the guest's), disk (a guest program in ring 3 that polls its virtqueue), control (answers of the control socket, and how
long a guest takes to stop and go on), disc (power-on to what the loader of a CD
prints, reading a whole CD, installing from one), throwaway (guests with --ephemeral), network (iperf3, round trips); image (vmm-img bench), open
(vmm-img info and check), tool (vmm-img's other commands), nbd (vmm-img serve under fio); domain (reading and checking a
domain file). All if none is named.

Those with guests run where /dev/kvm is hardware KVM: on this machine, or in the lab (scripts/kvm-lab). Figures of the lab
mean nothing outside it, their ratios do. The others run on this machine, with files in --folder.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../../scripts/lib"), os.path.join(HERE, "../integration/lib")]
import control  # noqa: E402
import discs  # noqa: E402
import domains  # noqa: E402
import images  # noqa: E402
import initramfs  # noqa: E402
import live  # noqa: E402
import nbd  # noqa: E402
import network  # noqa: E402
import throwaway  # noqa: E402
import tool  # noqa: E402
from figures import Table, pairs, peak_resident_kib, run_to_end  # noqa: E402
from guests import (MICROVM, MODERN_MMIO, QEMU, SCRIPTS, TOP, beside_guest_kib, cloud_kernel, command_for_domain,  # noqa: E402
                    disk_figures, end, start_until)

FIRST_LINE = b"first line of init"
LAB_SECONDS = 900
LAB_ATTEMPTS = 4
ONCE = [*QEMU, "-no-reboot"]


# --- guests --------------------------------------------------------------------------------------------------------

def domain_xml(kernel, memory_mib, vcpus, machine="pc", initrd="", cmdline="", disk="", iothread=False):
    initrd = f"<initrd>{initrd}</initrd>" if initrd else ""
    disk = (f"<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none' io='io_uring'"
            f"{' iothread=' + chr(39) + '1' + chr(39) if iothread else ''}/><source file='{disk}'/>"
            f"<target dev='vda' bus='virtio'/></disk>") if disk else ""
    return (f"<domain type='kvm'><name>bench-{os.getpid()}</name><memory unit='MiB'>{memory_mib}</memory><vcpu>{vcpus}</vcpu>"
            f"{'<iothreads>1</iothreads>' if iothread else ''}"
            f"<os><type arch='x86_64' machine='{machine}'>hvm</type><kernel>{kernel}</kernel>{initrd}"
            f"<cmdline>{cmdline}</cmdline></os><features><acpi/></features><cpu mode='host-passthrough'/>"
            f"<devices>{disk}<serial type='stdio'/></devices></domain>")


def vmm_command(options, folder, **domain):
    return command_for_domain(options, folder, domain_xml(**domain))


def bench_initramfs(folder, last_command):
    """An initramfs whose /init prints FIRST_LINE before anything else."""
    archive = initramfs.Archive()
    with open("/bin/busybox", "rb") as file:
        archive.file("/bin/busybox", file.read(), 0o755)
    archive.device("/dev/console", 5, 1)
    archive.folder("/proc")
    script = f"#!/bin/busybox sh\necho {FIRST_LINE.decode()}\n{last_command}\n"
    archive.file("/init", script.encode(), 0o755)
    path = os.path.join(folder, f"initrd-{last_command.split()[-1]}.img")
    with open(path, "wb") as file:
        file.write(archive.finish())
    return path


# --- figures -------------------------------------------------------------------------------------------------------

def measure_start(options, folder):
    program = f"{options.build}/guests/hello.elf"
    theirs = [*ONCE, "-M", MICROVM, "-m", "128", "-serial", "stdio", "-kernel", program]
    for machine in ("microvm", "pc"):
        ours = vmm_command(options, folder, kernel=program, memory_mib=128, vcpus=1, machine=machine)
        samples = pairs(options.pairs, lambda: run_to_end(ours), lambda: run_to_end(theirs))
        table = Table(f"start: process start to end, a PVH program that ends at once, 128 MiB, {machine}; QEMU microvm")
        for index, (name, wanted) in enumerate((("wall", 0.5), ("CPU", 0.25))):
            table.row(name, [a[index] * 1000 for a, _ in samples], [b[index] * 1000 for _, b in samples], wanted, unit=" ms")
        peaks = pairs(3, lambda: peak_resident_kib(ours) / 1024, lambda: peak_resident_kib(theirs) / 1024)
        table.row("peak resident memory", [a for a, _ in peaks], [b for _, b in peaks], 0.3, unit=" MiB")


def measure_boot(options, folder):
    kernel, initrd = cloud_kernel(), bench_initramfs(folder, "exec /bin/busybox poweroff -f")
    cmdline = "console=ttyS0 quiet"
    for vcpus in chosen_parts(options, BOOT_PARTS):
        ours = vmm_command(options, folder, kernel=kernel, initrd=initrd, memory_mib=256, vcpus=vcpus, cmdline=cmdline)
        common = [*ONCE, "-m", "256", "-smp", str(vcpus), "-serial", "stdio", "-kernel", kernel, "-initrd", initrd,
                  "-append", cmdline]
        rivals = {"pc": [*common, "-M", "pc"], "q35": [*common, "-M", "q35"], "microvm": [*common, "-M", MICROVM]}

        def boot(command):
            child, seconds = start_until(command, FIRST_LINE)
            end(child)
            return seconds

        # The fastest of QEMU's machines is found first, and then paired with.
        first = {name: min(boot(command), boot(command)) for name, command in rivals.items()}
        best = min(first, key=first.get)
        samples = pairs(options.pairs, lambda: boot(ours), lambda: boot(rivals[best]))
        table = Table(f"boot: process start to the first line of /init, cloud kernel, 256 MiB, {vcpus} vCPU; QEMU {best}"
                      f" ({', '.join(f'{name} {seconds:.2f} s' for name, seconds in first.items())})")
        table.row("wall", [a for a, _ in samples], [b for _, b in samples], 0.8, unit=" s")


def measure_memory(options, folder):
    kernel, initrd = cloud_kernel(), bench_initramfs(folder, "exec /bin/busybox sleep 1000")
    disk = os.path.join(folder, "small.raw")
    make_disk(disk, 16)
    cmdline = "console=ttyS0 quiet"
    ours = vmm_command(options, folder, kernel=kernel, initrd=initrd, memory_mib=256, vcpus=1, cmdline=cmdline, disk=disk)
    theirs = [*ONCE, "-M", MICROVM, "-m", "256", "-serial", "stdio", "-kernel", kernel, "-initrd", initrd, "-append",
              cmdline, "-drive", f"if=none,id=d,format=raw,file={disk},cache=none,aio=io_uring", "-device",
              "virtio-blk-device,drive=d"]

    def resident(command):
        child, _ = start_until(command, FIRST_LINE)
        kib = beside_guest_kib(child.pid, 256, "Rss:")
        end(child)
        return kib / 1024

    samples = pairs(min(options.pairs, 3), lambda: resident(ours), lambda: resident(theirs))
    table = Table("memory: resident beside the guest's, booted guest with one disk; QEMU microvm")
    table.row("MiB", [a for a, _ in samples], [b for _, b in samples], 0.25)
    print(f"{'vmm, most':44} {max(a for a, _ in samples):9.2f} MiB, wanted <= 8")


def measure_control(options, folder):
    kernel, initrd = cloud_kernel(), bench_initramfs(folder, "while :; do :; done")
    cmdline = "console=ttyS0 quiet"
    paths = [os.path.join(folder, name) for name in ("vmm.control", "qemu.control")]
    ours = [*vmm_command(options, folder, kernel=kernel, initrd=initrd, memory_mib=256, vcpus=1, cmdline=cmdline), "--control", paths[0]]
    theirs = [*ONCE, "-M", "pc", "-m", "256", "-serial", "stdio", "-kernel", kernel, "-initrd", initrd, "-append", cmdline,
              "-qmp", f"unix:{paths[1]},server=on,wait=off"]
    control.measure(ours, theirs, paths, options.pairs, lambda command: start_until(command, FIRST_LINE)[0], end)


def measure_live(options, folder):
    program = f"{options.build}/guests/blkbench.elf"
    commit = live.Commit(options, folder, lambda command: start_until(command, b"disk on")[0], end)
    top, paths = commit.paths["top.qcow2"], [os.path.join(folder, name) for name in ("vmm.control", "qemu.control")]
    ours = command_for_domain(options, folder, domain_xml(program, 64, 1, cmdline=live.LOAD, disk=top, iothread=True).replace(
        "type='raw'", "type='qcow2'"))
    theirs = [*ONCE, "-M", "pc", "-m", "64", "-serial", "stdio", "-kernel", program, "-append", live.LOAD, "-object", "iothread,id=io0",
              "-drive", f"if=none,id=d,format=qcow2,file={top},cache=none,aio=io_uring", "-device", "virtio-blk-pci,drive=d,iothread=io0",
              "-qmp", f"unix:{paths[1]},server=on,wait=off"]
    live.measure(commit, options.pairs, ([*ours, "--control", paths[0]], paths[0], "vda"), (theirs, paths[1], "d"))


def make_disk(path, mib):
    with open(path, "wb") as file:
        block = os.urandom(1 << 20)
        for _ in range(mib):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def measure_disk(options, folder):
    program = f"{options.build}/guests/blkbench.elf"
    disk = os.path.join(folder, "disk.raw")
    make_disk(disk, 256)
    drive = f"if=none,id=d,format=raw,file={disk},cache=none,aio=io_uring"
    for machine, operation, length, depth in chosen_parts(options, DISK_PARTS):
        cmdline = f"seconds={options.seconds} op={operation} bs={length} depth={depth} end=wait"
        ours = vmm_command(options, folder, kernel=program, memory_mib=64, vcpus=1, machine=machine, cmdline=cmdline,
                           disk=disk, iothread=True)
        model = "virtio-blk-pci" if machine == "pc" else "virtio-blk-device"
        theirs = [*ONCE, "-M", "pc" if machine == "pc" else MICROVM, *MODERN_MMIO, "-m", "64", "-serial", "stdio", "-kernel",
                  program, "-append", cmdline, "-object", "iothread,id=io0", "-drive", drive, "-device",
                  f"{model},drive=d,iothread=io0"]
        samples = pairs(options.pairs, lambda: disk_figures(ours), lambda: disk_figures(theirs))
        table = Table(f"disk: {operation} {length >> 10} KiB, depth {depth}, polling guest program, raw image, cache=none, "
                      f"{machine}; QEMU iothread, io_uring")
        table.row("operations/s", [a[0] for a, _ in samples], [b[0] for _, b in samples], 1.0, False)
        table.row("host CPU per operation", [a[1] for a, _ in samples], [b[1] for _, b in samples], 0.8, unit=" us")


def measure_throwaway(options, folder):
    for measure in chosen_parts(options, throwaway.PARTS):
        measure(options, folder)


def measure_network(options, folder):
    for part in chosen_parts(options, network.PARTS):
        network.measure(options, folder, part, lambda interface, initrd: domain_xml(
            cloud_kernel(), 256, 1, initrd=initrd, cmdline="console=ttyS0 quiet").replace("<serial", f"{interface}<serial"))


def measure_disc(options, folder):
    for measure in chosen_parts(options, discs.PARTS):
        measure(options, folder)


# What is measured in a lab of its own: the shorter a lab lives, the rarer its emulator freezes.
BOOT_PARTS = (1, 2)  # vCPUs
DISK_PARTS = tuple((machine, operation, length, depth) for machine in ("pc", "microvm")
                   for operation in ("randread", "randwrite") for length in (4096, 65536) for depth in (1, 32))
PARTS = {"boot": BOOT_PARTS, "disk": DISK_PARTS, "disc": discs.PARTS, "throwaway": throwaway.PARTS, "network": network.PARTS}


def chosen_parts(options, parts):
    return parts if options.part is None else (parts[options.part],)


GUESTS = {"start": measure_start, "boot": measure_boot, "memory": measure_memory, "disk": measure_disk, "control": measure_control, "live": measure_live,
          "disc": measure_disc, "throwaway": measure_throwaway, "network": measure_network}
IMAGES = {"image": images.measure_image, "open": images.measure_open, "tool": tool.measure_tool, "nbd": nbd.measure_nbd}
DOMAINS = {"domain": domains.measure_domain}
HERE_ALWAYS = IMAGES | DOMAINS
MEASUREMENTS = GUESTS | HERE_ALWAYS


# --- the whole -----------------------------------------------------------------------------------------------------

def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurements", nargs="*", metavar="MEASUREMENT", help=", ".join(MEASUREMENTS))
    parser.add_argument("--pairs", type=int, default=9, help="counted pairs of each (default 9)")
    parser.add_argument("--seconds", type=int, default=1, help="of each disk and nbd measurement (default 1)")
    parser.add_argument("--operations", type=int, default=40000, help="of each image measurement (default 40000)")
    parser.add_argument("--folder", help="for the files of image, open, tool and nbd; 20 GiB on the disk to measure (default: the build folder)")
    parser.add_argument("--build", default=os.path.join(TOP, "build"), help="build folder (default build)")
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.measurements:
        if name not in MEASUREMENTS:
            parser.error(f"there is no measurement {name}; there are {', '.join(MEASUREMENTS)}")
    options.build = os.path.abspath(options.build)
    options.vmm = f"{options.build}/vmm"
    options.vmm_img = f"{options.build}/vmm-img"
    programs = {options.vmm_img if name in IMAGES else options.vmm for name in options.measurements or MEASUREMENTS}
    for program in sorted(programs):
        if not os.access(program, os.X_OK):
            parser.error(f"{program} is not there; build it first: cmake --preset release && cmake --build --preset release")
    return options


def measure_in_lab(options, name, part):
    """Once more where the lab failed, or spoiled a guest of either side."""
    # With two CPUs its emulator often freezes under a network's load.
    cpus = ["--smp", "1"] if name == "network" else []
    command = [f"{SCRIPTS}/kvm-lab", "--time-limit", str(LAB_SECONDS), "--scratch", "4G", *cpus, "--", sys.executable,
               os.path.abspath(__file__), "--here", "--pairs", str(options.pairs), "--seconds", str(options.seconds),
               "--build", options.build, *([] if part is None else ["--part", str(part)]), name]
    for _ in range(LAB_ATTEMPTS):
        status = subprocess.run(command, check=False).returncode
        if status == 0:
            return
    raise SystemExit(f"{name}: status {status}")


def main():
    options = parse_arguments()
    wanted = options.measurements or list(MEASUREMENTS)
    if not options.here:
        with tempfile.TemporaryDirectory(prefix="vmm-bench.", dir=options.folder or options.build) as folder:
            for name in wanted:
                if name in HERE_ALWAYS:
                    HERE_ALWAYS[name](options, folder)
        wanted = [name for name in wanted if name in GUESTS]
        if not wanted:
            return
        subprocess.run([f"{SCRIPTS}/guest-image", "--prepare"], check=True)  # the lab cannot write to the cache
        for name in wanted:
            for part in range(len(PARTS.get(name, (None,)))):
                measure_in_lab(options, name, part if name in PARTS else None)
        return
    # The lab's scratch disk has O_DIRECT, which cache=none needs.
    with tempfile.TemporaryDirectory(prefix="vmm-bench.", dir=os.environ.get("VMM_LAB_SCRATCH")) as folder:
        os.environ["TMPDIR"] = folder  # where QEMU has what -snapshot throws away
        for name in wanted:
            GUESTS[name](options, folder)


if __name__ == "__main__":
    main()
