"""vmm --check: what it finds in a domain file and on this host, and that it leaves everything as it was. Needs no KVM: where there is
none, that is one more thing that it finds."""

import contextlib
import fcntl
import os
import socket
import struct
import unittest

from command import CommandTest
from small_kernel import KERNEL

VMM_IMG = os.environ["VMM_IMG"]
MIB = 1 << 20
def disk(source, target="vda", form="qcow2", more="", attributes=""):
    return (f"<disk type='file'><driver name='qemu' type='{form}'{attributes}/>\n<source file='{source}'/><target dev='{target}' bus='virtio'/>"
            f"{more}</disk>\n")


class Check(CommandTest):
    def setUp(self):
        super().setUp()
        self.write("vmlinuz", KERNEL)

    def domain(self, devices="", more="", memory=64, kernel="<kernel>vmlinuz</kernel>", name="guest.xml"):
        """Devices begin on line 7."""
        self.write(name, f"""<domain type='kvm'>
<name>guest</name><memory unit='MiB'>{memory}</memory>
<os><type>hvm</type>{kernel}</os>
<features><acpi/></features>{more}
<devices>

{devices}</devices></domain>
""".encode())

    def image(self, name, *options, size="4M"):
        done = self.run_in_folder(VMM_IMG, "create", "-q", "-f", "qcow2", *options, name, size)
        self.assertEqual(done.returncode, 0, done.stderr)

    def check(self, *options, domain="guest.xml"):
        """(status, lines), without what is said of KVM, which may not be there."""
        done = self.vmm("--domain", domain, "--check", *options)
        self.assertEqual(done.stdout, "")
        lines = done.stderr.splitlines()
        kept = [line for line in lines if "/dev/kvm" not in line and "KVM" not in line]
        has_errors = any(not line.startswith("vmm: warning: ") for line in kept)
        return (0 if not has_errors and len(kept) < len(lines) else done.returncode), kept

    def finds(self, *wanted, status=1, options=()):
        found, lines = self.check(*options)
        self.assertEqual((found, len(lines)), (status, len(wanted)), lines)
        for line, words in zip(lines, wanted):
            self.assertIn(words, line)

    def test_a_network_of_libvirts_that_is_not_there(self):
        self.domain("<interface type='network'><source network='vmm-no-such'/></interface>")
        self.finds("the bridge of libvirt's network vmm-no-such cannot be found (/run/libvirt/network/vmm-no-such.xml: ", status=2)

    def test_a_right_one(self):
        self.image("a.qcow2")
        self.write("b.img", bytes(MIB))
        self.domain(disk("a.qcow2") + disk("b.img", "vdb", "raw") + "<serial type='file'><source path='console.log'/></serial>")
        self.finds(status=0)
        self.assertEqual(sorted(os.listdir(self.folder)), ["a.qcow2", "b.img", "guest.xml", "vmlinuz"])

    def test_everything_of_one_run(self):
        self.write("small.img", b"x" * 1000)
        self.write("text", b"no image")
        self.domain(disk("none.qcow2") + disk("small.img", "vdb", "raw") + disk("text", "vdc") + disk("vmlinuz/x", "vdd"),
                    kernel="<kernel>gone</kernel><initrd>gone too</initrd>", memory=4000000)
        self.finds("guest.xml:2: <memory>: the guest wants 4000000 MiB, the host has", "guest.xml:3: <os>/<kernel>: cannot open the kernel gone",
                   "guest.xml:3: <os>/<initrd>: cannot open the initrd gone too", "guest.xml:7: <disk> vda: none.qcow2: there is no such file",
                   "guest.xml:9: <disk> vdb: small.img is 1000 bytes long", "guest.xml:11: <disk> vdc: text is no qcow2 image",
                   "guest.xml:13: <disk> vdd: vmlinuz/x: there is no such file")

    def test_the_file_and_the_host_in_one_run(self):
        self.domain(disk("none.qcow2") + "<hostdev/>", kernel="<kernel>gone</kernel>", memory=4000000)
        self.finds("guest.xml:9: <hostdev>: devices of the host", "guest.xml:2: <memory>: ", "guest.xml:3: <os>/<kernel>: gone cannot be read",
                   "guest.xml:7: <disk> vda: none.qcow2: there is no such file", status=2)

    def test_what_is_not_about_the_mistakes_is_looked_at_all_the_same(self):
        self.write("raw.img", bytes(MIB))
        self.domain(disk("raw.img") + disk("gone.qcow2", "vdb").replace("<driver", "<driver nmae='x'") +
                    "<rng model='virtio'><backend model='random'>/etc/passwd</backend></rng><serial type='file'><source path='/no/x'/></serial>"
                    "<vidoe/>", more="<cpu mode='host-passthrough'><feature name='foo'/><feature name='bar'/></cpu>"
                    "<clock offset='timezone' timezone='Mars/Phobos'/>")
        features = ("<feature name='foo'>: the CPU feature is not known", "<feature name='bar'>: the CPU feature is not known")
        self.finds("<driver nmae='x'>: unknown attribute", "<vidoe>: unknown element", *(features if os.access("/dev/kvm", os.W_OK) else ()),
                   "<clock>: the time zone 'Mars/Phobos'", "<disk> vda: raw.img is no qcow2",
                   "<disk>/<source>: gone.qcow2 cannot be read", "<serial> port 0: cannot open /no/x", "<rng>: /etc/passwd", status=2)

    def test_why_an_image_that_is_perhaps_qcow2_is_refused_as_raw(self):
        """Its lock is told; that it should be made longer is not."""
        self.image("a.qcow2")
        self.domain(disk("a.qcow2", form="raw"))
        self.finds("warning: guest.xml:8: <disk> vda: a.qcow2 is taken as raw", status=0)
        with open(self.path("a.qcow2"), "ab") as file:
            file.write(b"x" * 100)
        self.finds("vmm: guest.xml:8: <disk> vda: a.qcow2 is taken as raw, and begins as a qcow2 image does")
        os.truncate(self.path("a.qcow2"), os.path.getsize(self.path("a.qcow2")) - 100)
        with self.held_by_another("a.qcow2", fcntl.F_RDLCK, 201):
            self.finds("vmm: guest.xml:7: <disk> vda: a.qcow2 is in use by another process", "warning: guest.xml:8: <disk> vda: a.qcow2 is taken as raw")

    def test_of_very_many_only_the_first_are_told(self):
        self.domain("".join(disk(f"gone{number}", "vd" + chr(97 + number // 26) + chr(97 + number % 26)) for number in range(200)))
        lines = self.check()[1]
        self.assertLess(len(lines), 60)
        self.assertIn("the rest of the disks were not looked at", lines[-1])

    def test_a_domain_of_another_hypervisor_and_the_host_in_one_run(self):
        self.domain("<hostdev/>", kernel="<kernel>gone</kernel>")
        with open(self.path("guest.xml"), encoding="utf-8") as file:
            text = file.read()
        self.write("guest.xml", text.replace("'kvm'", "'xen'").encode())
        self.finds("guest.xml:7: <hostdev>", "guest.xml:3: <os>/<kernel>: gone cannot be read", status=2)

    def test_kernels(self):
        self.write("vmlinuz", b"no kernel at all" * 100)
        self.domain()
        self.finds("guest.xml:3: <os>/<kernel>: ")

    def test_warnings_are_nothing_unless_strict(self):
        self.domain("<video/>")
        self.finds("vmm: warning: guest.xml:7: <video>: vmm has no screen", status=0)
        self.finds("vmm: guest.xml:7: <video>: vmm has no screen", status=2, options=["--strict"])
        self.assertEqual(self.check("--log-level", "error")[1], [])
        self.finds("vmm: guest.xml:7: <video>", status=2, options=["--strict", "--log-level", "error"])

    def test_what_the_host_has_free_now_is_no_error_of_the_domain(self):
        with open("/proc/meminfo", encoding="ascii") as file:
            figures = {line.split(":")[0]: int(line.split()[1]) >> 10 for line in file}
        self.assertGreater(figures["MemTotal"], figures["MemAvailable"] + 1)  # the kernel has some
        self.domain(memory=figures["MemTotal"])
        self.finds("vmm: warning: guest.xml:2: <memory>: the guest may use", status=0, options=["--strict"])

    def test_nothing_is_changed(self):
        self.image("base.qcow2")
        self.image("a.qcow2", "-b", "base.qcow2", "-F", "qcow2")
        self.write("console.log", b"what it said last")
        self.write("disc.iso", bytes(MIB))
        self.domain(disk("a.qcow2") + "<disk type='file' device='cdrom'><source file='disc.iso'/><target dev='hdc' bus='ide'/></disk>"
                    "<serial type='file'><source path='console.log'/></serial><serial type='unix'><source path='s'/></serial>")

        images = ("a.qcow2", "base.qcow2", "disc.iso")
        before = self.state()
        for name in images:
            os.utime(self.path(name), (1000, 1000))
        times = [os.stat(self.path(name)) for name in images]
        self.finds(status=0)
        self.assertEqual([os.stat(self.path(name)) for name in images], times)
        self.assertEqual(self.state(), before)

    def state(self):
        """What is in the folder, by name."""
        return {name: (os.stat(self.path(name)).st_size, os.stat(self.path(name)).st_mode, self.bytes_of(name)) for name in os.listdir(self.folder)}

    def bytes_of(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    @contextlib.contextmanager
    def held_by_another(self, name, how, byte):
        """An OFD lock on a byte of the image, as QEMU and vmm take them."""
        ready, done = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            with open(self.path(name), "r+b") as file:
                fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", how, os.SEEK_SET, byte, 1, 0))
                os.write(ready[1], b"x")
                os.close(done[1])
                os.read(done[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
        try:
            yield child
        finally:
            os.close(done[1])
            os.waitpid(child, 0)
            for end in (*ready, done[0]):
                os.close(end)

    def test_who_holds_an_image(self):
        self.image("a.qcow2")
        written, forbidden = 101, 201
        self.domain(disk("a.qcow2"))
        with self.held_by_another("a.qcow2", fcntl.F_RDLCK, forbidden) as pid:  # somebody reads it, and wants nobody to write
            self.finds(f"guest.xml:7: <disk> vda: a.qcow2 is in use by another process (pid {pid}, ")
        self.domain(disk("a.qcow2", more="<readonly/>"))
        with self.held_by_another("a.qcow2", fcntl.F_RDLCK, forbidden):
            self.finds(status=0)
        with self.held_by_another("a.qcow2", fcntl.F_RDLCK, written) as pid:
            self.finds(f"is in use by another process (pid {pid}, ")
        self.domain(disk("a.qcow2", more="<transient/>"))
        with self.held_by_another("a.qcow2", fcntl.F_WRLCK, forbidden) as pid:
            self.finds(f"is in use by another process (pid {pid}, ")

    def test_two_disks_and_one_image(self):
        self.image("base.qcow2")
        self.image("a.qcow2", "-b", "base.qcow2", "-F", "qcow2")
        os.link(self.path("base.qcow2"), self.path("same.qcow2"))
        self.domain(disk("a.qcow2") + disk("same.qcow2", "vdb"))
        self.finds("guest.xml:9: <disk> vdb: vdb and vda (line 7) have an image in common")
        self.domain(disk("a.qcow2") + disk("same.qcow2", "vdb", more="<readonly/>"))
        self.finds(status=0)
        self.domain(disk("a.qcow2") + disk("same.qcow2", "vdb", more="<transient/>"))
        self.finds(status=0)
        self.domain(disk("a.qcow2") + disk("same.qcow2", "vdb", more="<transient/>"))
        self.finds("have an image in common", options=["--commit"])
        self.domain(disk("base.qcow2", more="<shareable/>") + disk("same.qcow2", "vdb", more="<shareable/>"))
        self.finds(status=0)

    def test_two_disks_and_one_data_file(self):
        self.image("a.qcow2", "-o", "data_file=a.raw,data_file_raw=on")
        two = (disk("a.qcow2").replace("a.qcow2'/>", "a.qcow2'><dataStore type='file'><source file='a.raw'/></dataStore></source>") +
               disk("a.raw", "vdb", "raw", more="<readonly/>"))
        self.domain(two)
        self.finds("<disk> vdb: vdb and vda (line 7) have an image in common")
        self.domain(two.replace("<target dev='vda'", "<readonly/><target dev='vda'"))
        self.finds(status=0)

    def test_what_images_stand_on_is_what_the_file_says(self):
        self.image("base.qcow2")
        self.image("other.qcow2")
        self.image("middle.qcow2", "-b", "base.qcow2", "-F", "qcow2")
        self.image("top.qcow2", "-b", "middle.qcow2", "-F", "qcow2")

        def store(name, inner="", form="qcow2"):
            return f"<backingStore type='file' index='2'><format type='{form}'/><source file='{name}'/>{inner}</backingStore>"

        for says, wanted in (
                (store("middle.qcow2", store("base.qcow2", "<backingStore/>")), None), (store("middle.qcow2"), None),
                (store("middle.qcow2", store(self.path("base.qcow2"))), None),
                ("<backingStore/>", "top.qcow2: stands on middle.qcow2, and <backingStore/> says on nothing"),
                (store("other.qcow2"), "top.qcow2: stands on middle.qcow2, and <backingStore> says on other.qcow2"),
                (store("none.qcow2"), "and <backingStore> says on none.qcow2"),
                (store("middle.qcow2", "<backingStore/>"), "middle.qcow2: stands on base.qcow2, and <backingStore/> says on nothing"),
                (store("middle.qcow2", store("base.qcow2", form="raw")), "base.qcow2 is qcow2, and <backingStore> says raw"),
                (store("middle.qcow2", store("base.qcow2", store("other.qcow2"))), "base.qcow2: stands on nothing, and <backingStore> says otherwise")):
            self.domain(disk("top.qcow2", more=says))
            self.finds(*([wanted] if wanted else []), status=1 if wanted else 0)
        self.domain(disk("base.qcow2", more="<backingStore/>"))
        self.finds(status=0)

    def test_images_that_stand_on_each_other_in_a_ring(self):
        self.image("a.qcow2")
        self.image("b.qcow2", "-b", "a.qcow2", "-F", "qcow2")
        for image, base in (("a.qcow2", "b.qcow2"), ("b.qcow2", "a.qcow2")):
            done = self.run_in_folder("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", base, "-F", "qcow2", image)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.domain(disk("b.qcow2"))
        self.finds("stands on itself")

    @unittest.skipIf(os.geteuid() == 0, "root may write to everything")
    def test_an_image_that_cannot_be_written(self):
        self.image("a.qcow2")
        os.chmod(self.path("a.qcow2"), 0o444)
        self.domain(disk("a.qcow2"))
        self.finds("a.qcow2 cannot be opened for writing (Permission denied)")
        self.domain(disk("a.qcow2", more="<readonly/>"))
        self.finds(status=0)

    def test_an_image_that_is_corrupt_can_only_be_read(self):
        self.image("a.qcow2")
        with open(self.path("a.qcow2"), "r+b") as file:
            file.seek(79)  # the last byte of the incompatible features
            file.write(b"\x02")
        self.domain(disk("a.qcow2"))
        self.finds("a.qcow2 is marked as corrupt")
        self.domain(disk("a.qcow2", more="<readonly/>"))
        self.finds(status=0)

    def test_a_raw_disk_that_begins_as_a_qcow2_image(self):
        self.image("a.qcow2")
        os.truncate(self.path("a.qcow2"), MIB)
        self.domain(disk("a.qcow2", form="raw"))
        self.finds("vmm: warning: guest.xml:8: <disk> vda: a.qcow2 is taken as raw, and begins as a qcow2 image does", status=0)

    def test_discs(self):
        self.write("disc.iso", bytes(MIB))
        cdrom = "<disk type='file' device='cdrom'><source file='{}'{}/><target dev='hdc' bus='ide'/></disk>"
        self.domain(cdrom.format("disc.iso", ""), kernel="")
        self.finds("vmm: warning: guest.xml:7: <disk> hdc: disc.iso is not bootable: it is no ISO image", status=0)
        self.finds("vmm: --install: ", options=["--install", "disc.iso"])
        self.domain(cdrom.format("none.iso", " startupPolicy='optional'"), kernel="")
        self.finds("warning: guest.xml:7: <disk> hdc: none.iso is not there; the drive is empty", status=0)

    def test_options_of_the_run(self):
        self.write("a.img", bytes(MIB))
        self.domain(disk("a.img", form="raw"))
        self.finds("--install: guest.xml:3: a disc is booted by the firmware", status=2, options=["--install", "a.img"])
        self.finds("the folder ", options=["--ephemeral", "--ephemeral-dir", "none"])
        self.finds("--secret", status=2, options=["--secret", "id=a"])
        self.finds("is disk vda of this domain, and would be overwritten", status=2, options=["--log", "a.img"])
        self.image("b.qcow2", "-o", "data_file=b.raw,data_file_raw=on")
        self.domain(disk("b.qcow2").replace("b.qcow2'/>", "b.qcow2'><dataStore type='file'><source file='b.raw'/></dataStore></source>"))
        self.finds("is disk vda of this domain, and would be overwritten", status=2, options=["--log", "b.raw"])
        self.domain(disk("a.img", form="raw"))
        self.finds("--control: a.img is there already, and is no socket", options=["--control", "a.img"])
        self.finds("--control: the folder none cannot be used", options=["--control", "none/c"])

    def test_an_encrypted_disk_needs_its_passphrase(self):
        self.write("passphrase", b"swordfish")
        self.write("wrong", b"sharkfin")
        self.image("a.qcow2", "--object", "secret,id=key,file=passphrase", "-o", "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10")
        self.domain(disk("a.qcow2").replace("a.qcow2'/>", "a.qcow2'><encryption format='luks'><secret type='passphrase' usage='key'/></encryption></source>"))
        self.finds("<encryption>: there is no passphrase 'key'", status=2)
        self.finds("a.qcow2", options=["--secret", "id=key,file=wrong"])
        self.finds(status=0, options=["--secret", "id=key,file=passphrase"])

    def test_consoles(self):
        serial = "<serial type='{}'><source path='{}'{}/></serial>\n"
        self.write("file")
        self.domain(serial.format("file", "none/log", "") + serial.format("unix", "none/s", "") + serial.format("unix", "file", "") +
                    serial.format("unix", "nobody", " mode='connect'"))
        self.finds("guest.xml:7: <serial> port 0: cannot open none/log for a console", "guest.xml:8: <serial> port 1: the folder none cannot be used",
                   "guest.xml:9: <serial> port 2: file is there already, and is no socket", "guest.xml:10: <serial> port 3: cannot connect to the socket")
        self.domain(serial.format("file", "vmlinuz", ""))
        self.finds("vmlinuz is the kernel of this domain, and would be overwritten", status=2)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path("s"))
            listener.listen()
            self.domain(serial.format("unix", "s", " mode='connect'"))
            self.finds(status=0)
            listener.setblocking(False)
            self.assertRaises(BlockingIOError, listener.accept)

    def test_a_console_file_that_another_has_is_found_and_not_taken(self):
        self.write("log", b"said")
        self.domain("<serial type='file'><source path='log'/></serial>")
        with self.held_by_another("log", fcntl.F_WRLCK, 0):
            self.finds("log for a console: it is in use")
        self.finds(status=0)

    def test_all_that_the_host_lacks_in_one_run(self):
        self.domain("<rng model='virtio'><backend model='random'>/nowhere</backend></rng>", kernel="<kernel>gone</kernel>",
                    more="<cputune><emulatorpin cpuset='8000'/></cputune>")
        self.finds("<os>/<kernel>: cannot open the kernel gone", "<cputune>/<emulatorpin cpuset='8000'>: vmm may not use any of these CPUs",
                   "<rng>: /nowhere: cannot be opened", status=2)

    def test_consoles_of_virtio_and_the_debug_console(self):
        console = "<console type='{}'><source path='{}'/><target type='virtio'/></console>\n"
        self.domain("<serial type='file'><source path='none/log'/><target type='isa-debug'/></serial>\n" + console.format("file", "none/log2") +
                    console.format("unix", "none/s"))
        self.finds("guest.xml:7: <serial> of type isa-debug: cannot open none/log for a console", "guest.xml:8: <console>: cannot open none/log2",
                   "guest.xml:9: <console>: the folder none cannot be used")

    def test_networks(self):
        """Looked for; none is opened."""
        self.domain("<interface type='user'><portForward proto='tcp'><range start='1' to='1'/></portForward></interface>"
                    "<interface type='bridge'><source bridge='vmm-none'/></interface>"
                    "<interface type='ethernet'><target dev='vmm-gone' managed='no'/></interface>"
                    "<interface type='direct'><source dev='vmm-eth' mode='bridge'/></interface>"
                    "<interface type='user'><backend type='passt' logFile='none/log'/><source dev='vmm-out'/></interface>")
        self.finds("<interface>: vmm-none: there is no such bridge", "<interface>: vmm-gone: there is no such interface",
                   "<interface>: vmm-eth: there is no such interface", "<interface>: vmm-out: there is no such interface",
                   "<interface>/<backend>: the folder none cannot be used", status=1)

    def test_who_moves_the_packets_where_vhost_is_asked_for(self):
        limited = "<bandwidth><inbound average='1000'/></bandwidth>"
        tap = "<interface type='ethernet'><target dev='vmm-new'/><driver name='{}'/>{}</interface>"
        self.domain(tap.format("vhost", limited))
        self.finds("warning: guest.xml:7: <interface>: vmm moves the packets itself, without vhost: what limits them (<bandwidth>)", status=0)
        self.domain(tap.format("qemu", limited))
        self.finds(status=0)
        self.domain(tap.format("vhost", ""))
        missing = ["without vhost: /dev/vhost-net: No such file or directory; load the host's module vhost_net (modprobe vhost_net)"]
        self.finds(*([] if os.path.exists("/dev/vhost-net") else missing), status=0)

    def test_what_the_guest_is_to_boot_from_the_network(self):
        boot = "<boot dev='network'/>"
        own = "<metadata><vmm:user-network xmlns:vmm='urn:vmm:domain:1' tftp='boot' bootfile='start.ipxe'/></metadata>"
        self.write("card.rom", b"none")
        self.domain("<interface><rom file='card.rom'/></interface>", kernel=boot, more=own)
        self.finds("guest.xml:4: <metadata>/<vmm:user-network>: the TFTP folder boot is not there",
                   "guest.xml:7: <interface>: <rom>: option ROM card.rom: at offset 0x0: no option ROM begins there")
        os.mkdir(self.path("boot"))
        self.domain("<interface/>", kernel=boot, more=own)
        self.finds("warning: guest.xml:4: <metadata>/<vmm:user-network bootfile='start.ipxe'>: cannot be read in boot", status=0)
        self.write("boot/start.ipxe", b"#!ipxe")
        self.finds(status=0)

    def test_a_pipe_for_a_console_is_left_alone(self):
        os.mkfifo(self.path("pipe"))
        self.domain("<serial type='file'><source path='pipe'/></serial>")
        reader = os.open(self.path("pipe"), os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        self.finds(status=0)

    def test_throwaway_guests_of_vmm_run(self):
        done = self.vmm("run", "--kernel", "vmlinuz", "--check")
        self.assertNotIn("vmlinuz", done.stderr)
        self.refuse("--check: there is another option that runs nothing", "run", "--kernel", "k", "--print", "--check")


if __name__ == "__main__":
    unittest.main()
