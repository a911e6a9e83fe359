"""Disks and discs that firmware boots, made of Debian's packages or of a few bytes."""

import os
import subprocess
import tempfile

SECTOR = 512
ISOLINUX = "/usr/lib/ISOLINUX"
SYSLINUX_MODULES = "/usr/lib/syslinux/modules/bios"


def boot_sector(text):
    """A sector that prints `text` by the BIOS, waits for a key, and starts the machine again."""
    code = bytes.fromhex("31c0 8ed8 be1e7c"      # xor ax, ax; mov ds, ax; mov si, message
                         "ac 08c0 7406"          # next: lodsb; or al, al; jz wait
                         "b40e cd10 ebf5"        # mov ah, 0eh; int 10h; jmp next
                         "b400 cd16"             # wait: mov ah, 0; int 16h
                         "eaf0ff00f0")           # jmp f000:fff0
    code = code.ljust(0x1e, b"\xf4") + text.encode() + b"\r\n\0"
    return code.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def boot_disk(path, text, size=1 << 20):
    with open(path, "wb") as file:
        file.write(boot_sector(text))
        file.truncate(size)
    return path


def isolinux_iso(path):
    """An isohybrid image: isolinux boots it from a CD, and from a disk too. Labels: off, reboot."""
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/isolinux")
        for file in (f"{ISOLINUX}/isolinux.bin", *(f"{SYSLINUX_MODULES}/{name}.c32" for name in ("ldlinux", "libcom32", "poweroff", "reboot"))):
            with open(file, "rb") as source, open(f"{folder}/isolinux/{os.path.basename(file)}", "wb") as target:
                target.write(source.read())
        with open(f"{folder}/isolinux/isolinux.cfg", "w", encoding="ascii") as file:
            file.write("SERIAL 0 115200\nPROMPT 1\nDEFAULT none\n"
                       "LABEL off\n  COM32 poweroff.c32\nLABEL reboot\n  COM32 reboot.c32\n")
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", path, "-V", "TEST", "-b", "isolinux/isolinux.bin",
                        "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
                        "-isohybrid-mbr", f"{ISOLINUX}/isohdpfx.bin", folder], check=True, stderr=subprocess.DEVNULL)
    return path


def grub_iso(path):
    """A disc with GRUB, whose prompt is on the serial port."""
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(f"{folder}/boot/grub")
        with open(f"{folder}/boot/grub/grub.cfg", "w", encoding="ascii") as file:
            file.write("serial --unit=0 --speed=115200\nterminal_input serial\nterminal_output serial\n")
        subprocess.run(["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "-o", path, folder], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    return path


def boot_iso(path, text):
    """A disc that boots as boot_disk() does."""
    with tempfile.TemporaryDirectory() as folder:
        boot_disk(f"{folder}/boot.bin", text, size=4 * SECTOR)
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", path, "-V", "BOOT", "-b", "boot.bin", "-c", "boot.cat",
                        "-no-emul-boot", "-boot-load-size", "4", folder], check=True, stderr=subprocess.DEVNULL)
    return path


def data_iso(path):
    """A disc that nothing boots from."""
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/readme", "w", encoding="ascii") as file:
            file.write("data\n" * 100_000)
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", path, "-V", "DATA", folder], check=True, stderr=subprocess.DEVNULL)
    return path
