#!/usr/bin/env python3
"""Runs one guest program under vmm, or under QEMU as the second opinion, and judges what it prints.

Passed: the program's last line is DONE with no failures (unless --no-report), each --expect is found in the output, no
--reject is, and the monitor's exit status is --status. Ends with 77 where KVM is needed and missing and
VMM_TESTS_WITHOUT_KVM=1 allows that.
"""

import argparse
import os
import re
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from xml.sax.saxutils import escape

STATUS_SKIPPED = 77
OUTPUT_LIMIT = 64 << 20
QEMU_MACHINES = {
    "pc": ["-machine", "pc"],
    "microvm": ["-machine", "microvm,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=on,ioapic2=off",
                "-global", "virtio-mmio.force-legacy=false"],
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the ELF file")
    parser.add_argument("--monitor", default=os.environ.get("VMM_BINARY", "build/vmm"),
                        help="vmm's binary, or the word qemu (default $VMM_BINARY, then build/vmm)")
    parser.add_argument("--accel", default="tcg", help="of QEMU (default tcg)")
    parser.add_argument("--machine", choices=("pc", "microvm"), default="pc")
    parser.add_argument("--cmdline", default="")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--memory", type=int, default=64, metavar="MiB")
    parser.add_argument("--disk", action="append", default=[], metavar="MiB[,OPTION…]",
                        help="an empty raw disk on virtio-blk; options: ro, queues=N, iothread, discard, queue-size=N")
    parser.add_argument("--ide-disk", type=int, metavar="MiB", help="an empty raw disk, first channel's master")
    parser.add_argument("--cdrom", type=int, metavar="MiB",
                        help="a disc, second channel's master; each block begins with its number (32 bits)")
    parser.add_argument("--cache", help="of the disks (default: none where the folder can do it, else writeback)")
    parser.add_argument("--io", choices=("io_uring", "threads"))
    parser.add_argument("--features-off", default="", metavar="NAME,…", help="CPU features to take away")
    parser.add_argument("--topology", metavar="SOCKETS,CORES,THREADS")
    parser.add_argument("--on-reboot", choices=("restart", "destroy"), default="restart")
    parser.add_argument("--balloon", action="store_true", help="vmm only: a balloon with all that it can do")
    parser.add_argument("--rng", metavar="BYTES", nargs="?", const="0", help="an entropy device; so many bytes in 3 s at most")
    parser.add_argument("--console-echo", action="store_true", help="a console of virtio whose other end sends back what it gets")
    parser.add_argument("--debug-console", metavar="PORT", help="goes to a file; see --expect-debug")
    parser.add_argument("--expect-debug", action="append", default=[], metavar="REGEX", help="in all that the debug console got")
    parser.add_argument("--panic", action="store_true", help="a panic device")
    parser.add_argument("--watchdog", metavar="ACTION", help="an ib700")
    parser.add_argument("--exit-port", metavar="PORT", help="vmm only: the guest may end the run there")
    parser.add_argument("--vmm-option", action="append", default=[], metavar="OPTION", help="one more for vmm")
    parser.add_argument("--on-crash", choices=("restart", "destroy"), default="destroy")
    parser.add_argument("--serial", type=int, default=1, metavar="N", help="serial ports; all but the first go nowhere")
    parser.add_argument("--send", action="append", default=[], metavar="REGEX=TEXT",
                        help="type TEXT when REGEX has been printed (the first '=' separates)")
    parser.add_argument("--signal", action="append", default=[], metavar="REGEX=NAME",
                        help="send the monitor signal NAME when REGEX has been printed")
    parser.add_argument("--power-button", action="append", default=[], metavar="REGEX",
                        help="press the power button when REGEX has been printed")
    parser.add_argument("--expect", action="append", default=[], metavar="REGEX")
    parser.add_argument("--reject", action="append", default=[], metavar="REGEX")
    parser.add_argument("--expect-error", action="append", default=[], metavar="REGEX", help="on stderr")
    parser.add_argument("--reject-error", action="append", default=[], metavar="REGEX", help="on stderr")
    parser.add_argument("--no-report", action="store_true", help="the program does not come to its line DONE")
    parser.add_argument("--status", type=int, default=0, help="exit status wanted (default 0)")
    parser.add_argument("--time-limit", type=float, default=240, metavar="SECONDS")
    parser.add_argument("--show", action="store_true", help="print the domain or the command line, and do not run it")
    return parser.parse_args()


def has_direct_io(folder):
    path = os.path.join(folder, "direct-io")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_DIRECT))
        return True
    except OSError:
        return False


class Disk:
    def __init__(self, text, folder, number):
        size, *flags = text.split(",")
        options = dict(flag.partition("=")[::2] for flag in flags)
        self.read_only = "ro" in options
        self.iothread = "iothread" in options
        self.discard = "discard" in options
        self.queues = int(options.get("queues", 0))
        self.queue_size = int(options.get("queue-size", 0))
        self.target = f"vd{chr(ord('a') + number)}"
        self.path = os.path.join(folder, f"disk{number}.raw")
        with open(self.path, "wb") as file:
            file.truncate(int(size) << 20)


def disk_element(options, disk):
    attributes = f"name='qemu' type='raw' cache='{options.cache}'"
    attributes += " discard='unmap'" if disk.discard else ""
    attributes += f" io='{options.io}'" if options.io else ""
    attributes += f" queues='{disk.queues}'" if disk.queues else ""
    attributes += f" queue_size='{disk.queue_size}'" if disk.queue_size else ""
    attributes += " iothread='1'" if disk.iothread else ""
    return (f"<disk type='file' device='disk'><driver {attributes}/><source file='{escape(disk.path)}'/>"
            f"<target dev='{disk.target}' bus='virtio'/><serial>GUEST-{disk.target}</serial>"
            f"{'<readonly/>' if disk.read_only else ''}</disk>")


def make_ide_images(options, folder):
    """Paths by target."""
    images = {}
    if options.ide_disk:
        images["hda"] = os.path.join(folder, "ide.raw")
        with open(images["hda"], "wb") as file:
            file.truncate(options.ide_disk << 20)
    if options.cdrom:
        images["hdc"] = os.path.join(folder, "cd.iso")
        with open(images["hdc"], "wb") as file:
            for block in range(options.cdrom << 20 >> 11):
                file.write(struct.pack("<I", block) + bytes(2044))
    return images


def ide_elements(images):
    kinds = {"hda": ("disk", ""), "hdc": ("cdrom", "<readonly/>")}
    return "".join(f"<disk type='file' device='{kinds[target][0]}'><driver name='qemu' type='raw'/><source file='{escape(path)}'/>"
                   f"<target dev='{target}' bus='ide'/>{kinds[target][1]}</disk>" for target, path in images.items())


def small_devices(options):
    elements = ""
    if options.rng is not None:
        rate = f"<rate bytes='{options.rng}' period='3000'/>" if options.rng != "0" else ""
        elements += f"<rng model='virtio'>{rate}<backend model='random'>/dev/urandom</backend></rng>"
    if options.console_echo:
        elements += (f"<console type='unix'><source mode='connect' path='{options.echo_socket}'/>"
                     "<target type='virtio' port='0'/></console>")
    if options.debug_console:
        elements += (f"<serial type='file'><source path='{options.debug_file}'/><target type='isa-debug'/>"
                     f"<address type='isa' iobase='{options.debug_console}'/></serial>")
    elements += f"<watchdog model='ib700' action='{options.watchdog}'/>" if options.watchdog else ""
    return elements + ("<panic model='isa'/>" if options.panic else "")


def qemu_small_devices(options):
    suffix = "pci,disable-legacy=on" if options.machine == "pc" else "device"
    words = []
    if options.rng is not None:
        limit = f",max-bytes={options.rng},period=3000" if options.rng != "0" else ""
        words += ["-object", "rng-random,filename=/dev/urandom,id=rng0", "-device", f"virtio-rng-{suffix},rng=rng0{limit}"]
    if options.console_echo:
        words += ["-chardev", f"socket,id=console0,path={options.echo_socket}", "-device", f"virtio-serial-{suffix}",
                  "-device", "virtconsole,chardev=console0"]
    if options.debug_console:
        words += ["-chardev", f"file,id=debug0,path={options.debug_file}",
                  "-device", f"isa-debugcon,iobase={options.debug_console},chardev=debug0"]
    words += ["-device", "ib700", "-action", f"watchdog={options.watchdog}"] if options.watchdog else []
    return words + (["-device", "pvpanic"] if options.panic else [])


class EchoServer:
    """Sends back to its client all that comes, at a unix socket."""

    def __init__(self, path):
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(1)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        client, _ = self._listener.accept()
        with client:
            while data := client.recv(1 << 16):
                client.sendall(data)


def domain_xml(options, disks):
    features = "".join(f"<feature policy='disable' name='{name}'/>" for name in options.features_off.split(",") if name)
    topology = "<topology sockets='{}' cores='{}' threads='{}'/>".format(*options.topology.split(",")) if options.topology else ""
    cpu = f"<cpu mode='host-passthrough'>{topology}{features}</cpu>" if topology or features else ""
    iothreads = "<iothreads>1</iothreads>" if any(disk.iothread for disk in disks) else ""
    metadata = f"<metadata><vmm:exit xmlns:vmm='urn:vmm:domain:1' port='{options.exit_port}'/></metadata>" if options.exit_port else ""
    balloon = "<memballoon model='virtio' autodeflate='on' freePageReporting='on'/>" if options.balloon else ""
    serial = small_devices(options) + "<serial type='stdio'><target port='0'/></serial>"
    serial += "".join(f"<serial type='null'><target port='{n}'/></serial>" for n in range(1, options.serial))
    return f"""<domain type='kvm'>
  <name>guest-program-{os.getpid()}</name>{metadata}
  <memory unit='MiB'>{options.memory}</memory>
  <vcpu>{options.cpus}</vcpu>{iothreads}
  <os><type arch='x86_64' machine='{options.machine}'>hvm</type><kernel>{escape(os.path.abspath(options.program))}</kernel><cmdline>{escape(options.cmdline)}</cmdline></os>
  <features><acpi/></features>{cpu}
  <on_reboot>{options.on_reboot}</on_reboot><on_crash>{options.on_crash}</on_crash>
  <devices>{"".join(disk_element(options, disk) for disk in disks)}{ide_elements(options.ide_images)}{balloon}{serial}</devices>
</domain>
"""


def qemu_command(options, disks):
    model = "host" if options.accel == "kvm" else "max" if not options.features_off else "qemu64"
    model += "".join(f",-{name}" for name in options.features_off.split(",") if name)
    smp = str(options.cpus)
    if options.topology:
        smp += ",sockets={},cores={},threads={}".format(*options.topology.split(","))
    command = ["qemu-system-x86_64", *QEMU_MACHINES[options.machine], "-accel", options.accel, "-cpu", model,
               "-smp", smp, "-m", str(options.memory), "-nodefaults", "-display", "none",
               "-kernel", options.program, "-append", options.cmdline, "-chardev", "stdio,id=terminal,signal=off",
               "-serial", "chardev:terminal"]
    command += ["-serial", "null"] * (options.serial - 1) + qemu_small_devices(options)
    if options.power_button:
        command += ["-monitor", f"unix:{options.control},server=on,wait=off"]
    command += ["-no-reboot"] if options.on_reboot == "destroy" else []
    for number, disk in enumerate(disks):
        command += ["-drive", f"if=none,id=d{number},format=raw,file={disk.path},cache={options.cache},"
                    f"readonly={'on' if disk.read_only else 'off'},discard={'unmap' if disk.discard else 'ignore'}"]
        device = "virtio-blk-pci" if options.machine == "pc" else "virtio-blk-device"
        # QEMU has the write-back bit in config space only where asked for.
        device += f",drive=d{number},serial=GUEST-{disk.target},config-wce=on"
        device += ",disable-legacy=on" if options.machine == "pc" else ""
        device += f",num-queues={disk.queues}" if disk.queues else ""
        device += f",queue-size={disk.queue_size}" if disk.queue_size else ""
        if disk.iothread:
            command += ["-object", f"iothread,id=io{number}"]
            device += f",iothread=io{number}"
        command += ["-device", device]
    for target, path in options.ide_images.items():
        kind = "media=cdrom,readonly=on" if target == "hdc" else "media=disk"
        command += ["-drive", f"if=ide,index={ord(target[2]) - ord('a')},format=raw,file={path},{kind}"]
    return command


class Reaction:
    """Something to do once, when a pattern has been printed."""

    def __init__(self, text, action):
        pattern, _, self.argument = text.partition("=")
        self._pattern = re.compile(pattern.encode(), re.MULTILINE)
        self._action = action
        self._done = False

    def look_at(self, output):
        if not self._done and self._pattern.search(output):
            self._done = True
            self._action(self.argument)


def press_power_button(child, options):
    if options.monitor != "qemu":
        child.send_signal(signal.SIGTERM)
        return
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(options.time_limit)
        control.connect(options.control)
        control.sendall(b"system_powerdown\n")
        # Its second prompt tells that it has done it; a monitor whose client is gone by then would not.
        answer = b""
        while answer.count(b"(qemu) ") < 2:
            data = control.recv(1 << 16)
            if not data:
                return
            answer += data


def run(command, options):
    """The exit status (None: over the time limit), standard output, standard error."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        def send(text):
            child.stdin.write(text.encode().decode("unicode_escape").encode("latin-1"))
            child.stdin.flush()

        reactions = [Reaction(text, send) for text in options.send]
        reactions += [Reaction(text, lambda _: press_power_button(child, options)) for text in options.power_button]
        reactions += [Reaction(text, lambda name: child.send_signal(getattr(signal, name))) for text in options.signal]
        deadline = time.monotonic() + options.time_limit
        output = {child.stdout: b"", child.stderr: b""}
        selector = selectors.DefaultSelector()
        for stream in output:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(deadline - time.monotonic())
            if not ready or max(map(len, output.values())) > OUTPUT_LIMIT:
                child.kill()
                child.wait()
                return None, output[child.stdout], output[child.stderr]
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                output[key.fileobj] += data
                if not data:
                    selector.unregister(key.fileobj)
            for reaction in reactions:
                reaction.look_at(output[child.stdout])
        return child.wait(), output[child.stdout], output[child.stderr]


def judge(options, status, output, errors):
    """Everything that is wrong with a run, one sentence each."""
    complaints = []
    if status is None:
        complaints.append(f"no end within {options.time_limit:g} s")
    elif status != options.status:
        complaints.append(f"exit status {status}, not {options.status}")
    if not options.no_report:
        done = re.findall(r"^DONE (\d+) passed (\d+) failed", output, re.MULTILINE)
        if not done:
            complaints.append("no line DONE")
        elif done[-1][1] != "0":
            complaints.append(f"{done[-1][1]} checks of the program failed")
        elif done[-1][0] == "0":
            complaints.append("the program checked nothing")
    complaints += [f"no match of {wanted!r}" for wanted in options.expect if not re.search(wanted, output, re.MULTILINE)]
    complaints += [f"a match of {wanted!r}" for wanted in options.reject if re.search(wanted, output, re.MULTILINE)]
    complaints += [f"no match of {wanted!r} on stderr" for wanted in options.expect_error
                   if not re.search(wanted, errors, re.MULTILINE)]
    complaints += [f"a match of {wanted!r} on stderr" for wanted in options.reject_error
                   if re.search(wanted, errors, re.MULTILINE)]
    complaints += [f"no match of {wanted!r} at the debug console" for wanted in options.expect_debug
                   if not re.search(wanted, options.debug_text, re.MULTILINE)]
    return complaints


def read_text(path):
    """Nothing of a file that is not there."""
    try:
        with open(path, encoding="latin-1") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def kvm_usable():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
        return True
    except OSError:
        return False


def main():
    options = parse_arguments()
    needs_kvm = options.monitor != "qemu" or options.accel == "kvm"
    if needs_kvm and not options.show and not kvm_usable() and os.environ.get("VMM_TESTS_WITHOUT_KVM") == "1":
        print("SKIPPED: no usable /dev/kvm, and VMM_TESTS_WITHOUT_KVM=1")
        return STATUS_SKIPPED
    # Where QEMU is known to differ from the standard, programs ask for this.
    options.cmdline += f" monitor={'qemu' if options.monitor == 'qemu' else 'vmm'} lab={os.environ.get('VMM_LAB', 'no')}"
    # Beside the usual place for such files, the lab has one that is a disk.
    with tempfile.TemporaryDirectory(prefix="vmm-guest.", dir=os.environ.get("VMM_LAB_SCRATCH")) as temp:
        options.cache = options.cache or ("none" if has_direct_io(temp) else "writeback")
        disks = [Disk(text, temp, number) for number, text in enumerate(options.disk)]
        options.ide_images = make_ide_images(options, temp)
        options.control = os.path.join(temp, "control")
        options.echo_socket = os.path.join(temp, "echo")
        options.debug_file = os.path.join(temp, "debug.log")
        if options.console_echo and not options.show:
            EchoServer(options.echo_socket)
        if options.monitor == "qemu":
            command = qemu_command(options, disks)
        else:
            domain = os.path.join(temp, "domain.xml")
            with open(domain, "w", encoding="utf-8") as file:
                file.write(domain_xml(options, disks))
            command = [options.monitor, "--domain", domain, *options.vmm_option]
        if options.show:
            print(" ".join(command) if options.monitor == "qemu" else domain_xml(options, disks))
            return 0
        status, output, errors = run(command, options)
        options.debug_text = read_text(options.debug_file) if options.debug_console else ""
    output = output.decode("latin-1").replace("\r\n", "\n")
    errors = errors.decode("utf-8", "replace")
    complaints = judge(options, status, output, errors)
    sys.stdout.write(output[-6000:])
    sys.stderr.write(errors[-3000:])
    for complaint in complaints:
        print(f"run_guest: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
