"""Throwaway guests: what --ephemeral costs, and what it costs beside QEMU's -snapshot."""

import os
import signal
import statistics
import subprocess

from figures import Table, number, pairs, run_to_end
from guests import MICROVM, MODERN_MMIO, QEMU, beside_guest_kib, command_for_domain, disk_figures, end, start_until

AT_ONCE = 50
AT_ONCE_PAIRS = 3
MEMORY_MIB = 32
START_PAIRS = 5  # for each pair that is asked for: what is measured is a difference of a millisecond


def domain_xml(program, base, cmdline="", driver="type='qcow2'", iothread=False):
    threads, named = ("<iothreads>1</iothreads>", " iothread='1'") if iothread else ("", "")
    return (f"<domain type='kvm'><name>bench-{os.getpid()}</name><memory unit='MiB'>{MEMORY_MIB}</memory><vcpu>1</vcpu>{threads}"
            f"<os><type arch='x86_64' machine='microvm'>hvm</type><kernel>{program}</kernel><cmdline>{cmdline}</cmdline></os>"
            f"<features><acpi/></features><cpu mode='host-passthrough'/><devices><disk type='file' device='disk'>"
            f"<driver name='qemu' {driver}{named}/><source file='{base}'/><target dev='vda' bus='virtio'/></disk>"
            f"<serial type='stdio'/></devices></domain>")


def vmm(options, folder, *more, **domain):
    return [*command_for_domain(options, folder, domain_xml(**domain)), "--ephemeral", *more]


def qemu(program, base, *more, drive="", cmdline=""):
    """Its overlay is in $TMPDIR."""
    return [*QEMU, "-no-reboot", "-snapshot", "-M", MICROVM, *MODERN_MMIO, "-m", str(MEMORY_MIB), "-serial", "stdio", "-kernel",
            program, "-append", cmdline, "-drive", f"if=none,id=d,format=qcow2,file={base}{drive}", *more]


def make_base(options, folder, size):
    base = os.path.join(folder, f"base-{size}.qcow2")
    subprocess.run([options.vmm_img, "create", "-q", "-f", "qcow2", base, size], check=True)
    return base


def extra_time(options, folder):
    program, base = f"{options.build}/guests/hello.elf", make_base(options, folder, "64G")
    ours = vmm(options, folder, program=program, base=base)
    plain = [word for word in ours if word != "--ephemeral"]
    samples = pairs(options.pairs * START_PAIRS, lambda: run_to_end(ours), lambda: run_to_end(plain))
    extra = statistics.median((a[0] - b[0]) * 1000 for a, b in samples)
    Table("throwaway: start to end of a PVH program, 64 GiB qcow2 base; with and without --ephemeral", theirs="without").row(
        "wall", [a[0] * 1000 for a, _ in samples], [b[0] * 1000 for _, b in samples], None, unit=" ms")
    print(f"{'extra time':44} {number(extra) + ' ms':>12}, wanted <= 2{'' if extra <= 2 else '  MISSED'}")


def start_to_end(options, folder):
    program, base = f"{options.build}/guests/hello.elf", make_base(options, folder, "8G")
    ours = vmm(options, folder, program=program, base=base)
    theirs = qemu(program, base, "-device", "virtio-blk-device,drive=d")
    samples = pairs(options.pairs, lambda: run_to_end(ours), lambda: run_to_end(theirs))
    table = Table("throwaway: start to end of a PVH program, 8 GiB qcow2 base; QEMU microvm -snapshot")
    for index, (name, wanted) in enumerate((("wall", 0.5), ("CPU", 0.25))):
        table.row(name, [a[index] * 1000 for a, _ in samples], [b[index] * 1000 for _, b in samples], wanted, unit=" ms")


def private_mib(pid):
    return beside_guest_kib(pid, MEMORY_MIB, "Private_Clean:", "Private_Dirty:") / 1024


def at_once(options, folder):
    program, base = f"{options.build}/guests/blkbench.elf", make_base(options, folder, "8G")
    cmdline = "ops=64 op=randwrite bs=4096 depth=1 end=wait"
    ours = vmm(options, folder, "--log-level", "error", program=program, base=base, cmdline=cmdline)
    theirs = qemu(program, base, "-device", "virtio-blk-device,drive=d", cmdline=cmdline)

    def private_each(command):
        guests = []
        for _ in range(AT_ONCE):
            guests.append(start_until(command, b"BENCH")[0])
            guests[-1].send_signal(signal.SIGSTOP)  # it would spin until it is measured
        each = statistics.mean(private_mib(guest.pid) for guest in guests)
        for guest in guests:
            end(guest)
        return each

    samples = pairs(AT_ONCE_PAIRS, lambda: private_each(ours), lambda: private_each(theirs))
    Table(f"throwaway: {AT_ONCE} guests of {MEMORY_MIB} MiB at once on one base, 64 writes of 4 KiB each; QEMU -snapshot").row(
        "private memory of each, beside the guest's", [a for a, _ in samples], [b for _, b in samples], 0.2, unit=" MiB")


def small_writes(options, folder):
    program, base = f"{options.build}/guests/blkbench.elf", make_base(options, folder, "1G")
    for depth in (1, 32):
        cmdline = f"seconds={options.seconds} op=randwrite bs=4096 depth={depth} end=wait"
        ours = vmm(options, folder, program=program, base=base, cmdline=cmdline, iothread=True,
                   driver="type='qcow2' cache='none' io='io_uring'")
        theirs = qemu(program, base, "-object", "iothread,id=io0", "-device", "virtio-blk-device,drive=d,iothread=io0",
                      drive=",cache=none,aio=io_uring", cmdline=cmdline)
        samples = pairs(options.pairs, lambda: disk_figures(ours), lambda: disk_figures(theirs))
        table = Table(f"throwaway: random writes of 4 KiB into a new overlay, depth {depth}; QEMU -snapshot, cache=none")
        table.row("operations/s", [a[0] for a, _ in samples], [b[0] for _, b in samples], 1.2, False)
        table.row("host CPU per operation", [a[1] for a, _ in samples], [b[1] for _, b in samples], None, unit=" us")


PARTS = (extra_time, start_to_end, at_once, small_writes)
