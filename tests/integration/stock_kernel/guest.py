"""Boots Debian's stock cloud kernel under vmm with an initramfs that runs a script; label `lab`.

Guest: a throwaway folder with the domain file, the kernel and the initramfs. Run: vmm running on it.
The script's output is on the first serial port, which is vmm's standard output unless `serials` says otherwise. When
the script ends the guest switches itself off.
"""

import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
import unittest
from xml.sax.saxutils import escape, quoteattr

sys.dont_write_bytecode = True
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
sys.path.insert(0, f"{TOP}/scripts/lib")
import initramfs  # noqa: E402

MIB = 1 << 20
# Enough in the lab with everything else busy; a machine that is busier still can ask for more.
BOOT_SECONDS = int(os.environ.get("VMM_BOOT_SECONDS") or 180)
VMM = os.environ.get("VMM_BINARY") or os.environ.get("VMM") or f"{TOP}/build/vmm"
MODULES = ("virtio_pci", "virtio_mmio", "virtio_blk", "ext4", "button", "evdev")
STDIO = "<serial type='stdio'><target port='0'/></serial>"

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /bin /mnt
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin
while read -r module; do insmod "/modules/$module"; done </modules/order
[ -c /dev/ttyS0 ] && stty -opost </dev/ttyS0
sh /script
sync
grep -q vmm.end=reboot /proc/cmdline && reboot -f
poweroff -f
"""


def kernel_path(flavour="cloud"):
    folder, version = initramfs.kernel(flavour)
    return f"{folder}/boot/vmlinuz-{version}"


def build_initramfs(script, modules=MODULES, files=None, flavour="cloud"):
    """`files`: more of them, text by path."""
    folder, version = initramfs.kernel(flavour)
    archive = initramfs.Archive()
    archive.folder("dev")
    archive.device("dev/console", 5, 1)
    archive.file("init", INIT.encode(), 0o755)
    archive.file("script", script.encode(), 0o644)
    archive.file("bin/busybox", initramfs.static_busybox(), 0o755)
    for path, text in (files or {}).items():
        archive.file(path, text.encode())
    module_files = initramfs.module_files(folder, version, modules)
    archive.file("modules/order", "".join(os.path.basename(file) + "\n" for file in module_files).encode())
    for file in module_files:
        with open(file, "rb") as module:
            archive.file(f"modules/{os.path.basename(file)}", module.read())
    return archive.finish()


class Disk:
    """An image in the guest's folder; `driver` and `inside` are more of the <driver>'s attributes and of the <disk>."""

    def __init__(self, name, size_bytes=None, driver="", inside="", image_format="raw"):
        self.name = name
        self.image_format = image_format
        self.size_bytes = size_bytes  # None: the image is there already
        self.driver = driver
        self.inside = inside

    def element(self, number):
        return (f"<disk type='file' device='disk'><driver name='qemu' type='{self.image_format}' {self.driver}/>"
                f"<source file={quoteattr(self.name)}/><target dev='vd{chr(ord('a') + number)}' bus='virtio'/>{self.inside}</disk>")


class Guest:
    """Use as a context. `before` and `after` are elements of the domain before and after its <os>, `os_elements` in it."""

    def __init__(self, script="", *, machine="pc", cpus=1, memory_mib=256, acpi=True, cmdline="", disks=(), before="", after="",
                 os_elements="", serials=STDIO, modules=MODULES, files=None, kernel=None, folder=None, flavour="cloud"):
        self._temporary = tempfile.TemporaryDirectory(prefix="vmm-linux.", dir=folder or os.environ.get("VMM_LAB_SCRATCH"))
        self.folder = self._temporary.name
        self.domain = self.path("domain.xml")
        with open(self.path("initrd.img"), "wb") as file:
            file.write(build_initramfs(script, modules, files, flavour))
        for disk in disks:
            if disk.size_bytes is not None:
                with open(self.path(disk.name), "wb") as file:
                    file.truncate(disk.size_bytes)
        elements = "".join(disk.element(number) for number, disk in enumerate(disks))
        with open(self.domain, "w", encoding="utf-8") as file:
            file.write(f"""<domain type='kvm'>
  <name>guest-{os.getpid()}</name>
  <memory unit='MiB'>{memory_mib}</memory>
  <vcpu>{cpus}</vcpu>
  {before}
  <os>
    <type arch='x86_64' machine='{machine}'>hvm</type>
    <kernel>{escape(kernel or kernel_path(flavour))}</kernel>
    <initrd>initrd.img</initrd>
    <cmdline>console=ttyS0 quiet loglevel=1 panic=-1 {escape(cmdline)}</cmdline>
    {os_elements}
  </os>
  <features>{'<acpi/>' if acpi else ''}</features>
  {after}
  <devices>{elements}{serials}</devices>
</domain>
""")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        self._temporary.cleanup()

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def start(self, options=()):
        return Run([VMM, "--domain", self.domain, *options])

    def run(self, seconds=BOOT_SECONDS, options=()):
        """vmm from start to end, with nothing on its standard input."""
        with self.start(options) as run:
            run.process.stdin.close()
            run.wait_end(seconds)
            return run


class Run:
    """A process with pipes. `output` and `errors` are all bytes so far. As a context: killed at the end if it still runs."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._text = {self.process.stdout: bytearray(), self.process.stderr: bytearray()}
        self._selector = selectors.DefaultSelector()
        self._seen = 0
        for stream in self._text:
            self._selector.register(stream, selectors.EVENT_READ)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._selector.close()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()

    @property
    def output(self):
        return bytes(self._text[self.process.stdout])

    @property
    def errors(self):
        return self._text[self.process.stderr].decode(errors="replace")

    @property
    def status(self):
        return self.process.returncode

    def text(self):
        return self.output.decode("latin-1").replace("\r\n", "\n")

    def values(self):
        """The lines NAME=VALUE that the guest printed; of several with one name, the last."""
        return dict(re.findall(r"^([a-z0-9_.-]+)=(.*)$", self.text(), re.MULTILINE))

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait_for(self, pattern, seconds=BOOT_SECONDS):
        """Until `pattern` matches what came after the last match; the match."""
        found = []

        def is_there():
            found[:] = [re.search(pattern.encode(), self.output[self._seen:], re.MULTILINE)]
            return found[0]

        self._collect(seconds, is_there, f"{pattern!r} did not come")
        if found[0] is None:
            raise AssertionError(f"vmm ended before {pattern!r} came; {self.account()}")
        self._seen += found[0].end()
        return found[0]

    def wait_for_error(self, pattern, seconds=BOOT_SECONDS):
        self._collect(seconds, lambda: re.search(pattern, self.errors), f"{pattern!r} did not come on stderr")

    def wait_end(self, seconds=BOOT_SECONDS):
        self._collect(seconds, lambda: False, "vmm did not end")
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"vmm did not end in {seconds} s; {self.account()}") from None

    def account(self):
        return f"status {self.process.poll()}, output {self.output[-2000:]!r}, errors {self.errors[-2000:]!r}"

    def _collect(self, seconds, is_enough, complaint):
        end = time.monotonic() + seconds
        while not is_enough() and self._selector.get_map():
            ready = self._selector.select(max(0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"{complaint} in {seconds} s; {self.account()}")
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                self._text[key.fileobj] += data
                if not data:
                    self._selector.unregister(key.fileobj)


class GuestTest(unittest.TestCase):
    def assert_ended_well(self, run):
        self.assertEqual((run.status, run.errors), (0, ""), run.account())

    def assert_one_sentence(self, run, status, *parts):
        """What a user sees of a mistake: one line that names the place, and the promised status."""
        self.assertEqual(run.status, status, run.account())
        self.assertEqual(run.output, b"")
        self.assertRegex(run.errors, r"\Avmm: [^\n]+\n\Z")
        for part in parts:
            self.assertIn(part, run.errors)


def main():
    """Runs the tests that the command line names; status 77, ctest's word for skipped, if not one of them could run."""
    program = unittest.main(module="__main__", exit=False)
    result = program.result
    if result.wasSuccessful() and result.testsRun and len(result.skipped) == result.testsRun:
        sys.exit(77)
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)


def environment_with_sbin():
    return dict(os.environ, PATH=os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin", LC_ALL="C")


def file_system_check(image):
    """e2fsck's verdict without repairing: 0 means clean."""
    return subprocess.run(["e2fsck", "-fn", image], env=environment_with_sbin(), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False).returncode


def make_file_system(image, size_bytes):
    with open(image, "wb") as file:
        file.truncate(size_bytes)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0,nodiscard", image], env=environment_with_sbin(),
                   check=True)


def read_from_image(image, path):
    return subprocess.run(["debugfs", "-R", f"cat {path}", image], env=environment_with_sbin(), stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=True).stdout
