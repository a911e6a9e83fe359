"""What guests are made of: busybox, and programs of this machine with the libraries that they need."""

import os
import re
import shutil
import subprocess

import initramfs

LIB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest")
BOOT_APPLETS = ("cat", "findfs", "insmod", "mount", "poweroff", "sh", "sleep", "switch_root")
PATH_WITH_SBIN = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, content, mode):
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)


def busybox_tree(tree, busybox):
    """Busybox under all its names, and the folders of a system; what the tree has already stays."""
    for folder in ("bin", "sbin", "etc", "dev", "proc", "sys", "run", "tmp", "root", "mnt", "usr/bin", "usr/sbin"):
        os.makedirs(f"{tree}/{folder}", exist_ok=True)
    write(f"{tree}/bin/busybox", busybox, 0o755)
    applets = subprocess.run([f"{tree}/bin/busybox", "--list-full"], check=True, stdout=subprocess.PIPE, text=True).stdout
    for applet in applets.split():
        if not os.path.lexists(f"{tree}/{applet}"):
            os.makedirs(f"{tree}/{os.path.dirname(applet)}", exist_ok=True)
            os.symlink("/bin/busybox", f"{tree}/{applet}")


def boot_initramfs(kernel_dir, version, busybox, modules):
    """Mounts what root= names, with the drivers `modules`."""
    archive = initramfs.Archive()
    for folder in ("proc", "sys", "dev", "root"):
        archive.folder(folder)
    archive.device("dev/console", 5, 1)
    archive.file("init", read(f"{LIB}/init"), 0o755)
    archive.file("bin/busybox", busybox, 0o755)
    for applet in BOOT_APPLETS:
        archive.link(f"bin/{applet}", "busybox")
    add_modules(archive, kernel_dir, version, modules)
    return archive.finish()


def add_modules(archive, kernel_dir, version, modules):
    """Drivers and what they need, and the order to load them in, to /modules of an initramfs."""
    files = initramfs.module_files(kernel_dir, version, modules)
    archive.file("modules/order", "".join(os.path.basename(file) + "\n" for file in files).encode())
    for file in files:
        archive.file(f"modules/{os.path.basename(file)}", read(file))


def program_files(names, folder="usr/bin"):
    """Files of this machine by their places in a guest: programs (names, or paths) in `folder`, libraries where they are looked for."""
    files = {}
    for name in names:
        program = shutil.which(name, path=PATH_WITH_SBIN)
        if program is None:
            raise FileNotFoundError(f"{name} is not here; run scripts/setup")
        files[f"{folder}/{os.path.basename(name)}"] = program
        files |= {library.lstrip("/"): library for library in shared_libraries(program)}
    return files


def shared_libraries(program):
    """Their paths, the loader's too, as the program asks for them."""
    listing = subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True,
                             env=dict(os.environ, PATH=PATH_WITH_SBIN, LC_ALL="C")).stdout
    return re.findall(r"(?:^\s+|=> )(/\S+) \(0x", listing, re.MULTILINE)
