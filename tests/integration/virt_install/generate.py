#!/usr/bin/env python3
"""Writes the domain files of this folder anew: what Debian's virt-install and virsh make of many sets of options.

    generate.py [--into FOLDER] [NAME…]

NAME-1.xml and NAME-2.xml are the two steps of an installation, NAME.xml is a guest of one step; *-dumpxml.xml is what
libvirt makes of the last step once it is defined: with an address for every device. Needs the packages virtinst,
libvirt-daemon-driver-qemu, libvirt-daemon, libvirt-clients and osinfo-db, KVM, and a user who is not root; virt-install
starts a libvirtd of its own, which ends by itself.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = 120

CD = "--cdrom disc.iso"
DISK = "--disk path=disk.qcow2,size=1,format=qcow2"
NO_NETWORK = "--network none"
INSTALL = f"{DISK} {CD} {NO_NETWORK}"
IMPORT = f"--import {DISK} {NO_NETWORK} --osinfo debian11"
MAC = "mac.address=52:54:00:12:34:56"

# name -> options. Beside these each has a name, a UUID and 512 MiB.
SETS = {
    # Systems to be installed from a disc, as libosinfo knows them.
    "debian11": f"--osinfo debian11 {INSTALL}",
    "debiantesting": f"--osinfo debiantesting {INSTALL}",
    "ubuntu22.04": f"--osinfo ubuntu22.04 {INSTALL} --vcpus 2",
    "fedora37": f"--osinfo fedora37 {INSTALL} --vcpus 2",
    "rhel9.1": f"--osinfo rhel9.1 {INSTALL}",
    "centos7": f"--osinfo centos7.0 {INSTALL}",
    "opensuse15.4": f"--osinfo opensuse15.4 {INSTALL}",
    "archlinux": f"--osinfo archlinux {INSTALL}",
    "alpinelinux3.16": f"--osinfo alpinelinux3.16 {INSTALL}",
    "freebsd13.1": f"--osinfo freebsd13.1 {INSTALL}",
    "linux2022": f"--osinfo linux2022 {INSTALL}",
    "generic": f"--osinfo generic {INSTALL}",
    "win7": f"--osinfo win7 {INSTALL}",
    "win10": f"--osinfo win10 {INSTALL} --vcpus 2",
    "win2k22": f"--osinfo win2k22 {INSTALL}",
    "win11": f"--osinfo win11 {INSTALL} --vcpus 2",
    # Other ways to install, or none.
    "import": IMPORT,
    "import-pc": f"{IMPORT} --machine pc",
    "install-pc": f"--osinfo debian11 {INSTALL} --machine pc",
    "install-kernel": f"--osinfo debian11 {DISK} {NO_NETWORK} --install kernel=guest.elf,initrd=initrd.img,kernel_args=quiet",
    "boot-kernel": f"{IMPORT} --boot kernel=guest.elf,initrd=initrd.img,kernel_args=quiet",
    "no-disk": f"--osinfo debian11 --disk none {CD} {NO_NETWORK}",
    # Consoles and screens.
    "headless": f"--osinfo debian11 {INSTALL} --graphics none",
    "vnc": f"{IMPORT} --graphics vnc,listen=127.0.0.1 --video qxl --sound none",
    "serial-file": f"{IMPORT} --graphics none --serial file,path=serial.log",
    "serial-unix": f"{IMPORT} --graphics none --serial unix,source.path=serial.socket,source.mode=bind",
    "console-virtio": f"{IMPORT} --graphics none --console pty,target.type=virtio",
    # Disks.
    "disk-raw": f"--import --osinfo debian11 --disk path=disk.img,size=1,format=raw,driver.cache=none,driver.io=native {NO_NETWORK}",
    "disk-options": f"--import --osinfo debian11 {DISK},serial=1234,driver.cache=writethrough,driver.discard=unmap,"
                    f"driver.detect_zeroes=unmap,driver.error_policy=stop,driver.queues=2 {NO_NETWORK}",
    "disk-sata": f"--import --osinfo debian11 {DISK},target.bus=sata {NO_NETWORK}",
    "disk-ide-pc": f"--import --osinfo debian11 {DISK},target.bus=ide {NO_NETWORK} --machine pc",
    "disk-scsi": f"--import --osinfo debian11 {DISK},target.bus=scsi {NO_NETWORK}",
    "disk-usb": f"--import --osinfo debian11 {DISK},target.bus=usb {NO_NETWORK}",
    "disks-many": f"--osinfo debian11 {DISK} --disk path=data.img,size=1,format=raw --disk path=sata.img,size=1,format=raw,target.bus=sata "
                  f"{CD} {NO_NETWORK}",
    "disk-readonly": f"{IMPORT} --disk path=data.img,size=1,format=raw,readonly=yes --disk path=both.img,size=1,format=raw,shareable=yes",
    "disk-transient": f"--import --osinfo debian11 {DISK},transient=yes {NO_NETWORK}",
    "disk-iotune": f"--import --osinfo debian11 {DISK},iotune.read_bytes_sec=10485760,iotune.write_bytes_sec=5242880,"
                   f"iotune.total_iops_sec=500 {NO_NETWORK}",
    "disk-iothread": f"--import --osinfo debian11 {DISK},driver.iothread=1 {NO_NETWORK} --iothreads 2",
    "disk-address": f"--import --osinfo debian11 {DISK},address.type=pci,address.domain=0,address.bus=0,address.slot=7,"
                    f"address.function=0 {NO_NETWORK} --machine pc",
    "disk-floppy": f"{IMPORT} --disk path=floppy.img,size=1,format=raw,device=floppy --machine pc",
    # Booting.
    "boot-order": f"--import --osinfo debian11 {DISK},boot.order=2 --disk path=disc.iso,device=cdrom,boot.order=1 {NO_NETWORK}",
    "boot-menu": f"{IMPORT} --boot hd,cdrom,menu=on,bios.useserial=on,bios.rebootTimeout=5000",
    "boot-loader": f"{IMPORT} --boot loader=/usr/share/seabios/bios-256k.bin",
    "sysinfo": f"{IMPORT} --sysinfo type=smbios,bios.vendor=Acme,system.manufacturer=Acme,system.product=Anvil",
    "uefi": f"{IMPORT} --boot firmware=efi",
    # Processors, memory, time, features.
    "vcpus-pinned": f"{IMPORT} --vcpus 2,cpuset=0 --cputune vcpupin0.vcpu=0,vcpupin0.cpuset=0,emulatorpin.cpuset=0,"
                    "shares=2048,period=100000,quota=50000",
    "cpu-topology": f"{IMPORT} --vcpus 4,sockets=1,cores=2,threads=2",
    "cpu-host-model": f"{IMPORT} --cpu host-model,require=x2apic",
    "cpu-model": f"{IMPORT} --cpu qemu64",
    "memory-balloon": f"{IMPORT} --memory memory=512,currentMemory=256",
    "memory-plain": f"{IMPORT} --memballoon none --rng none --memorybacking nosharepages=yes,access.mode=private",
    "memory-hotplug": f"{IMPORT} --memory memory=512,maxMemory=1024,maxMemory.slots=2",
    "clock-localtime": f"{IMPORT} --clock offset=localtime",
    "features": f"{IMPORT} --features kvm.hidden.state=on,pmu.state=off,hyperv.relaxed.state=on",
    "events": f"{IMPORT} --events on_poweroff=destroy,on_reboot=restart,on_crash=restart",
    "metadata": f"{IMPORT} --metadata title='A guest',description='For tests'",
    # Other devices.
    "watchdog": f"{IMPORT} --watchdog i6300esb,action=reset",
    "panic": f"{IMPORT} --panic isa --machine pc",
    "tpm": f"{IMPORT} --tpm emulator",
    "filesystem": f"{IMPORT} --filesystem source=shared,target=shared,accessmode=mapped",
    "vsock": f"{IMPORT} --vsock cid.auto=yes",
    "network-user": f"--import --osinfo debian11 {DISK} --network user,{MAC}",
    "network-bridge": f"--osinfo debian11 {DISK} {CD} --network bridge=br0,{MAC}",
    "pxe": f"--osinfo debian11 {DISK} --pxe --network user,{MAC}",
    "limits": f"{IMPORT} --memtune hard_limit=1048576 --blkiotune weight=100",
    "qemu-options": f"{IMPORT} --qemu-commandline='-device ivshmem'",
}
# Of these libvirt's own view is kept too.
DUMPED = ("debian11", "install-pc", "disks-many", "vcpus-pinned")


class Host:
    """A folder of its own with all that an unprivileged libvirt wants to have."""

    def __init__(self, folder):
        self.folder = folder
        self.files = os.path.join(folder, "files")
        runtime = os.path.join(folder, "run")
        for each in (self.files, runtime):
            os.mkdir(each, mode=0o700)
        for name in ("disc.iso", "guest.elf", "initrd.img", "both.img", "data.img", "floppy.img"):
            with open(os.path.join(self.files, name), "wb") as file:
                file.truncate(1 << 20)
        os.mkdir(os.path.join(self.files, "shared"))
        self.environment = {"PATH": os.environ["PATH"], "HOME": folder, "XDG_RUNTIME_DIR": runtime, "LC_ALL": "C.UTF-8"}

    def run(self, *command, check=True):
        return subprocess.run(command, cwd=self.files, env=self.environment, check=check, timeout=SECONDS, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def virt_install(self, name, step):
        """None: there is no such step."""
        number = list(SETS).index(name)
        done = self.run("virt-install", "--connect", "qemu:///session", "--dry-run", "--print-xml", str(step), "--name", name,
                        "--uuid", f"00000000-0000-4000-8000-{number:012}", "--memory", "512", *shlex.split(SETS[name]),
                        check=False)
        if done.returncode == 0:
            return done.stdout
        if step == 2 and "does not have XML step 2" in done.stderr:
            return None
        sys.exit(f"{name}: virt-install ended with {done.returncode}: {done.stderr.strip()}")

    def dump(self, name, text):
        path = os.path.join(self.folder, "domain.xml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.run("virsh", "--connect", "qemu:///session", "define", path)
        dumped = self.run("virsh", "--connect", "qemu:///session", "dumpxml", name).stdout
        self.run("virsh", "--connect", "qemu:///session", "undefine", name)
        return dumped

    def write(self, folder, file_name, text):
        """Relative paths are taken relative to the folder of the domain file; of kernels virt-install keeps copies."""
        text = re.sub(r"[^>]*/virtinst-[^-]+-", "", text.replace(self.files + "/", ""))
        with open(os.path.join(folder, f"{file_name}.xml"), "w", encoding="utf-8") as file:
            file.write(text.strip() + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", default=HERE, metavar="FOLDER")
    parser.add_argument("names", nargs="*", metavar="NAME", help="one of the sets of options (default: all)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="virt-install-") as folder:
        host = Host(folder)
        for name in arguments.names or SETS:
            first, second = host.virt_install(name, 1), host.virt_install(name, 2)
            host.write(arguments.into, name if second is None else f"{name}-1", first)
            if second is not None:
                host.write(arguments.into, f"{name}-2", second)
            if name in DUMPED:
                host.write(arguments.into, f"{name}-dumpxml", host.dump(name, second or first))


if __name__ == "__main__":
    main()
