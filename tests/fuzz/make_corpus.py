#!/usr/bin/env python3
"""Writes the seeds of tests/fuzz/corpus: small inputs from which the fuzzers find their way.

Usage: tests/fuzz/make_corpus.py
Writes the seeds below anew and leaves the other files alone: inputs that once found a fault stand beside them, under
a name that says which. How a target reads its input is written at its top and in its step().
"""

import os
import struct
import subprocess
import tempfile

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def u8(*values):
    return bytes(value & 0xFF for value in values)


def u16(value):
    return struct.pack("<H", value)


def u32(value):
    return struct.pack("<I", value)


def u64(value):
    return struct.pack("<Q", value)


def save(target, name, content):
    folder = os.path.join(CORPUS, f"fuzz_{target}")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())


# --- domain files -------------------------------------------------------------------------------------------------

def domain(general="", others="", devices=""):
    return (f"<domain type='kvm'>\n<name>guest</name>\n<memory unit='MiB'>64</memory>\n{general}"
            "<os><type arch='x86_64' machine='pc'>hvm</type><kernel>/boot/vmlinuz</kernel></os>\n"
            f"<features><acpi/></features>\n{others}<devices>{devices}</devices>\n</domain>\n")


def disk(target, inside="", driver="type='raw'"):
    return (f"<disk type='file' device='disk'><driver name='qemu' {driver}/><source file='{target}.img'/>"
            f"<target dev='{target}' bus='virtio'/>{inside}</disk>\n")


def domains():
    save("domain_xml", "firmware.xml", (
        "<domain type='kvm'>\n"
        "  <name>f</name>\n"
        "  <memory unit='MiB'>64</memory>\n"
        "  <os><type arch='x86_64' machine='pc'>hvm</type><loader type='rom'>bios.bin</loader><boot dev='cdrom'/><boot dev='hd'/>\n"
        "    <bootmenu enable='yes' timeout='3000'/><bios useserial='yes' rebootTimeout='5'/><smbios mode='sysinfo'/></os>\n"
        "  <sysinfo type='smbios'><system><entry name='serial'>1</entry></system></sysinfo>\n"
        "  <features><acpi/></features>\n"
        "  <devices>\n"
        "    <disk type='file' device='disk'><source file='a.img'/><target dev='hda' bus='ide'/></disk>\n"
        "    <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>\n"
        "    <disk type='file' device='cdrom'><source file='d.iso'/><target dev='sdb' bus='sata'/><address type='drive' controller='0' bus='0' target='0' unit='1'/></disk>\n"
        "  </devices>\n"
        "</domain>\n"))
    save("domain_xml", "least.xml", domain())
    save("domain_xml", "small-devices.xml", domain(devices=(
        "<rng model='virtio'><rate bytes='1024' period='1000'/><backend model='random'>/dev/urandom</backend><address type='pci' slot='0x05'/></rng>"
        "<console type='pty'><target type='virtio' port='0'/><address type='virtio-serial' controller='0' bus='0' port='0'/></console>"
        "<serial type='file'><source path='log'/><target type='isa-debug' port='1'><model name='isa-debugcon'/></target>"
        "<address type='isa' iobase='0xe9'/></serial><panic model='isa'><address type='isa' iobase='0x505'/></panic>")))
    save("domain_xml", "identity.xml", domain(general="<genid>00010203-0405-0607-0809-0a0b0c0d0e0f</genid>\n", devices=(
        "<disk type='file' device='disk'><source file='a.img'/><target dev='hda' bus='ide'/><wwn>5000c500a0b1c2d3</wwn>"
        "<geometry cyls='1024' heads='16' secs='63' trans='lba'/></disk>\n"
        + disk("vda", "<geometry cyls='65535' heads='255' secs='63'/>")
        + "<watchdog model='itco'/><watchdog model='i6300esb' action='inject-nmi'><address type='pci' slot='0x06'/></watchdog>")))
    save("domain_xml", "disks.xml", domain(general="<vcpu placement='static'>4</vcpu>\n<iothreads>2</iothreads>\n", devices=(
        disk("vda", "<serial>root-1</serial><boot order='1'/><alias name='ua-1'/>",
             "type='raw' cache='none' io='io_uring' discard='unmap' detect_zeroes='unmap' queues='4' queue_size='256' iothread='1'"
             " error_policy='stop' rerror_policy='report' event_idx='off' ioeventfd='on'")
        + disk("vdb", "<readonly/><address type='pci' domain='0x0000' bus='0x00' slot='0x08' function='0x0'/>", "type='raw' io='threads'")
        + disk("vdc", "<shareable/><blockio logical_block_size='512' physical_block_size='4096'/>", "type='raw' cache='writethrough'"))))
    save("domain_xml", "interfaces.xml", domain(
        others="<metadata><vmm:user-network xmlns:vmm='urn:vmm:domain:1' restrict='no' tftp='boot' bootfile='pxelinux.0'/></metadata>\n",
        devices=(
            "<interface type='user'><mac address='52:54:00:12:34:56'/><ip family='ipv4' address='192.168.77.0' prefix='24'/>"
            "<ip family='ipv6' address='2001:db8:77::' prefix='64'/><portForward proto='tcp' address='127.0.0.1'><range start='2222' to='22'/>"
            "<range start='5000' end='5009' to='6000'/><range start='5003' exclude='yes'/></portForward><model type='e1000'/></interface>\n"
            "<interface type='bridge'><source bridge='br0'/><target dev='tap0'/><driver name='vhost' queues='4' rx_queue_size='512'"
            " event_idx='off'><host csum='off' mrg_rxbuf='off'/><guest tso4='off'/></driver><bandwidth><inbound average='1000' peak='5000'"
            " burst='1024'/><outbound average='128'/></bandwidth><filterref filter='clean-traffic'><parameter name='IP' value='10.0.0.7'/>"
            "</filterref><link state='down'/><mtu size='9000'/><rom file='net.rom' bar='off'/><boot order='2'/><alias name='ua-net'/>"
            "<address type='pci' slot='0x09'/></interface>\n"
            "<interface type='direct'><source dev='eth0' mode='private'/></interface><interface type='network'><source network='default'/>"
            "</interface><interface type='ethernet'><target dev='tap1' managed='no'/></interface>")))
    save("domain_xml", "interfaces-passt.xml", domain(devices=(
        "<interface type='user'><backend type='passt' logFile='passt.log'/><source dev='eth0'/><ip address='10.0.2.15'/>"
        "<portForward proto='udp' dev='eth0'><range start='1' end='1023' exclude='yes'/></portForward></interface>")))
    save("domain_xml", "serial.xml", domain(devices=(
        "<serial type='stdio'><target type='isa-serial' port='0'/></serial>"
        "<serial type='file'><source path='log' append='on'/><target port='1'/></serial>"
        "<serial type='unix'><source mode='bind' path='/run/s'/></serial><serial type='pty'><log file='l' append='on'/></serial><console type='pty'/>"
        "<memballoon model='none'/><emulator>/usr/bin/qemu</emulator>")))
    save("domain_xml", "cpu.xml", domain(
        general=("<uuid>6a2f6f0e-8c55-4a5e-9f0c-0d3b8f1c2a77</uuid><title>t</title><description>d &amp; &#x41;</description>"
                 "<currentMemory unit='KiB'>65536</currentMemory><vcpu current='8'>8</vcpu>"
                 "<memoryBacking><hugepages><page size='2' unit='M'/></hugepages><source type='memfd'/><access mode='shared'/>"
                 "<allocation mode='immediate'/><nosharepages/><locked/></memoryBacking>"),
        others=("<cpu mode='custom' match='exact' check='partial'><model fallback='forbid'>qemu64</model>"
                "<topology sockets='1' dies='1' cores='4' threads='2'/><feature policy='disable' name='aes'/></cpu>"
                "<clock offset='variable' adjustment='-3600' basis='utc'><timer name='kvmclock' present='no'/>"
                "<timer name='pit' tickpolicy='delay'/></clock><on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot>"
                "<on_crash>preserve</on_crash><metadata><x xmlns='urn:x'/></metadata>")))
    save("domain_xml", "mistakes.xml", domain(general="<name>again</name><vcpu>0</vcpu><uuid>1</uuid><vpcu/>", others="<cpu mode='x'/>text", devices=(
        disk("vda", "<target dev='sda' bus='usb'/><colour/>", "type='qcow2' queue_size='3' queues='999'") + disk("vda")
        + "<serial type='tcp'/><serial type='stdio'/><serial type='stdio'/><interface type='network'/>")))
    save("domain_xml", "broken.xml", "<?xml version='1.0' encoding='utf-8'?><!-- c --><domain type='kvm' id='1'>"
         "<name><![CDATA[a]]></name><memory unit='TiB'>99999999999</memory><vcpus>0</vcpus><os/><devices><disk><disk/></disk>")


def settings():
    guest = domain(general="<vcpu current='2'>2</vcpu>\n<iothreads>1</iothreads>\n", devices=(
        disk("vda", "<boot order='1'/>") + "<disk device='cdrom'><target dev='hdc' bus='ide'/></disk>"
        "<interface type='user'/><serial type='pty'/>"))
    for name, lines in (
            ("numbers", ("memory=2GiB", "currentMemory=1GiB", "vcpu=4", "iothreads=2", "cpu.mode=host-model", "features.pmu=off")),
            ("disks", ("disk.vda.source=other.qcow2", "disk.vda.format=qcow2", "disk.vda.cache=none", "disk.hdc.source=d.iso",
                       "disk.hdc.type=block", "disk.vda.readonly=yes", "disk.vda.boot.order=2")),
            ("boot", ("os.boot=cdrom,hd", "os.cmdline=a & <b>", "os.initrd=", "serial.0.type=file", "serial.0.path=log",
                      "clock.offset=timezone", "clock.timezone=Etc/UTC")),
            ("interface", ("interface.0.type=bridge", "interface.0.source.bridge=br0", "interface.0.mac=52:54:00:00:00:07",
                           "interface.0.driver.queues=2", "interface.0.bandwidth.inbound.average=100", "interface.0.mtu=9000",
                           "interface.0.boot.order=3", "interface.1.link=down")),
            ("mistakes", ("memroy=2GiB", "memory=2", "disk.vdb.cache=none", "vcpu", "features.acpi=on", "cpu.topology.cores=2"))):
        save("domain_set", name, "\n".join(lines) + "\n\n" + guest)


# --- kernels ------------------------------------------------------------------------------------------------------

def choice(guest=0, initrd_bytes=0, command_line_words=1, memory_is_zero=False):
    return u8(guest) + u16(initrd_bytes // 16) + u8(command_line_words | (0x80 if memory_is_zero else 0))


def put(content, offset, value):
    content[offset:offset + len(value)] = value


def bzimage(setup_sects=1, payload_bytes=0x400, alignment=0x1000, preferred=0x100000, init_size=0x8000, xloadflags=3, relocatable=1):
    content = bytearray((setup_sects + 1) * 512)
    put(content, 0x1F1, u8(setup_sects))
    put(content, 0x1F4, u32(payload_bytes // 16))
    put(content, 0x1FE, u16(0xAA55))
    put(content, 0x200, u8(0xEB, 0x6A) + b"HdrS" + u16(0x020F))
    put(content, 0x211, u8(1))
    put(content, 0x22C, u32(0x7FFFFFFF) + u32(alignment) + u8(relocatable))
    put(content, 0x236, u16(xloadflags) + u32(2047))
    put(content, 0x258, u64(preferred) + u32(init_size))
    return bytes(content) + bytes(i * 7 & 0xFF for i in range(payload_bytes))


def note(name, kind, descriptor):
    name += b"\0"
    padded = name + bytes(-len(name) % 4)
    return u32(len(name)) + u32(len(descriptor)) + u32(kind) + padded + descriptor + bytes(-len(descriptor) % 4)


def elf(segments, notes, is_64=True, alignment=4):
    header_bytes, entry_bytes = (64, 56) if is_64 else (52, 32)
    notes_at = header_bytes + entry_bytes * (len(segments) + 1)
    code_at = notes_at + len(notes)
    code = bytes(1 + i * 5 & 0xFF for i in range(64))
    rows = [(1, code_at, address, len(code), memory) for address, memory in segments] + [(4, notes_at, 0, len(notes), 0)]
    table = b""
    for kind, offset, address, in_file, in_memory in rows:
        align = alignment if kind == 4 else 0x1000
        if is_64:
            table += struct.pack("<IIQQQQQQ", kind, 5, offset, address, address, in_file, in_memory, align)
        else:
            table += struct.pack("<IIIIIIII", kind, offset, address, address, in_file, in_memory, 5, align)
    ident = b"\x7fELF" + u8(2 if is_64 else 1, 1, 1) + bytes(9)
    if is_64:
        header = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x100000, header_bytes, 0, 0, header_bytes, entry_bytes, len(rows), 0, 0, 0)
    else:
        header = ident + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x100000, header_bytes, 0, 0, header_bytes, entry_bytes, len(rows), 0, 0, 0)
    return header + table + notes + code


def kernels():
    save("kernel", "bzimage", bzimage() + choice())
    save("kernel", "bzimage-initrd", bzimage(setup_sects=3) + choice(initrd_bytes=0x1230))
    save("kernel", "bzimage-initrd-above-4g", bzimage(init_size=0x2F0000) + choice(guest=2, initrd_bytes=0x80000))
    save("kernel", "bzimage-not-relocatable", bzimage(relocatable=0, preferred=0x200000) + choice(guest=1, command_line_words=63))
    save("kernel", "bzimage-initrd-too-large", bzimage(init_size=0xF0000) + choice(initrd_bytes=0xFFFF0))
    entry = note(b"Xen", 18, u32(0x100010))
    save("kernel", "elf64", elf([(0x100000, 0x2000)], note(b"GNU", 1, b"abcd") + entry) + choice())
    save("kernel", "elf32", elf([(0x100000, 0x80), (0x20000, 0x9000)], entry, is_64=False) + choice(initrd_bytes=0x2000))
    wide = note(b"Xen", 18, u64(0x100000))
    save("kernel", "elf64-wide-entry", elf([(0x100000, 0x100), (0x1000000000, 0)], wide, alignment=8) + choice(guest=2, memory_is_zero=True))
    save("kernel", "elf64-overlapping", elf([(0x100000, 0x100), (0x100080, 0x100)], entry) + choice(guest=1))
    save("kernel", "gzip", b"\x1f\x8b\x08" + bytes(600) + choice())


# --- virtqueues ---------------------------------------------------------------------------------------------------

KICK, TURN, COMPLETE, COMPLETE_ALL, RESET, DISK, QUIESCE = u8(3, 0), u8(4), u8(5, 0), u8(6), u8(7), u8(12), u8(13)
READ, WRITE, FLUSH, GET_ID, DISCARD, ZEROES = range(6)


def start(choice=0):
    return u8(8, choice) + TURN


def request(kind, head=0, sector=0, length=512):
    return u8(15, 0, kind, head, sector, length // 16)


def descriptor(index, address, length, flags, following):
    return u8(1) + u16(index) + u32(address) + u16(length) + u8(flags, following)


def memory(address, content):
    return u8(0) + u16(address) + u8(len(content)) + content


def virtqueues():
    plain = u8(0x12, 0)  # one queue of 8, write cache
    save("virtqueue", "read-write-flush", plain + start() + request(WRITE) + request(READ, 4, 2, 1024) + KICK + request(FLUSH) + KICK
         + request(GET_ID, 4, 0, 32) + KICK + RESET + TURN)
    save("virtqueue", "discard-and-zeroes", plain + start() + memory(0x6000, u64(2) + u32(4) + u32(0) + u64(9) + u32(8) + u32(1))
         + request(DISCARD, 0, 0, 16) + request(ZEROES, 4, 0, 32) + KICK)
    save("virtqueue", "out-of-order", u8(0x14, 0) + start() + DISK + u8(0x01) + request(READ) + request(WRITE, 4, 8) + request(READ, 8, 1) + KICK
         + u8(5, 2) + TURN + COMPLETE + TURN + COMPLETE_ALL + TURN)
    save("virtqueue", "slow-disk", plain + start() + DISK + u8(0x11) + request(READ) + request(READ, 4) + KICK + COMPLETE + TURN + COMPLETE + TURN)
    save("virtqueue", "reset-in-flight", plain + start() + DISK + u8(1) + request(WRITE) + KICK + RESET + start() + request(READ, 4) + KICK
         + COMPLETE + TURN + COMPLETE_ALL + TURN)
    save("virtqueue", "quiesce-in-flight", plain + start() + DISK + u8(1) + request(READ) + KICK + QUIESCE + TURN + request(FLUSH, 4) + KICK
         + COMPLETE + TURN + QUIESCE + TURN)
    save("virtqueue", "indirect", plain + start() + memory(0x4000, u32(0) + u32(0) + u64(3)) + descriptor(0x700, 0x4000, 16, 1, 1)
         + descriptor(0x701, 0x6000, 512, 3, 2) + descriptor(0x702, 0x100000, 512, 3, 3) + descriptor(0x703, 0x5000, 1, 2, 0)
         + descriptor(0, 0x7000, 64, 4, 0) + u8(2, 0, 0) + KICK)
    save("virtqueue", "split-header", plain + start(2) + memory(0x4000, u32(1) + u32(0) + u64(1)) + descriptor(0, 0x4000, 5, 1, 1)
         + descriptor(1, 0x4005, 11 + 512, 1, 2) + descriptor(2, 0x5000, 1, 2, 0) + u8(2, 0, 0) + KICK)
    save("virtqueue", "loop", plain + start() + descriptor(0, 0x4000, 16, 1, 1) + descriptor(1, 0x6000, 512, 1, 0) + u8(2, 0, 0) + KICK + RESET)
    save("virtqueue", "no-place-for-status", plain + start() + descriptor(0, 0x4000, 16, 0, 0) + u8(2, 0, 0) + KICK)
    save("virtqueue", "outside-of-memory", plain + start() + descriptor(0, 0x4000, 16, 1, 1) + descriptor(1, 0xFFFFF000, 0xFFFF, 0x83, 2)
         + descriptor(2, 0x5000, 1, 2, 0) + u8(2, 0, 0) + KICK)
    save("virtqueue", "too-many-available", plain + start(1) + u8(14, 0) + u16(0x4321) + KICK + RESET + TURN + start(8))
    save("virtqueue", "queues-elsewhere", u8(0x13, 0) + u8(8, 4) + u16(4) + u32(0x100000) + u32(0x100400) + u32(0x100800) + TURN + u8(3, 1))
    save("virtqueue", "live-changes", plain + start() + u8(9, 12) + u32(0) + u8(9, 14) + u32(4) + u8(9, 17) + u32(0) + u8(9, 32) + u32(0x3000)
         + u8(10) + u16(0x120) + u64(0) + u8(0) + u8(10) + u16(0x100) + u64(0) + u8(7) + request(WRITE) + KICK)
    save("virtqueue", "errors", u8(0x12, 0) + start() + u8(11, 0, 0) + u8(11, 1, 2) + request(READ) + request(WRITE, 4) + KICK)
    save("virtqueue", "read-only", u8(0x42, 1) + start() + request(WRITE) + request(DISCARD, 4, 0, 16) + KICK)


# --- the balloon --------------------------------------------------------------------------------------------------

INFLATE, DEFLATE, REPORT = 0, 1, 2
WRITABLE = 2


def balloon_request(queue, address, length, flags):
    return u8(3 + 8 * queue, 0) + u32(address) + u32(length) + u8(flags, 0) + u8(4 + 8 * queue, 0)


def page_numbers(*pages):
    content = b"".join(map(u32, pages))
    return u8(1) + u16(0x6000) + u8(len(content)) + content


def balloon():
    plain = u8(0, 0, 0, 0, 0, 1)  # no event indexes; all features
    save("balloon", "inflate", plain + page_numbers(9, 7, 8, 7, 12) + balloon_request(INFLATE, 0x6000, 20, 0)
         + balloon_request(DEFLATE, 0x6000, 20, 0) + u8(0, 4, 4) + u32(5))
    save("balloon", "outside-of-memory", plain + page_numbers(0xFFFFFFFF, 15, 16, 255, 256, 257, 258)
         + balloon_request(INFLATE, 0x6000, 28, 0))
    save("balloon", "report", plain + balloon_request(REPORT, 0x7000, 0x2000, WRITABLE)
         + balloon_request(REPORT, 0x100001, 0x1FFF, WRITABLE) + balloon_request(4, 0xF000, 0x2000, WRITABLE))
    save("balloon", "queues-given-back", plain + page_numbers(0, 1, 2, 3, 6) + balloon_request(INFLATE, 0x6000, 20, 0)
         + balloon_request(REPORT, 0, 0x10000, WRITABLE) + balloon_request(INFLATE, 0x6000, 20, 0))


# --- PCI ----------------------------------------------------------------------------------------------------------

CONFIG_WRITE8, CONFIG_WRITE16, CONFIG_WRITE32 = 4, 5, 6
DISK_FUNCTION, TEST_FUNCTION, PM_FUNCTION, ISA_BRIDGE = 4, 3, 2, 1
WRITE8, WRITE16, WRITE32, WRITE64, READ8, READ16, READ32, READ64 = range(8)


def config(function, offset, value, kind=CONFIG_WRITE32):
    return u8(0, function, offset, kind) + u32(value)


def capability(which, offset, value, kind=CONFIG_WRITE32):
    return u8(11, which, offset, kind) + u32(value)


def structures(offset, kind, value=0):
    return u8(2) + u16(offset) + u8(kind) + u64(value)


def msix(offset, value, kind=WRITE32):
    return u8(3) + u16(offset) + u8(kind) + u64(value)


def vector(index, data):
    return msix(16 * index, 0xFEE00000) + msix(16 * index + 8, data) + msix(16 * index + 12, 0)


# --- entropy device and console of virtio (queue_driver.h) -----------------------------------------------------------

def small_request(queue, address, length, flags, index=0, publish=6):
    return (u8(3 + 8 * queue, index) + u32(address) + u32(length) + u8(flags, 0) + u8(publish + 8 * queue, index))


def rng():
    unbounded, bounded = u8(0), u8(1, 99)  # 100 bytes in a period
    start = u8(0, 1)  # no event index; all features
    wait = u8(0xFE) + u16(500)
    save("rng", "requests", unbounded + start + small_request(0, 0x6000, 64, WRITABLE) + small_request(0, 0x100000, 0x2000, WRITABLE, 1)
         + u8(0, 0, 4) + u32(1))
    save("rng", "bounded", bounded + start + small_request(0, 0x6000, 70, WRITABLE) * 3 + wait + small_request(0, 0x6000, 200, WRITABLE) + wait)
    save("rng", "source-with-nothing", unbounded + u8(0, 1) + u8(0xFF) + u16(0) + small_request(0, 0x6000, 0x1000, WRITABLE) * 2 + u8(0xF5)
         + start + small_request(0, 0x6000, 16, WRITABLE) + u8(0xFF) + u16(3) + wait)
    save("rng", "no-room", unbounded + start + small_request(0, 0x6000, 64, 0) + small_request(0, 0xFFFFFF00, 64, WRITABLE, 1)
         + small_request(0, 0xFFF0, 0x100, WRITABLE, 2))


def net():
    start = u8(0, 1, 0) + u32(0xFFFFFFFF)  # one pair, buffers that merge, no event index; all features
    come = u8(0xFF, 0) + u16(200) + bytes(range(18))
    buffers = b"".join(small_request(0, 0x6000 + 0x800 * index, 0x800, WRITABLE, index) for index in range(8))
    save("net", "received", start + buffers + come * 3)
    save("net", "sent", start + small_request(1, 0x6000, 200, 0) + u8(0xFE) + small_request(1, 0x6000, 20, 0, 1) + u8(0xFD))
    save("net", "commands", start + small_request(2, 0x6000, 64, 0) + small_request(2, 0x6000, 1, WRITABLE, 1))
    save("net", "several-pairs", u8(2, 0, 0) + u32(0xFFFFFFFF) + small_request(4, 0x6000, 0x4000, WRITABLE) + u8(0xFF, 2) + u16(100)
         + bytes(18) + small_request(5, 0x6000, 100, 0) + u8(0xFC, 0) + come)


def console():
    start = u8(0, 0, 1)
    room, turn = u8(0xFE) + u16(1000), u8(0xFD)
    typed = u8(0xFF, 5) + b"typed"
    receive, transmit = 0, 1
    save("console", "both-ways", start + room + small_request(transmit, 0x6000, 600, 0) + typed + small_request(receive, 0x7000, 3, WRITABLE)
         + small_request(receive, 0x7000, 30, WRITABLE, 1) + turn + u8(0, 0, 4) + u32(1))
    save("console", "slow-reader", start + small_request(transmit, 0x6000, 0x1800, 0) + small_request(transmit, 0x6000, 4, 0, 1)
         + (room + turn) * 8)
    save("console", "stopped-while-it-waits", start + small_request(transmit, 0x6000, 0x1800, 0) + u8(0xFC) + room + turn
         + small_request(transmit, 0x6000, 0x1800, 0, 1) + u8(0xF5) + start + room + turn)
    save("console", "typing-without-an-end", start + (u8(0xFF, 255) + bytes(255)) * 18 + small_request(receive, 0x6000, 0x1000, WRITABLE) * 2)


def pci():
    bring_up, get_id, changed, reset = u8(6, 1), u8(7, 0), u8(8), u8(9)
    save("pci", "wire", bring_up + get_id + structures(0x1000, READ8) + changed + config(DISK_FUNCTION, 4, 0x407, CONFIG_WRITE16)
         + config(DISK_FUNCTION, 4, 7, CONFIG_WRITE16) + structures(20, WRITE8, 0))
    save("pci", "msix", bring_up + capability(0, 2, 0x8000, CONFIG_WRITE16) + vector(0, 0x40) + vector(1, 0x41)
         + structures(16, WRITE16, 0) + structures(26, WRITE16, 1) + get_id + msix(28, 1) + get_id + msix(0x800, 0, READ32) + msix(28, 0)
         + changed + capability(0, 2, 0xC000, CONFIG_WRITE16) + get_id + capability(0, 2, 0x8000, CONFIG_WRITE16))
    save("pci", "move-bars", bring_up + config(DISK_FUNCTION, 0x10, 0xFFFFFFFF) + config(DISK_FUNCTION, 0x10, 0xD0000000) + get_id
         + config(TEST_FUNCTION, 0x10, 0xC100) + config(TEST_FUNCTION, 0x18, 0xE0000000) + config(TEST_FUNCTION, 0x1C, 1)
         + config(TEST_FUNCTION, 0x14, 0xD0000000) + config(DISK_FUNCTION, 4, 0, CONFIG_WRITE16) + config(DISK_FUNCTION, 4, 2, CONFIG_WRITE16))
    save("pci", "over-the-configuration-ports", config(TEST_FUNCTION, 0x10, 0x0C00) + config(PM_FUNCTION, 0x40, 0x0CC0)
         + config(PM_FUNCTION, 0x40, 0xB000) + config(TEST_FUNCTION, 0x10, 0xB000) + config(PM_FUNCTION, 0x80, 0, CONFIG_WRITE8))
    save("pci", "window", bring_up + capability(5, 4, 0, CONFIG_WRITE8) + capability(5, 8, 20) + capability(5, 12, 1) + capability(5, 16, 0xF)
         + capability(5, 16, 0, 2) + capability(5, 8, 0x3000) + capability(5, 12, 2) + capability(5, 16, 0, CONFIG_WRITE16))
    save("pci", "routing", bring_up + get_id + config(ISA_BRIDGE, 0x60, 0x80808080) + config(ISA_BRIDGE, 0x60, 0x05050505) + reset)
    save("pci", "out-of-resources", u8(10, 1, 1) + bring_up + capability(0, 2, 0x8000, CONFIG_WRITE16) + vector(1, 0x41) + get_id + reset
         + u8(10, 0, 0) + bring_up + get_id)
    save("pci", "ports", u8(1) + u16(0xCF8) + u8(6) + u32(0x80002000) + u8(1) + u16(0xCFD) + u8(1) + u32(0) + u8(1) + u16(0xCF9) + u8(4)
         + u32(6) + u8(1) + u16(0xCFE) + u8(6) + u32(0) + u8(0, 0x85, 7, 0x40, 2) + u32(0))


# --- small devices ------------------------------------------------------------------------------------------------

SERIAL, CMOS, KEYBOARD, KEYBOARD_COMMAND, PORT_A, POST, DEBUG, POWER, GPE, SMI, RESET_PORT, EXIT, PANIC, DEBUG_CONSOLE = range(14)


def port_write(window, offset, value, kind=4):
    return u8(10 | offset << 4, window, kind) + u32(value)


def port_read(window, offset, kind=0):
    return u8(10 | offset << 4, window, kind)


def cmos(index, value):
    return port_write(CMOS, 0, index) + port_write(CMOS, 1, value)


def devices():
    text = b"".join(port_write(SERIAL, 0, byte) for byte in b"hello, console\n")
    save("devices", "serial-output", port_write(SERIAL, 2, 0x07) + port_write(SERIAL, 1, 0x02) + u8(5, 3) + text + port_read(SERIAL, 2)
         + u8(5, 19) + port_read(SERIAL, 5) + text)
    save("devices", "serial-input", u8(3, 20) + b"typed ahead of time." + port_write(SERIAL, 2, 0x81) + port_write(SERIAL, 1, 0x0F)
         + u8(3, 20) + b"typed while it looks" + port_read(SERIAL, 0, 3) + u8(4) + port_read(SERIAL, 5) + port_read(SERIAL, 0))
    save("devices", "serial-loopback", port_write(SERIAL, 4, 0x1F) + text + port_read(SERIAL, 6) + port_write(SERIAL, 3, 0x43)
         + port_read(SERIAL, 0, 2) + port_write(SERIAL, 4, 0x0B))
    save("devices", "clock", port_write(CMOS, 0, 0) + port_read(CMOS, 1) + cmos(0x0B, 0x82) + cmos(9, 0x99) + cmos(8, 0x02) + cmos(7, 0x29)
         + cmos(0x0B, 0x32) + cmos(5, 0xC0) + cmos(3, 0xC0) + cmos(1, 0xC0) + u8(2) + u16(200) + port_write(CMOS, 0, 0x0C)
         + port_read(CMOS, 1) + cmos(0x0A, 0x23) + cmos(0x0B, 0x46) + u8(1) + u16(1000) + port_read(CMOS, 1) + cmos(0x0A, 0x70)
         + u8(1) + u16(50000) + cmos(0x0A, 0x26))
    save("devices", "keyboard", port_write(KEYBOARD_COMMAND, 0, 0x60) + port_write(KEYBOARD, 0, 0x45) + u8(6, 3, 0x1E, 0x9E, 0x20)
         + port_read(KEYBOARD, 0) + port_write(KEYBOARD, 0, 0xF2) + port_write(KEYBOARD, 0, 0xF0) + port_write(KEYBOARD, 0, 0)
         + port_write(KEYBOARD, 0, 0xFF) + port_write(KEYBOARD_COMMAND, 0, 0xD1) + port_write(KEYBOARD, 0, 0xDE)
         + port_write(KEYBOARD_COMMAND, 0, 0xFE))
    save("devices", "power", port_write(POWER, 2, 0x0101, 5) + u8(7) + port_read(POWER, 0, 2) + port_write(POWER, 0, 0x100, 5)
         + port_write(GPE, 2, 0xFFFF, 5) + u8(8, 3) + port_write(GPE, 0, 0xFFFF, 5) + port_write(SMI, 0, 0xF0) + port_write(SMI, 0, 0xF1)
         + u8(2) + u16(0xFFFF) + port_read(POWER, 8, 2) + port_write(POWER, 4, 0x3400, 5) + port_write(POWER, 4, 0x2001, 5) + u8(9))
    save("devices", "system-ports", port_write(PORT_A, 0, 3) + port_read(PORT_A, 0) + port_write(POST, 0, 0x55) + port_write(RESET_PORT, 0, 6)
         + b"".join(port_write(DEBUG, 0, byte) for byte in b"line\x1b\n") + u8(0) + u16(0x60) + u8(6) + u32(0xFEFE) + u8(9))
    save("devices", "panic-and-debug-console", port_read(PANIC, 0) + port_write(PANIC, 0, 3) + port_write(PANIC, 0, 2) + port_write(EXIT, 0, 7)
         + b"".join(port_write(DEBUG_CONSOLE, 0, byte) for byte in b"printed\n") + u8(5, 1) + port_write(DEBUG_CONSOLE, 0, 0x41) * 3
         + port_read(DEBUG_CONSOLE, 0))


# --- IDE ----------------------------------------------------------------------------------------------------------

IDE_DISK, CD = 0, 0x80  # the channel: bit 7 of an operation


def ide_task(channel, *registers):
    return u8(13 | channel, *registers)


def ide_command(channel, code):
    codes = (0x06, 0x08, 0x20, 0x24, 0x25, 0x30, 0x34, 0x35, 0x90, 0xA0, 0xA1, 0xC4, 0xC8, 0xCA, 0xEC, 0xEF)
    return u8(1 | channel, codes.index(code) if code in codes else code)


def ide_packet(channel, *cdb, dma=0, limit=0x800):
    return u8(6 | channel, dma) + u16(limit) + bytes(cdb) + bytes(12 - len(cdb))


def ide_entry(place, address, count, last=True):
    return u8(5) + u16(place) + u16(address) + u32(count | (0x80000000 if last else 0))


def ide_start(channel, table, to_memory):
    return u8(4 | channel, 1) + u16(table) + u8(1 if to_memory else 0)


def ide_words(channel, count, write=False):
    return u8(7 | channel) + u16(count) + u8(1 if write else 0)


def ide():
    turn, done = u8(9), b"".join(u8(8, image) for image in range(4))
    save("ide", "disk-pio", ide_task(IDE_DISK, 0, 3, 1, 0, 0, 0xE0) + ide_command(IDE_DISK, 0x20) + turn + done + ide_words(IDE_DISK, 400)
         + ide_task(IDE_DISK, 0, 2, 5, 0, 0, 0xE0) + ide_command(IDE_DISK, 0x30) + ide_words(IDE_DISK, 256, True) + turn + done)
    save("ide", "disk-dma", ide_entry(0, 0x4000, 0x300, False) + ide_entry(8, 0x8000, 0x500) + ide_task(IDE_DISK, 0, 4, 1, 0, 0, 0xE0)
         + ide_start(IDE_DISK, 0, True) + ide_command(IDE_DISK, 0xC8) + turn + done + ide_task(IDE_DISK, 0, 4, 9, 0, 0, 0xE0)
         + ide_command(IDE_DISK, 0xCA) + ide_start(IDE_DISK, 0, False) + turn + done)
    save("ide", "disk-long-dma", b"".join(ide_entry(8 * i, 0x2000, 0x8000, i == 7) for i in range(8)) + ide_task(IDE_DISK, 0, 0, 0, 0, 0, 0xE0)
         + ide_task(IDE_DISK, 0, 0, 1, 0, 0, 0xE0) + ide_start(IDE_DISK, 0, True) + ide_command(IDE_DISK, 0xC8) + (turn + done) * 4)
    save("ide", "trim", ide_entry(0, 0x100, 0x200) + ide_entry(0x100, 5, 0x20000) + ide_task(IDE_DISK, 0, 0, 0, 0, 0, 0xE0)
         + ide_task(IDE_DISK, 1, 1, 0, 0, 0, 0xE0) + ide_command(IDE_DISK, 0x06) + ide_start(IDE_DISK, 0, False) + turn + done)
    save("ide", "cd-pio", ide_packet(CD, 0) * 2 + ide_packet(CD, 0x28, 0, 0, 0, 0, 7, 0, 0, 3) + turn + done + ide_words(CD, 1600)
         + ide_packet(CD, 0x12, 0, 0, 0, 36) + ide_words(CD, 9) + ide_packet(IDE_DISK, 0x43, 2, 0, 0, 0, 0, 0, 0, 20) + ide_words(IDE_DISK, 5))
    save("ide", "cd-dma", ide_packet(CD, 0) * 2 + ide_entry(0, 0x4000, 0x1000) + ide_start(CD, 0, True)
         + ide_packet(CD, 0x28, 0, 0, 0, 0, 7, 0, 0, 2, dma=1) + turn + done + ide_packet(CD, 0x28, 0, 0, 0, 0, 0, 0, 0, 70, dma=1)
         + ide_entry(0, 0x4000, 0, False) + ide_entry(8, 0x4000, 0, False) + ide_entry(16, 0x4000, 0) + ide_start(CD, 0, True)
         + (turn + done) * 3)
    save("ide", "reset-in-flight", ide_task(IDE_DISK, 0, 9, 1, 0, 0, 0xE0) + ide_command(IDE_DISK, 0x20) + turn + u8(2, 4) + u8(2, 0) + done
         + ide_packet(CD, 0) * 2 + ide_packet(CD, 0x28, 0, 0, 0, 0, 0, 0, 0, 9) + turn + ide_command(CD, 0x08) + done + u8(15, 15 | CD))
    save("ide", "trays", b"".join(u8(11 | CD, what) + turn + ide_packet(CD, 0) + ide_packet(CD, 0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8) + ide_words(CD, 2)
                                  for what in (0, 3, 2, 1, 4)) + u8(2) + turn + ide_packet(CD, 0x1E, 0, 0, 0, 1) + u8(11 | CD, 0, 11 | CD, 5)
         + ide_packet(CD, 0x1B, 0, 0, 0, 3) + ide_packet(CD, 0x55, 0x10, 0, 0, 0, 0, 0, 0, 20) + ide_words(CD, 5, True))


# --- qcow2 images -------------------------------------------------------------------------------------------------

def tool(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def image(name, options, size, writes=(), *more):
    """An image by qemu-img; `more` are further commands of it, with @ for the image."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "image")
        with open(os.path.join(folder, "base.raw"), "wb") as base:
            base.write(bytes(1000))
        tool("qemu-img", "create", "-q", "-f", "qcow2", *options, path, size)
        for write in writes:
            tool("qemu-io", "-f", "qcow2", "-c", write, path)
        for command in more:
            tool("qemu-img", *(path if word == "@" else word for word in command))
        with open(path, "rb") as file:
            save("qcow2", name, file.read())


def images():
    least = "cluster_size=512"
    data = ("write -P 1 0 1k", "write -P 2 5k 512")
    image("empty", ["-o", least], "64k")
    image("data", ["-o", least], "40k", data)
    image("version-2", ["-o", least + ",compat=0.10"], "40k", data)
    image("refcounts-of-1-bit", ["-o", least + ",refcount_bits=1"], "40k", data)
    image("refcounts-of-64-bits", ["-o", least + ",refcount_bits=64"], "40k", data)
    image("zeroes", ["-o", least], "40k", data + ("write -z 0 512", "write -z 8k 4k", "discard 5k 512"))
    image("backing-name", ["-b", "base.raw", "-F", "raw", "-o", least], "40k", data + ("write -z 8k 512",))
    image("compressed", ["-o", least], "40k", ("write -c -P 1 0 512", "write -c -P 2 512 512", "write -P 3 4k 512"))
    image("compressed-zstd", ["-o", least + ",compression_type=zstd"], "40k", ("write -c -P 1 0 512", "write -c -P 2 512 512"))
    image("snapshots", ["-o", least], "40k", data, ("snapshot", "-c", "first", "@"), ("snapshot", "-c", "second", "@"))
    image("preallocated", ["-o", least + ",preallocation=metadata"], "8k")
    image("bitmaps", ["-o", least], "40k", data, ("bitmap", "--add", "-g", "512", "@", "b0"))
    image("subclusters", ["-o", "cluster_size=16k,extended_l2=on"], "40k", ("write -P 1 0 1k", "write -z 4k 1k"))


# --- the control socket ---------------------------------------------------------------------------------------------

def http():
    save("http", "scrape", (b"GET /metrics?x=1 HTTP/1.1\r\nHost: localhost:9100\r\nUser-Agent: Prometheus/2.42\r\nAccept: */*\r\n\r\n"))
    save("http", "plain", b"\nHEAD /metrics HTTP/1.0\n\nrest")
    save("http", "folded", b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n")
    save("http", "hosts", b"GET / HTTP/1.1\r\nHost:\r\nhOst: b\r\n\r\n")
    save("http", "version", b"GET / HTTP/9.9\r\n\r\n")


def qmp():
    save("qmp", "status", ('{"execute":"query-status","id":1}\n{"execute":"query-block"} {"execute":"query-commands","id":{"a":[1,2]}}\n'
                           '{ "execute": "query-version", "arguments": {} }\n'))
    save("qmp", "media", ('{"execute":"blockdev-open-tray","arguments":{"id":"hdc","force":true}}\n'
                          '{"execute":"blockdev-remove-medium","arguments":{"id":"hdc"}}\n'
                          '{"execute":"blockdev-change-medium","arguments":{"device":"hdc","filename":"/two.iso","format":"raw"}}\n'
                          '{"execute":"eject","arguments":{"id":"hdd"}}{"execute":"blockdev-close-tray","arguments":{"id":"hdc"}}\n'))
    save("qmp", "console", ('{"execute":"x-vmm-console","arguments":{"device":"none"}}{"execute":"x-vmm-console","arguments":{"force":1}}\n'
                            '{"execute":"x-vmm-console","arguments":{"device":"serial0","force":true},"id":1} behind it').encode())
    save("qmp", "nonsense", (b'nonsense {"a":\n{"execute":1}\n{"execute":"quit","x":"\\ud800\\u0000"}\n[[[\n'
                             b'{"execute":"x-vmm-boot-once","arguments":{"device":"vda"}}\n\xff\xfe'))


# --- the NBD server -------------------------------------------------------------------------------------------------

def nbd_send(*messages):
    content = b"".join(messages)
    return u8(0) + u16(len(content)) + content


def nbd_option(number, data=b""):
    return struct.pack(">QII", 0x49484156454F5054, number, len(data)) + data


def nbd_context(*queries):
    return struct.pack(">I", 1) + b"a" + struct.pack(">I", len(queries)) + b"".join(struct.pack(">I", len(each)) + each for each in queries)


def nbd_request(command, cookie=1, offset=0, length=512, flags=0, data=b""):
    return struct.pack(">IHHQQI", 0x25609513, flags, command, cookie, offset, length) + data


def nbd():
    flags, go = struct.pack(">I", 3), nbd_option(7, struct.pack(">I", 1) + b"a" + struct.pack(">HHHH", 3, 1, 2, 3))
    disk_answers, read_all = u8(2), u8(3) + u16(0xFFFF)
    save("nbd", "options", u8(0) + nbd_send(flags, nbd_option(3), nbd_option(5), nbd_option(6, go[16:]), nbd_option(10, nbd_context()),
         nbd_option(8), nbd_option(9, nbd_context(b"base:")), nbd_option(99, b"x"), nbd_option(2)) + read_all)
    save("nbd", "read-write", u8(0) + nbd_send(flags, go, nbd_request(1, 1, 4096, 8192, 1, bytes(range(256)) * 32), nbd_request(3, 2, 0, 0))
         + disk_answers + nbd_send(nbd_request(0, 3, 4000, 5000), nbd_request(2)) + disk_answers + read_all)
    save("nbd", "structured", u8(0) + nbd_send(flags, nbd_option(8), nbd_option(10, nbd_context(b"base:allocation")), go)
         + nbd_send(nbd_request(1, 1, 65536, 512, 0, bytes(512)), nbd_request(6, 2, 0, 100000, 2), nbd_request(4, 3, 65536, 65536, 1))
         + disk_answers + nbd_send(nbd_request(7, 4, 0, 1 << 20), nbd_request(7, 5, 70000, 1, 8), nbd_request(0, 6, 0, 1 << 20, 4))
         + disk_answers + read_all + nbd_send(nbd_request(2)))
    save("nbd", "old-way-in", u8(1) + nbd_send(struct.pack(">I", 0), nbd_option(1, b"a"), nbd_request(0), nbd_request(1, 2, 0, 4, 0, b"data"))
         + disk_answers + read_all)
    save("nbd", "mistakes", u8(0) + nbd_send(flags, go, nbd_request(0, 1, 1 << 20), nbd_request(1, 2, 1 << 63, 5, 0, b"12345"),
         nbd_request(5), nbd_request(6, 3, 0, 512, 16), nbd_request(7)) + disk_answers + read_all + nbd_send(b"\0" * 28))
    save("nbd", "many-at-once", u8(0) + nbd_send(flags, go, *(nbd_request(i % 2, i, i * 4096, 4096, 0, bytes(4096) if i % 2 else b"")
                                                              for i in range(30))) + nbd_send(*(nbd_request(0, i, 0, 100000) for i in range(200)))
         + disk_answers + (u8(3) + u16(5000) + disk_answers) * 5 + read_all * 4)


def coalescer():
    begin4, begin6 = u8(2, 1) + u32(0xFFFFF000) + u16(1460), u8(2, 0) + u32(7) + u16(100)
    segment, spoiled, take = u8(4, 1), u8(4, 0xF0, 20, 5), u8(1, 3)
    save("coalescer", "segments", u8(0) + begin4 + segment * 50 + take + begin6 + segment * 9 + u8(4, 8) + u16(30) + segment * 2)
    save("coalescer", "mistakes", u8(0) + begin4 + (segment * 3 + spoiled) * 5 + u8(0, 6) + segment * 3 + u8(3) + u16(60) + bytes(60) + segment)
    save("coalescer", "full", u8(0) + (begin4 + segment * 20) * 5 + take + segment * 30)


def user_net():
    turn, host, wide = u8(0), u8(1) + u16(5000) + u8(0), u8(3, 7)

    def answer(flags, window=64000, payload=b""):
        return u8(4, 0, flags) + u16(window) + u8(len(payload)) + payload + u8(1)

    def arbitrary(content, kind, flags=0, segments=0):
        return u8(6) + u16(len(content)) + u8(flags, segments) + u16(54) + u16(1000) + u16(34) + u16(16) + content + u8(kind)

    def datagram(content, to_host, protocol=1, other=1):
        return u8(5, protocol) + u16(len(content)) + content + u8(other, 0, 1, to_host)

    arp = arbitrary(bytes(14) + bytes.fromhex("0001080006040001525400123456" "0a00020f" "000000000000" "0a000202"), 1)
    dhcp = bytes.fromhex("0101060001020304") + bytes(20) + bytes.fromhex("525400123456") + bytes(202) + bytes.fromhex("63825363350101ff")
    udp = struct.pack(">HHHH", 68, 67, 8 + len(dhcp), 0) + dhcp
    save("user_net", "connection", u8(0) + wide + arp + host + turn * 3 + answer(0x12) + turn * 2 + (answer(0x10) + turn) * 5
         + answer(0x18, 64000, b"hello") + turn + answer(0x11) + turn * 2)
    save("user_net", "dhcp", u8(0) + datagram(udp, 0) + turn + datagram(struct.pack(">HHHH", 9, 69, 20, 0) + b"\0\1file\0octet\0", 0) + turn)
    save("user_net", "ip6", u8(1) + u8(5, 3) + u16(8) + bytes.fromhex("8500000000000000") + u8(1, 0, 2) + turn)
    save("user_net", "fragments", u8(0) + arp + (u8(5, 1) + u16(64) + bytes(64) + u8(1, 1, 0) + u16(0x2000) + u8(0)) * 3
         + u8(5, 1) + u16(64) + bytes(64) + u8(1, 1, 0) + u16(8) + u8(0) + turn)
    save("user_net", "large", u8(0) + arbitrary(bytes(14) + b"\x45" + bytes(3000), 2, 1, 1) + arbitrary(bytes(14) + b"\x60" + bytes(3000), 3, 1, 2) + turn)


def rom_image(code_type, is_last, units=1):
    image = bytearray(512 * units)
    image[:6] = b"\x55\xaa" + u8(units) + b"\x31\xc0\xcb"
    image[0x18:0x1a] = u16(0x1c)
    image[0x1c:0x34] = b"PCIR" + u16(0x1AF4) + u16(0x1041) + u16(0) + u16(0x18) + u8(0, 0, 0, 2) + u16(units) + u16(1) + u8(
        code_type, 0x80 if is_last else 0) + u16(0)
    image[-1] = -sum(image) & 0xFF
    return bytes(image)


def option_roms():
    save("option_rom", "one", rom_image(0, True))
    save("option_rom", "two", rom_image(0, False, 2) + rom_image(3, True))
    save("option_rom", "none-for-a-pc", rom_image(3, True))


def spoof():
    own, other, send = u8(1), u8(0) + bytes(6), u8(60) + bytes(60) + u8(1, 20, 16, 14)
    right = own + u8(0, 1, 0) + bytes(11) + u8(1) + send
    hidden = own + u8(2, 0, 1, 1, 0) + bytes(11) + u8(0, 10, 0, 0, 9) + send
    arp = own + u8(0, 1, 1, 1, 0) + bytes(4) + send
    for name, rules in (("clean", 31), ("ip", 2), ("arp", 12)):
        save("spoof", name, u8(rules) + (right + hidden + arp + other + u8(0, 0, 2) + send) * 3)


def stream_net():
    want, frame, cut = u8(1, 1), u8(7) + u16(700) + u8(0) + bytes(64), u8(5, 9) + bytes.fromhex("0000000e0102030405")
    packet = u8(3) + u16(65000) + u8(31) + bytes(12) + bytes.fromhex("08004500") + bytes(48) + u8(1, 1, 100) + u16(34) + u8(16)
    save("stream_net", "both-ways", want + (frame + packet) * 6)
    save("stream_net", "behind", u8(1, 0) + (frame * 20 + packet * 20) + want + frame)
    save("stream_net", "mistakes", want + cut + frame + u8(5, 4) + bytes.fromhex("ffffffff") + frame + packet)
    save("stream_net", "ends", want + cut + frame + u8(2, 0) + packet * 2)


def main():
    images()
    domains()
    settings()
    kernels()
    virtqueues()
    balloon()
    rng()
    net()
    console()
    pci()
    devices()
    ide()
    qmp()
    http()
    nbd()
    coalescer()
    user_net()
    option_roms()
    spoof()
    stream_net()


if __name__ == "__main__":
    main()
