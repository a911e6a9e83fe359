"""Disks and discs that firmware boots, made of Debian's packages or of a few bytes."""

import os
import struct
import subprocess
import tempfile

SECTOR = 512
ISOLINUX = "/usr/lib/ISOLINUX"
SYSLINUX_MODULES = "/usr/lib/syslinux/modules/bios"
SYSLINUX_MBR = {"mbr": "/usr/lib/EXTLINUX/mbr.bin", "gpt": "/usr/lib/EXTLINUX/gptmbr.bin"}
GRUB = "/usr/lib/grub/i386-pc"
GRUB_MODULES = ("biosdisk", "part_msdos", "part_gpt", "fat", "normal", "configfile", "serial", "terminal", "echo", "minicmd", "reboot")
MIB = 1 << 20
BOOT_CODE_BYTES = 440  # the rest of the first sector is the disk's signature and the partition table

# Disks for loaders, in sectors: a FAT file system, and on GPT before it a place for GRUB, which has the gap behind the MBR else.
FAT_START, FAT_SECTORS, DISK_BYTES = 4096, 32768, 20 * MIB
GRUB_START = {"mbr": 1, "gpt": 2048}
PARTITIONS = {
    "mbr": f"label: dos\nstart={FAT_START}, size={FAT_SECTORS}, type=6, bootable\n",
    "gpt": f"label: gpt\nstart={FAT_START}, size={FAT_SECTORS}, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, attrs=LegacyBIOSBootable\n"
           f"start={GRUB_START['gpt']}, size={FAT_START - GRUB_START['gpt']}, type=21686148-6449-6E6F-744E-656564454649\n",
}
# Of GRUB's boot.img and of the first sector of its core image (diskboot.img).
BOOT_KERNEL_SECTOR, DISKBOOT_FIRST_SECTOR = 0x5c, 0x1f4


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


def option_rom(text, vendor=0x1af4, device=0x1041):
    """A card's ROM (PCI 3.0, section 6.3; BIOS Boot Specification): what boots from it prints `text`, waits for a key, and
    starts the machine again."""
    data, plug_and_play, entry, message = 0x1c, 0x40, 0x60, 0x90
    rom = bytearray(SECTOR)
    rom[0:6] = bytes.fromhex("55aa 01 31c0cb")  # one sector; xor ax, ax; retf
    rom[0x18:0x1c] = struct.pack("<HH", data, plug_and_play)
    rom[data:data + 24] = struct.pack("<4sHHHHBBBBHHBBH", b"PCIR", vendor, device, 0, 24, 0, 0, 0, 2, 1, 0, 0, 0x80, 0)
    header = bytearray(struct.pack("<4sBBHBBLHHBBBBHHHHH", b"$PnP", 1, 2, 0, 0, 0, 0, 0, message, 0, 0, 2, 0x14, 0, 0, entry, 0, 0))
    header[9] = -sum(header) & 0xff
    rom[plug_and_play:plug_and_play + 32] = header
    code = (bytes.fromhex("0e1f be") + struct.pack("<H", message)  # push cs; pop ds; mov si, message
            + bytes.fromhex("ac 08c0 7406 b40e cd10 ebf5"          # as in boot_sector()
                            "b400 cd16 eaf0ff00f0"))
    rom[entry:entry + len(code)] = code
    shown = text.encode() + b"\r\n\0"
    rom[message:message + len(shown)] = shown
    rom[-1] = -sum(rom) & 0xff
    return bytes(rom)


def isolinux_iso(path):
    """An isohybrid image: isolinux boots it from a CD, and from a disk too. Labels: off, reboot."""
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/isolinux")
        modules = (f"{SYSLINUX_MODULES}/{name}.c32" for name in ("ldlinux", "libcom32", "poweroff", "reboot"))
        for file in (f"{ISOLINUX}/isolinux.bin", *modules):
            with open(file, "rb") as source, open(f"{folder}/isolinux/{os.path.basename(file)}", "wb") as target:
                target.write(source.read())
        with open(f"{folder}/isolinux/isolinux.cfg", "w", encoding="ascii") as file:
            file.write("SERIAL 0 115200\nPROMPT 1\nDEFAULT none\n"
                       "LABEL off\n  COM32 poweroff.c32\nLABEL reboot\n  COM32 reboot.c32\n")
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", path, "-V", "TEST", "-b", "isolinux/isolinux.bin",
                        "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
                        "-isohybrid-mbr", f"{ISOLINUX}/isohdpfx.bin", folder], check=True, stderr=subprocess.DEVNULL)
    return path


def memtest_iso(path, memtest):
    """A disc on which isolinux starts the memory tester of this file, whose screen is on the serial port."""
    with tempfile.TemporaryDirectory() as folder:
        for name, file in (("isolinux.bin", f"{ISOLINUX}/isolinux.bin"), ("memtest", memtest),
                           ("ldlinux.c32", f"{SYSLINUX_MODULES}/ldlinux.c32")):
            write(f"{folder}/{name}", read(file))
        write(f"{folder}/isolinux.cfg", b"DEFAULT memtest\nLABEL memtest\n  LINUX memtest\n  APPEND console=ttyS0,115200\n")
        run("xorriso", "-as", "mkisofs", "-quiet", "-o", path, "-V", "MEMTEST", "-b", "isolinux.bin", "-c", "boot.cat",
            "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", folder)
    return path


def floppy_iso(path, text):
    """A disc that boots as boot_disk() does, through the emulation of a floppy disk of 1.44 MB."""
    with tempfile.TemporaryDirectory() as folder:
        boot_disk(f"{folder}/floppy.img", text, size=2880 * SECTOR)
        run("xorriso", "-as", "mkisofs", "-quiet", "-o", path, "-V", "FLOPPY", "-b", "floppy.img", "-c", "boot.cat", folder)
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


def partitioned_disk(path, table, files):
    """A disk with a FAT file system, which has `files` (names and contents); its partition table is an "mbr" or a "gpt"."""
    with open(path, "wb") as file:
        file.truncate(DISK_BYTES)
    run("sfdisk", "--quiet", path, input=PARTITIONS[table].encode())
    place = f"{path}@@{FAT_START * SECTOR}"
    run("mformat", "-i", place, "-T", str(FAT_SECTORS), "-h", "64", "-s", "32", "-H", str(FAT_START), "::")
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            write(f"{folder}/{name}", content)
            run("mcopy", "-i", place, f"{folder}/{name}", f"::{name}")


def syslinux_disk(path, table):
    """SYSLINUX on a FAT file system, with its prompt on the serial port. Label: reboot."""
    files = {f"{name}.c32": read(f"{SYSLINUX_MODULES}/{name}.c32") for name in ("libcom32", "reboot")}
    files["syslinux.cfg"] = b"SERIAL 0 115200\nPROMPT 1\nDEFAULT none\nLABEL reboot\n  COM32 reboot.c32\n"
    partitioned_disk(path, table, files)
    run("syslinux", "--install", "--offset", str(FAT_START * SECTOR), path)
    write_at(path, 0, read(SYSLINUX_MBR[table])[:BOOT_CODE_BYTES])
    return path


def grub_disk(path, table):
    """GRUB before a FAT file system, whose grub.cfg says "grub.cfg was read"; then its prompt, on the serial port."""
    script = "serial --unit=0 --speed=115200\nterminal_input serial\nterminal_output serial\necho grub.cfg was read\n"
    partitioned_disk(path, table, {"grub.cfg": script.encode()})
    with tempfile.TemporaryDirectory() as folder:
        run("grub-mkimage", "-O", "i386-pc", "-d", GRUB, "-p", "(hd0,1)/", "-o", f"{folder}/core.img", *GRUB_MODULES)
        core = bytearray(read(f"{folder}/core.img"))
    boot, start = bytearray(read(f"{GRUB}/boot.img")), GRUB_START[table]
    assert start * SECTOR + len(core) <= FAT_START * SECTOR
    boot[BOOT_KERNEL_SECTOR:BOOT_KERNEL_SECTOR + 8] = start.to_bytes(8, "little")
    core[DISKBOOT_FIRST_SECTOR:DISKBOOT_FIRST_SECTOR + 8] = (start + 1).to_bytes(8, "little")
    write_at(path, 0, boot[:BOOT_CODE_BYTES])
    write_at(path, start * SECTOR, core)
    return path


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def write_at(path, offset, content):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(content)


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options,
                          env=dict(os.environ, LC_ALL="C", MTOOLS_SKIP_CHECK="1", PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"))
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with status {done.returncode}: {done.stdout.decode(errors='replace')}")
