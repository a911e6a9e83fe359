#!/usr/bin/env python3
"""What a user can do wrong: each is one sentence that names the place, a promised status, and nothing has changed.

Class Domain needs no KVM, the others do.
"""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import MIB, VMM, GuestTest, Run, kernel_path, main  # noqa: E402

DOMAIN = """<domain type='kvm'>
  <name>guest</name>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>vmlinuz</kernel>
    <initrd>initrd.img</initrd>
  </os>
  <features><acpi/></features>
  <devices>
    <disk type='file'>
      <source file='a.img'/>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>
""".replace("<name>guest", f"<name>guest-{os.getpid()}")
SECOND_DISK = "</disk><disk type='file'><source file='{}'/><target dev='{}' bus='virtio'/></disk>"


def snapshot(folder):
    """Everything that a run could create or change there."""
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_mode, path.stat().st_size)
            for path in pathlib.Path(folder).rglob("*")}


class BadInputTest(GuestTest):
    """A folder with a domain that would be right, but for what a test changes. Kernel and initrd are made up."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="vmm-bad.")
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.write("a.img", bytes(MIB))
        self.write("vmlinuz", b"no kernel")
        self.write("initrd.img", bytes(4096))

    def write(self, name, content):
        (self.folder / name).write_bytes(content)

    def edited(self, old, new):
        self.assertIn(old, DOMAIN)
        return DOMAIN.replace(old, new, 1)

    def refuse(self, status, *parts, text=DOMAIN):
        (self.folder / "domain.xml").write_text(text, encoding="utf-8")
        before = snapshot(self.folder)
        with Run([VMM, "--domain", str(self.folder / "domain.xml")]) as run:
            run.process.stdin.close()
            run.wait_end(60)
        self.assert_one_sentence(run, status, *parts)
        self.assertEqual(snapshot(self.folder), before)


class CommandLine(GuestTest):
    def run_vmm(self, *arguments):
        with Run([VMM, *arguments]) as run:
            run.process.stdin.close()
            run.wait_end(60)
            return run

    def test_wrong_uses_have_status_2(self):
        for arguments in ((), ("--domain",), ("--domain", ""), ("--frobnicate",), ("--domain", "x.xml", "--log-level", "loud"),
                          ("--domain", "x.xml", "--domain", "y.xml"), *(("--domain", "x.xml", "--timeout", time) for time in (
                              "", "0", "0s", "-1", "+1", "1.5", "5x", "5 m", "m", "ms", "1e3", "0x10", "8761h", "99999999999999999999"))):
            with self.subTest(arguments):
                run = self.run_vmm(*arguments)
                self.assertEqual((run.status, run.output), (2, b""), run.account())
                self.assertNotEqual(run.errors, "")

    def test_a_domain_file_that_is_not_there_is_named(self):
        self.assert_one_sentence(self.run_vmm("--domain", "/nonexistent/guest.xml"), 2, "/nonexistent/guest.xml")

    def test_standard_descriptors_that_are_closed_are_not_given_to_files(self):
        with tempfile.TemporaryDirectory() as folder:
            log, domain = f"{folder}/vmm.log", f"{folder}/domain.xml"
            with open(domain, "w", encoding="utf-8") as file:
                file.write(DOMAIN)
            subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", VMM, "--log", log, "--domain", domain],
                           stdin=subprocess.DEVNULL, check=False, timeout=60)
            # The log's own line, and not what went to standard error.
            with open(log, encoding="utf-8") as file:
                self.assertRegex(file.read(), r"\A[0-9-]+T[0-9:.]+ error \[vmm\]: [^\n]+\n\Z")

    def test_help_that_cannot_be_printed_has_status_1(self):
        with open("/dev/full", "wb") as full:
            ended = subprocess.run([VMM, "--help"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
        self.assertEqual(ended.returncode, 1)
        self.assertIn(b"cannot write to the standard output", ended.stderr)

    def test_version_and_help_have_status_0(self):
        for argument in ("--version", "--help"):
            run = self.run_vmm(argument)
            self.assertEqual((run.status, run.errors), (0, ""), run.account())
            self.assertIn(b"vmm", run.output)


class Domain(BadInputTest):
    def refuse_domain(self, line, *parts, text):
        self.refuse(2, f"{self.folder}/domain.xml:{line}:", *parts, text=text)

    def test_malformed_xml(self):
        # The place is that of the element which is not closed.
        self.refuse_domain(11, "malformed XML", text=self.edited("</devices>", "</device>"))

    def test_empty_file_and_a_file_that_is_no_xml(self):
        for text in ("", "\0\1\2", "kernel=vmlinuz\n"):
            with self.subTest(text):
                self.refuse(2, f"{self.folder}/domain.xml", text=text)

    def test_wrong_root(self):
        self.refuse_domain(1, "<network>", "<domain>", text="<network><name>net</name></network>\n")

    def test_duplicate_targets(self):
        self.refuse_domain(15, "vda", text=self.edited("</disk>", SECOND_DISK.format("b.img", "vda")))

    def test_one_image_for_two_disks(self):
        self.refuse_domain(15, "a.img", "vda", text=self.edited("</disk>", SECOND_DISK.format("a.img", "vdb")))

    def test_memory_of_nothing(self):
        self.refuse_domain(3, "<memory>", text=self.edited(">128<", ">0<"))

    def test_no_processor_and_ten_thousand(self):
        for count in ("0", "10000", "-1", "two"):
            with self.subTest(count):
                self.refuse_domain(4, "<vcpu>", text=self.edited("<vcpu>1<", f"<vcpu>{count}<"))

    def test_unknown_element_and_attribute(self):
        self.refuse_domain(4, "<vcpuz>", text=self.edited("<vcpu>1</vcpu>", "<vcpuz>1</vcpuz>"))
        self.refuse_domain(12, "cachemode", text=self.edited("type='file'", "type='file' cachemode='none'"))

    def test_no_kernel(self):
        self.refuse(2, f"{self.folder}/domain.xml:", "<kernel>", text=self.edited("<kernel>vmlinuz</kernel>", ""))


class OptionTest(BadInputTest):
    def refuse_option(self, status, options, *parts, text=DOMAIN):
        (self.folder / "domain.xml").write_text(text, encoding="utf-8")
        before = snapshot(self.folder)
        with Run([VMM, "--domain", str(self.folder / "domain.xml"), *options]) as run:
            run.process.stdin.close()
            run.wait_end(60)
        self.assert_one_sentence(run, status, *parts)
        self.assertEqual(snapshot(self.folder), before)


class ControlSocket(OptionTest):
    def test_where_it_cannot_be_made_nothing_is_changed(self):
        self.write("old.log", b"precious")
        text = DOMAIN.replace("</devices>", "  <serial type='file'><source path='old.log'/></serial>\n  </devices>")
        for name, reason in (("absent/control", "No such file"), ("a.img", "something else of that name"), ("x" * 200, "1 to 107 bytes")):
            with self.subTest(name):
                self.refuse_option(2 if len(name) > 100 else 1, ["--control", str(self.folder / name)], "control socket", reason, text=text)


class Log(OptionTest):
    def refuse_log(self, status, path, *parts):
        self.refuse_option(status, ["--log", str(path), "--log-level", "debug"], *parts)

    def test_into_what_the_guest_is_made_of(self):
        os.link(self.folder / "a.img", self.folder / "link.img")
        for name, what in (("vmlinuz", "the kernel"), ("initrd.img", "the initrd"), ("a.img", "disk vda"), ("link.img", "disk vda"),
                           ("domain.xml", "the domain file")):
            with self.subTest(name):
                self.refuse_log(2, self.folder / name, name, what)

    def test_into_a_folder_that_is_not_there(self):
        self.refuse_log(1, self.folder / "absent" / "vmm.log", "absent/vmm.log", "No such file")


class ConsoleFile(BadInputTest):
    """What stands in the file of a console stays until the guest starts."""

    def with_console(self, path, text=DOMAIN):
        return text.replace("</devices>", f"  <serial type='file'><source path='{path}'/></serial>\n  </devices>")

    def test_what_the_guest_is_made_of(self):
        for name, what in (("vmlinuz", "the kernel"), ("a.img", "disk vda"), ("domain.xml", "the domain file")):
            with self.subTest(name):
                self.refuse(2, "domain.xml:16: <serial> port 0", name, what, text=self.with_console(name))

    def test_a_start_that_fails_keeps_the_old_one_and_makes_no_new_one(self):
        self.write("old.log", b"precious")
        self.refuse(1, "vmlinuz", text=self.with_console("old.log"))
        self.refuse(1, "vmlinuz", text=self.with_console("new.log"))

    def test_a_folder_that_is_not_there(self):
        self.refuse(1, "domain.xml:16: <serial> port 0", "absent/new.log", text=self.with_console("absent/new.log"))


class Kernel(BadInputTest):
    def real_kernel(self):
        return pathlib.Path(kernel_path()).read_bytes()

    def test_not_a_kernel(self):
        for content in (b"no kernel", os.urandom(MIB), bytes(MIB)):
            self.write("vmlinuz", content)
            self.refuse(1, f"{self.folder}/vmlinuz is not a kernel")

    def test_missing_a_folder_or_empty(self):
        os.remove(self.folder / "vmlinuz")
        self.refuse(1, f"{self.folder}/vmlinuz")
        self.write("vmlinuz", b"")
        self.refuse(1, f"{self.folder}/vmlinuz", "empty")
        os.remove(self.folder / "vmlinuz")
        os.mkdir(self.folder / "vmlinuz")
        self.refuse(1, f"{self.folder}/vmlinuz", "folder")

    def test_truncated_bzimage(self):
        whole = self.real_kernel()
        for length in (0x250, 0x4000, len(whole) // 2, len(whole) - 4096):
            with self.subTest(length):
                self.write("vmlinuz", whole[:length])
                self.refuse(1, f"{self.folder}/vmlinuz")

    def test_elf_garbage(self):
        header = b"\x7fELF\2\1\1".ljust(16, b"\0") + b"\2\0\x3e\0\1\0\0\0"
        for content in (b"\x7fELF", header, header + b"\xff" * 4096, header + bytes(4096), pathlib.Path("/bin/true").read_bytes()):
            self.write("vmlinuz", content)
            self.refuse(1, f"{self.folder}/vmlinuz")

    def test_initrd_that_does_not_fit(self):
        self.write("vmlinuz", self.real_kernel())
        with open(self.folder / "initrd.img", "wb") as file:
            file.truncate(128 * MIB)
        self.refuse(1, f"{self.folder}/initrd.img", "<memory>")

    def test_initrd_that_is_missing(self):
        self.write("vmlinuz", self.real_kernel())
        os.remove(self.folder / "initrd.img")
        self.refuse(1, f"{self.folder}/initrd.img")

    def test_kernel_that_does_not_fit(self):
        self.write("vmlinuz", self.real_kernel())
        self.refuse(1, f"{self.folder}/vmlinuz", "<memory>", text=self.edited(">128<", ">8<"))

    def test_command_line_that_is_too_long(self):
        self.write("vmlinuz", self.real_kernel())
        self.refuse(2, "<cmdline>", "2047", text=self.edited("</os>", f"<cmdline>{'x' * 3000}</cmdline></os>"))


class Host(BadInputTest):
    def test_more_memory_than_the_host_has(self):
        self.refuse(1, f"{self.folder}/domain.xml:3:", "<memory>", text=self.edited("'MiB'>128<", "'TiB'>2<"))

    def test_unknown_feature_and_model(self):
        cpu = "<devices>"
        for text, part in (("<cpu mode='host-passthrough'><feature policy='require' name='frobnication'/></cpu>", "frobnication"),
                           ("<cpu mode='custom'><model>Abacus</model></cpu>", "Abacus")):
            with self.subTest(part):
                (self.folder / "domain.xml").write_text(self.edited(cpu, text + cpu), encoding="utf-8")
                with Run([VMM, "--domain", str(self.folder / "domain.xml")]) as run:
                    run.process.stdin.close()
                    run.wait_end(60)
                self.assertIn(run.status, (1, 2), run.account())
                self.assert_one_sentence(run, run.status, part)


class Image(BadInputTest):
    def refuse_image(self, *parts, text=DOMAIN, name="a.img"):
        self.refuse(1, f"{self.folder}/domain.xml:", "<disk> ", f"{self.folder}/{name}", *parts, text=text)

    @contextlib.contextmanager
    def guest_that_stays(self):
        """Has a.img for itself: a kernel without a root, which panics and stops there."""
        text = self.edited(">vmlinuz<", f">{kernel_path()}<").replace("<initrd>initrd.img</initrd>", "")
        text = text.replace("</os>", "<cmdline>earlyprintk=ttyS0 panic=0</cmdline></os>")
        text = text.replace("</devices>", "<serial type='stdio'/></devices>").replace("<name>guest", "<name>first")
        (self.folder / "first.xml").write_text(text, encoding="utf-8")
        with Run([VMM, "--domain", str(self.folder / "first.xml")]) as run:
            run.wait_for("Linux version")  # the disks are open before the guest starts
            yield run

    def test_missing(self):
        os.remove(self.folder / "a.img")
        self.refuse_image("no such file")

    def test_folder(self):
        os.remove(self.folder / "a.img")
        os.mkdir(self.folder / "a.img")
        self.refuse_image("folder")

    def test_not_whole_sectors_and_empty(self):
        for length, part in ((513, "512"), (0, "empty")):
            self.write("a.img", bytes(length))
            self.refuse_image(part)

    def test_neither_file_nor_block_device(self):
        os.remove(self.folder / "a.img")
        os.mkfifo(self.folder / "a.img")
        self.refuse_image()

    @unittest.skipUnless(os.geteuid() == 0, "mounts a file system")
    def test_a_file_as_a_block_device(self):
        text = DOMAIN.replace("<disk type='file'>", "<disk type='block'>").replace("file='a.img'", "dev='a.img'")
        self.refuse(2, "domain.xml:12: <disk> vda", "a.img is no block device", text=text)

    def test_no_multiple_of_the_block_size(self):
        self.write("a.img", bytes(1536))
        text = self.edited("<target", "<blockio logical_block_size='4096'/><target")
        self.refuse(1, "domain.xml:12: <disk> vda", "1536 bytes", "logical_block_size='4096'", text=text)

    def test_unwritable(self):
        # Root may write to every file, but not where the file system is read-only.
        place = self.folder / "read-only"
        os.mkdir(place)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
        self.addCleanup(subprocess.run, ["umount", place], check=True)
        (place / "a.img").write_bytes(bytes(512))
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        self.refuse_image("read-only", text=self.edited("a.img", "read-only/a.img"), name="read-only/a.img")

    def test_one_image_for_two_disks_through_a_link(self):
        os.symlink("a.img", self.folder / "b.img")
        self.refuse_image("in use", text=self.edited("</disk>", SECOND_DISK.format("b.img", "vdb")), name="b.img")

    def test_locked_by_another_vmm(self):
        with self.guest_that_stays() as first:
            self.refuse_image(f"pid {first.process.pid}")
            # Two that read only do not disturb each other, but do a writer.
            self.refuse_image("in use", text=self.edited("</disk>", "<readonly/></disk>"))

    def test_locked_by_qemu(self):
        with Run(["qemu-io", "-f", "raw", str(self.folder / "a.img")]) as qemu:
            qemu.type("write 0 512\n")
            qemu.wait_for("wrote 512")
            self.refuse_image(f"pid {qemu.process.pid}")
            qemu.process.stdin.close()
            qemu.wait_end(20)

    def test_qemu_is_locked_out(self):
        with self.guest_that_stays():
            qemu = subprocess.run(["qemu-io", "-f", "raw", "-c", "write 0 512", self.folder / "a.img"], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
            self.assertNotEqual(qemu.returncode, 0)
            self.assertIn("lock", qemu.stdout)


if __name__ == "__main__":
    main()
