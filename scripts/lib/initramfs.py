"""Builds initramfs archives (cpio "newc") without root and with the same bytes for the same input."""

import os
import stat
import subprocess

ALIGN = 4


class Archive:
    """An archive in memory; every entry belongs to root and carries no time."""

    def __init__(self):
        self._parts = []
        self._next_inode = 1
        self._folders = set()

    def folder(self, path, mode=0o755):
        parent = os.path.dirname(path)
        if parent not in ("", "/") and parent not in self._folders:
            self.folder(parent)
        if path not in self._folders:
            self._folders.add(path)
            self._entry(path, stat.S_IFDIR | mode, b"")

    def file(self, path, content, mode=0o644):
        self._parent(path)
        self._entry(path, stat.S_IFREG | mode, content)

    def link(self, path, target):
        self._parent(path)
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path, major, minor, mode=0o600):
        self._parent(path)
        self._entry(path, stat.S_IFCHR | mode, b"", major, minor)

    def finish(self):
        self._entry("TRAILER!!!", 0, b"")
        return b"".join(self._parts)

    def _parent(self, path):
        parent = os.path.dirname(path)
        if parent and parent != "/":
            self.folder(parent)

    def _entry(self, path, mode, content, major=0, minor=0):
        name = path.encode() + b"\0"
        inode, self._next_inode = self._next_inode, self._next_inode + 1
        # magic 070701, then 13 fields of eight hexadecimal digits: inode mode uid gid nlink mtime filesize
        # devmajor devminor rdevmajor rdevminor namesize check
        fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        self._parts += [_padded(header + name), _padded(content)]


def _padded(data):
    return data + b"\0" * (-len(data) % ALIGN)


def module_files(kernel_dir, version, names):
    """The .ko files of these modules and of all that they need, in the order in which to load them.

    Modules that are built into the kernel have no file and are left out; an unknown name raises KeyError.
    """
    base = f"{kernel_dir}/lib/modules/{version}"
    path_of, needs = {}, {}
    with open(f"{base}/modules.dep", encoding="ascii") as lines:
        for line in lines:
            path, _, depends = line.partition(":")
            path_of[_module_name(path)] = path
            needs[path] = depends.split()
    with open(f"{base}/modules.builtin", encoding="ascii") as lines:
        builtin = {_module_name(line.strip()) for line in lines}

    ordered = []
    for name in names:
        if name.replace("-", "_") in builtin:
            continue
        path = path_of[name.replace("-", "_")]
        # modules.dep names the nearest dependency first, the deepest last
        for file in [*reversed(needs[path]), path]:
            if f"{base}/{file}" not in ordered:
                ordered.append(f"{base}/{file}")
    return ordered


def _module_name(path):
    return os.path.basename(path).split(".ko")[0].replace("-", "_")


def static_busybox():
    """The bytes of a statically linked busybox; one that needs libraries would not start in an initramfs."""
    for path in ("/bin/busybox", "/usr/bin/busybox"):
        if os.path.exists(path):
            with open(path, "rb") as file:
                content = file.read()
            # a dynamically linked program names its loader
            if b"/ld-linux-x86-64.so" not in content[:4096]:
                return content
    raise FileNotFoundError("no static busybox here (Debian package busybox-static); run scripts/setup")


def kernel(flavour):
    """(folder, version) of the stock kernel that scripts/guest-kernel keeps in the cache."""
    script = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "guest-kernel")
    folder = subprocess.run([script, flavour], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return folder, os.path.basename(folder).removeprefix("linux-image-")


def write_atomically(path, content):
    """A reader sees the whole file or none, also when two runs write it at once."""
    temporary = f"{path}.new.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
