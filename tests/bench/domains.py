"""What it costs to read and to check a domain file: the whole process, vmm --check, on this machine."""

import os
import statistics
import subprocess

WANTED_CPU_MS = 5


def domain_of(folder, disks):
    """Of so many raw disks, each with its file."""
    names = ["vd" + (chr(ord("a") + i // 26 - 1) if i >= 26 else "") + chr(ord("a") + i % 26) for i in range(disks)]
    elements = []
    for name in names:
        with open(os.path.join(folder, name), "wb") as file:
            file.truncate(1 << 20)
        elements.append(f"<disk type='file' device='disk'><driver name='qemu' type='raw' cache='writeback' discard='unmap'/><source file='{name}'/>"
                        f"<backingStore/><target dev='{name}' bus='virtio'/><serial>{name}</serial><alias name='virtio-{name}'/></disk>\n")
    path = os.path.join(folder, f"{disks}.xml")
    with open(path, "w", encoding="utf-8") as file:
        file.write("<domain type='kvm'><name>bench</name><memory unit='MiB'>128</memory><os><type>hvm</type></os><features><acpi/></features>\n"
                   f"<devices>{''.join(elements)}<serial type='null'/></devices></domain>\n")
    return path


def cpu_ms(command, statuses):
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in statuses:
        raise SystemExit(f"{' '.join(command)}: failed with status {child.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1000


def measure_domain(options, folder):
    print(f"\ndomain: CPU of vmm --check, start and end of the process with it\n{'':56} {'ms':>8}  wanted", flush=True)
    for disks, what, statuses, most in ((100, "100 disks: the file, which has too many, and KVM", (2,), WANTED_CPU_MS),
                                        (28, "28 disks: the file, KVM, every image, and a machine built", (0,), None)):
        command = [options.vmm, "--domain", domain_of(folder, disks), "--check"]
        samples = [cpu_ms(command, statuses) for _ in range(options.pairs + 1)][1:]
        median = statistics.median(samples)
        wanted = "" if most is None else f"<= {most}{'' if median <= most else '  MISSED'}"
        print(f"{what:56} {median:8.2f}  {wanted}", flush=True)
