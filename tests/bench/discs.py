"""What people do with discs: start a boot loader from one, read a whole one, install a system from one."""

import os
import subprocess

import guest_files
import initramfs
from figures import Table, pairs
from guests import QEMU, SCRIPTS, cloud_kernel, command_for_domain, end, start_until
from media import grub_iso, isolinux_iso

MEMORY_MIB = 256
DISC_MIB = 96
INSTALL_SECONDS = 600
INSTALL_PAIRS = 3
DRIVER_MODULES = ("ata_piix", "sr_mod")
# It prints "disc on" and then "BENCH bytes centiseconds end".
READ_INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
while read -r module; do /bin/busybox insmod "/modules/$module"; done </modules/order
until [ -b /dev/sr0 ]; do /bin/busybox sleep 0.1; done
now() { read -r up _ </proc/uptime; echo "${up%.*}${up#*.}"; }
/bin/busybox dd if=/dev/sr0 of=/dev/null bs=2048 count=64 2>/dev/null
bytes=$(/bin/busybox blockdev --getsize64 /dev/sr0)
echo 3 >/proc/sys/vm/drop_caches
echo disc on
start=$(now)
/bin/busybox dd if=/dev/sr0 of=/dev/null bs=64k 2>/dev/null || echo FAILED
echo BENCH "$bytes" $(($(now) - start)) end
exec /bin/busybox sleep 1000
"""


def drive(iso):
    return (f"<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='{iso}'/><target dev='hdc' bus='ide'/>"
            "<readonly/></disk>")


def domain_xml(os_elements, devices):
    return (f"<domain type='kvm'><name>bench-{os.getpid()}</name><memory unit='MiB'>{MEMORY_MIB}</memory>"
            f"<os><type arch='x86_64' machine='pc'>hvm</type>{os_elements}</os><features><acpi/></features>"
            f"<cpu mode='host-passthrough'/><devices>{devices}<serial type='stdio'/></devices></domain>")


def qemu(iso, *more):
    return [*QEMU, "-M", "pc", "-m", str(MEMORY_MIB), "-serial", "stdio", "-drive", f"if=none,id=c,format=raw,readonly=on,file={iso}",
            "-device", "ide-cd,bus=ide.1,drive=c", *more]


def seconds_until(command, line, **options):
    child, seconds = start_until(command, line, **options)
    end(child)
    return seconds


def power_on_to_loader(options, folder, name, make, prompt):
    """Firmware's own screen stays off the serial port on both sides."""
    iso = make(os.path.join(folder, f"{name}.iso"))
    ours = command_for_domain(options, folder, domain_xml("<boot dev='cdrom'/><bios useserial='no'/>", drive(iso)))
    theirs = qemu(iso, "-boot", "d")
    samples = pairs(options.pairs, lambda: seconds_until(ours, prompt), lambda: seconds_until(theirs, prompt))
    table = Table(f"disc: process start to what {name} prints, from a CD; QEMU pc")
    table.row("wall", [a for a, _ in samples], [b for _, b in samples], 0.8, unit=" s")


def measure_isolinux(options, folder):
    power_on_to_loader(options, folder, "isolinux", isolinux_iso, b"ISOLINUX")


def measure_grub(options, folder):
    power_on_to_loader(options, folder, "GRUB", grub_iso, b"grub>")


def reading_initramfs(folder):
    kernel_dir, version = initramfs.kernel("cloud")
    archive = initramfs.Archive()
    for name in ("dev", "proc"):
        archive.folder(name)
    archive.device("dev/console", 5, 1)
    archive.file("bin/busybox", initramfs.static_busybox(), 0o755)
    archive.file("init", READ_INIT.encode(), 0o755)
    guest_files.add_modules(archive, kernel_dir, version, DRIVER_MODULES)
    path = os.path.join(folder, "read.img")
    guest_files.write(path, archive.finish(), 0o644)
    return path


def full_iso(folder):
    os.mkdir(f"{folder}/disc")
    with open(f"{folder}/disc/data", "wb") as file:
        for _ in range(DISC_MIB):
            file.write(os.urandom(1 << 20))
    iso = f"{folder}/full.iso"
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", iso, f"{folder}/disc"], check=True, stderr=subprocess.DEVNULL)
    return iso


def megabytes_a_second(command):
    child, _ = start_until(command, b"disc on")
    said = b""
    while b" end" not in said:
        got = os.read(child.stdout.fileno(), 4096)
        if not got:
            raise SystemExit(f"{' '.join(command)}: no figures")
        said += got
    end(child)
    size, centiseconds = map(int, said.partition(b"BENCH")[2].split()[:2])
    if size < DISC_MIB << 20:
        raise SystemExit(f"{' '.join(command)}: the drive has only {size} bytes")
    return size / 1e6 / (centiseconds / 100)


def measure_reading(options, folder):
    iso, kernel, initrd = full_iso(folder), cloud_kernel(), reading_initramfs(folder)
    cmdline = "console=ttyS0 quiet"
    ours = command_for_domain(options, folder, domain_xml(f"<kernel>{kernel}</kernel><initrd>{initrd}</initrd><cmdline>{cmdline}</cmdline>",
                                                          drive(iso)))
    theirs = qemu(iso, "-kernel", kernel, "-initrd", initrd, "-append", cmdline)
    samples = pairs(options.pairs, lambda: megabytes_a_second(ours), lambda: megabytes_a_second(theirs))
    table = Table(f"disc: Linux reads a whole disc of {DISC_MIB} MiB through sr, by DMA; QEMU pc")
    table.row("MB/s", [a for a, _ in samples], [b for _, b in samples], 1.0, False)


def measure_installing(options, folder):
    iso, disk = f"{folder}/installer.iso", f"{folder}/disk.qcow2"
    subprocess.run([f"{SCRIPTS}/make-installer-iso", "isolinux", iso], check=True)
    disk_element = (f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda' bus='virtio'/>"
                    "</disk>")
    ours = command_for_domain(options, folder, domain_xml("<boot dev='hd'/><boot dev='cdrom'/><bios useserial='no'/>",
                                                          disk_element + drive(iso)))
    theirs = qemu(iso, "-drive", f"if=virtio,format=qcow2,file={disk}", "-boot", "cd")

    def install(command):
        subprocess.run([options.vmm_img, "create", "-q", "-f", "qcow2", disk, "1G"], check=True)
        seconds = seconds_until(command, b"login: ", limit=INSTALL_SECONDS)
        os.remove(disk)
        return seconds

    samples = pairs(min(options.pairs, INSTALL_PAIRS), lambda: install(ours), lambda: install(theirs))
    table = Table("disc: a blank qcow2 disk, the installer's disc, the restart, the installed system's login prompt; QEMU pc")
    table.row("wall", [a for a, _ in samples], [b for _, b in samples], 0.9, unit=" s")


PARTS = (measure_isolinux, measure_grub, measure_reading, measure_installing)
