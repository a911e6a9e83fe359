"""Runs real Linux guests under vmm; for tests that run where KVM is hardware KVM (ctest label `lab`).

Guest: a folder with a guest of scripts/guest-image and a domain of configs/.
Session: vmm running, with its terminal (or another byte stream) to read from and to type on.
"""

import fcntl
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import tempfile
import termios
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
VMM = os.environ.get("VMM_BINARY", f"{TOP}/build/vmm")
# A guest boots in a few seconds; the rest is for what may run beside it. A machine that is busier still can ask for more.
BOOT_SECONDS = int(os.environ.get("VMM_BOOT_SECONDS") or 240)
PROMPT = rb"guest:[^\r\n]*# (\x1b\[6n)?$"


def with_a_name_of_its_own(text):
    """The domain file, for a guest that runs beside those of other tests: two of one name are refused."""
    return re.sub(r"<name>([^<]*)</name>", rf"<name>\1-{os.getpid()}</name>", text, count=1)


class Guest:
    """A throwaway folder that a domain of configs/ can be started in. Use as a context."""

    def __init__(self, domain, command=None, edit=None, root_mib=None):
        """`root_mib`: size of the root disk. `edit`: pairs of text in the domain file and what to put in its place, each to be found there."""
        self.folder = tempfile.mkdtemp(prefix="vmm-guest.", dir=os.environ.get("VMM_LAB_SCRATCH"))
        self.domain = f"{self.folder}/{domain}"
        size = ["--size", str(root_mib)] if root_mib else []
        subprocess.run([f"{TOP}/scripts/guest-image", *size, self.folder], check=True)
        if command:
            subprocess.run([f"{TOP}/scripts/guest-image", "--command", self.path("command.img"), "--", *command], check=True)
        with open(f"{TOP}/configs/{domain}", encoding="utf-8") as file:
            text = with_a_name_of_its_own(file.read().replace("/var/lib/libvirt/images/", ""))
        for old, new in edit or ():
            if old not in text:
                raise ValueError(f"{domain} has no {old!r}")
            text = text.replace(old, new)
        with open(self.domain, "w", encoding="utf-8") as file:
            file.write(text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return f"{self.folder}/{name}"

    def run(self, *options, seconds=BOOT_SECONDS):
        """vmm from start to end without a terminal: CompletedProcess with bytes."""
        return subprocess.run([VMM, "--domain", self.domain, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=seconds, check=False)

    def start(self):
        return Session([VMM, "--domain", self.domain])


class Session:
    """vmm on a terminal of its own. Use as a context: at its end vmm is killed if it still runs."""

    def __init__(self, command):
        self.master, self._slave = pty.openpty()
        self.terminal_before = self.terminal_now()
        self.output = b""
        self.process = subprocess.Popen(command, stdin=self._slave, stdout=self._slave, stderr=subprocess.PIPE,
                                        start_new_session=True, preexec_fn=own_standard_input)
        self._stream = self.master

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        for descriptor in {self.master, self._slave, self._stream}:
            os.close(descriptor)

    def use_socket(self, path, seconds=10):
        """From here on, the guest's console is the unix socket at `path`."""
        end = time.monotonic() + seconds
        while True:
            stream = socket.socket(socket.AF_UNIX)
            try:
                stream.connect(path)
                self._stream = stream.detach()
                return
            except OSError:
                stream.close()
                if time.monotonic() > end:
                    raise
                select.select([], [], [], 0.05)

    def type(self, text):
        os.write(self._stream, text.encode())

    def wait_for(self, pattern, seconds=BOOT_SECONDS):
        """Reads until `pattern` (bytes, a regular expression) matches what came after the last match."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.output)):
            if self.process.poll() is not None and not self._read(0):
                raise AssertionError(f"vmm ended with status {self.process.returncode} before {pattern!r} came: "
                                     f"{self.output[-2000:]!r} {self.process.stderr.read()!r}")
            if time.monotonic() > end:
                raise AssertionError(f"{pattern!r} did not come in {seconds} s: {self.output[-2000:]!r}")
            self._read()
        self.output = self.output[found.end():]
        return found

    def wait_end(self, seconds=BOOT_SECONDS):
        """vmm's exit status; what the guest prints meanwhile is read and kept in `output`."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > end:
                raise AssertionError(f"vmm did not end in {seconds} s: {self.output[-2000:]!r}")
            self._read()
        while self._read(0):
            pass
        return self.process.returncode

    def terminal_now(self):
        """The terminal's settings; asked from its master side, since the other is hung up when vmm has ended."""
        return termios.tcgetattr(self.master)

    def _read(self, seconds=0.2):
        """Takes what has come, and waits for some; False if nothing came."""
        if not select.select([self._stream], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._stream, 1 << 16)
        except OSError:  # the other end is closed
            data = b""
        self.output += data
        return data != b""


def own_standard_input():
    """In the child: makes its standard input the terminal of its session, as for a program that a shell starts."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
