"""vmm clone: the files that it makes, as QEMU's tools and vmm itself see them, and what it leaves where it fails."""

import hashlib
import json
import os
import subprocess
import unittest

from command import CommandTest

MIB = 1 << 20
VMM_IMG = os.environ["VMM_IMG"]
SECRET = "secret,id=key,file=passphrase"


def disk(target, file, form, more=""):
    return (f"<disk type='file'><driver name='qemu' type='{form}'/><source file='{file}'/>"
            f"<target dev='{target}' bus='virtio'/>{more}</disk>")


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Clone(CommandTest):
    def setUp(self):
        super().setUp()
        self.write("passphrase", b"swordfish")
        self.write("vmlinuz")

    def domain(self, devices, name="guest.xml"):
        return self.write(name, f"""<domain type='kvm'>
  <name>guest</name>
  <!-- a remark -->
  <memory unit='MiB'>64</memory>
  <os><type>hvm</type><kernel>vmlinuz</kernel></os>
  <features><acpi/></features>
  <devices>{devices}</devices>
</domain>
""".encode())

    def tool(self, *command):
        done = self.run_in_folder(*command)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def image(self, name, form="qcow2", *options, size="4M"):
        self.tool(VMM_IMG, "create", "-q", "-f", form, *options, name, size)

    def luks_image(self, name):
        self.image(name, "qcow2", "--object", SECRET, "-o", "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10")

    def info(self, name):
        return json.loads(self.tool("qemu-img", "info", "--output=json", "-f", "qcow2", "--backing-chain", name))

    def files(self):
        return {os.path.relpath(os.path.join(folder, name), self.folder) for folder, _, names in os.walk(self.folder) for name in names}

    def test_a_raw_base_and_a_chain_of_three(self):
        self.write("raw.img", os.urandom(MIB))
        self.image("one")
        self.tool("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 1M", "one")
        for below, name in (("one", "two"), ("two", "three")):
            self.tool(VMM_IMG, "create", "-q", "-f", "qcow2", "-b", below, "-F", "qcow2", name)
        self.domain(disk("vda", "raw.img", "raw") + disk("vdb", "three", "qcow2"))
        before = {name: digest(self.path(name)) for name in self.files()}
        done = self.succeed("clone", "guest.xml", "twin")
        self.assertEqual({name: digest(self.path(name)) for name in before}, before)
        self.assertEqual(self.files() - set(before), {"twin.xml", "twin-vda.qcow2", "twin-vdb.qcow2"})
        self.assertEqual(done.stdout.splitlines(), [
            f"vda: {self.path('twin-vda.qcow2')} stands on {self.path('raw.img')}",
            f"vdb: {self.path('twin-vdb.qcow2')} stands on {self.path('three')}",
            f"domain file: {self.path('twin.xml')}",
            "What clones stand on must not change any more: run guest only with --ephemeral from now on"])
        chain = self.info("twin-vda.qcow2")
        self.assertEqual((chain[0]["backing-filename"], chain[0]["backing-filename-format"], chain[0]["virtual-size"]),
                         (self.path("raw.img"), "raw", MIB))
        self.assertEqual(len(self.info("twin-vdb.qcow2")), 4)
        for name, base, form in (("twin-vda.qcow2", "raw.img", "raw"), ("twin-vdb.qcow2", "three", "qcow2")):
            self.tool("qemu-img", "check", "-q", "-f", "qcow2", name)
            self.tool("qemu-img", "compare", "-q", "-f", "qcow2", "-F", form, name, base)
        with open(self.path("twin.xml"), encoding="utf-8") as file:
            self.assertIn("<!-- a remark -->", file.read())

    def test_a_clone_of_a_clone(self):
        self.write("raw.img", os.urandom(MIB))
        self.domain(disk("vda", "raw.img", "raw"))
        self.succeed("clone", "guest.xml", "first")
        self.succeed("clone", "first.xml", "second")
        self.assertEqual(len(self.info("second-vda.qcow2")), 3)

    def test_what_was_encrypted_stays_so(self):
        self.luks_image("luks.qcow2")
        secret = "<encryption format='luks'><secret type='passphrase' usage='key'/></encryption>"
        self.domain(disk("vda", "luks.qcow2", "qcow2", secret))
        before = self.files()
        self.refuse("no passphrase 'key'; bring it with --secret id=key,file=FILE", "clone", "guest.xml", "twin")
        self.write("wrong", b"sardine")
        self.refuse("luks.qcow2", "clone", "guest.xml", "twin", "--secret", "id=key,file=wrong", status=1)
        self.assertEqual(self.files(), before | {"wrong"})
        self.succeed("clone", "guest.xml", "twin", "--secret", "id=key,file=passphrase")
        top = self.info("twin-vda.qcow2")[0]
        self.assertTrue(top["encrypted"])
        self.assertEqual(top["format-specific"]["data"]["encrypt"]["format"], "luks")
        with open(self.path("twin.xml"), encoding="utf-8") as file:
            self.assertIn("<encryption format=\"luks\">", file.read())
        options = f"driver=qcow2,encrypt.key-secret=key,file.filename={self.path('twin-vda.qcow2')}," \
                  f"backing.encrypt.key-secret=key"
        self.tool("qemu-io", "--object", SECRET, "--image-opts", options, "-c", "write -P 77 0 64k", "-c", "read -P 77 0 64k",
                  "-c", "read -P 0 64k 64k")
        with open(self.path("twin-vda.qcow2"), "rb") as file:
            self.assertNotIn(bytes([77]) * 512, file.read())

    def test_into_another_folder(self):
        os.mkdir(self.path("other"))
        self.write("raw.img", os.urandom(MIB))
        self.write("shared.img", bytes(MIB))
        self.domain(disk("vda", "raw.img", "raw") + disk("vdb", "shared.img", "raw", "<readonly/>") +
                    "<serial type='file'><source path='out'/></serial>")
        done = self.succeed("clone", "guest.xml", "twin", "--file", "other/new.xml")
        self.assertIn(f"serial port: {self.path('twin-out')} in place of {self.path('out')}\n", done.stdout)
        self.assertIn("shared.img is shared with guest\n", done.stdout)
        self.assertEqual(set(os.listdir(self.path("other"))), {"new.xml", "twin-vda.qcow2"})
        # Read again from there: the clone of the clone finds all that it names.
        self.succeed("clone", "other/new.xml", "third", "--file", "third.xml")
        self.assertEqual(len(self.info("third-vda.qcow2")), 3)

    def test_paths_with_dots_and_links(self):
        self.write("raw.img", bytes(MIB))
        self.domain(disk("vda", "raw.img", "raw"))
        os.symlink(".", self.path("link"))
        self.succeed("clone", "./link/guest.xml", "twin", "--file", "link/./twin.xml")
        self.assertEqual(self.info("twin-vda.qcow2")[0]["backing-filename"], self.path("raw.img"))
        with open(self.path("twin.xml"), encoding="utf-8") as file:
            self.assertIn("<kernel>vmlinuz</kernel>", file.read())

    def test_nothing_is_written_over(self):
        self.write("raw.img", bytes(MIB))
        self.write("raw2.img", bytes(MIB))
        self.domain(disk("vda", "raw.img", "raw") + disk("vdb", "raw2.img", "raw") + "<serial type='file'><source path='out'/></serial>")
        for name in ("twin.xml", "twin-vdb.qcow2", "twin-out"):
            with self.subTest(name=name):
                os.symlink("nowhere", self.path(name))
                before = self.files()
                try:
                    self.refuse(f"{self.path(name)}: there is such a file already", "clone", "guest.xml", "twin")
                    self.assertEqual(self.files(), before)
                finally:
                    os.unlink(self.path(name))

    def test_a_disk_that_fails_leaves_nothing(self):
        self.write("raw.img", bytes(MIB))
        self.image("broken.qcow2", "qcow2", "-u", "-b", "missing", "-F", "raw")
        self.domain(disk("vda", "raw.img", "raw") + disk("vdb", "broken.qcow2", "qcow2"))
        before = self.files()
        self.refuse("<disk> vdb", "clone", "guest.xml", "twin", status=1)
        self.assertEqual(self.files(), before)
        self.domain(disk("vda", "raw.img", "raw"))
        # Its disk comes about, and is gone again: while it is made, the domain file has a longer name.
        for file in ("no/folder.xml", "x" * 250):
            self.refuse("cannot be made", "clone", "guest.xml", "twin", "--file", file, status=1)
            self.assertEqual(self.files(), before)

    def test_an_overlay_that_has_its_name_already_goes_too(self):
        self.write("raw.img", bytes(MIB))
        self.domain(disk("vda", "raw.img", "raw"))
        before = self.files()
        self.refuse("cannot be given its name", "clone", "guest.xml", "twin", "--file", "twin-vda.qcow2", status=1)
        self.assertEqual(self.files(), before)

    def test_a_base_that_is_written_to_is_refused(self):
        self.image("base.qcow2")
        self.domain(disk("vda", "base.qcow2", "qcow2"))
        before = self.files()
        with subprocess.Popen(["qemu-io", "-f", "qcow2", self.path("base.qcow2")], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as writer:
            writer.stdout.read(1)  # its prompt: the image is open
            self.refuse("base.qcow2 is in use; a guest must be off while it is cloned: ", "clone", "guest.xml", "twin", status=1)
            writer.communicate(b"quit\n")
        self.assertEqual(self.files(), before)
        self.succeed("clone", "guest.xml", "twin")

    def test_all_that_the_old_file_has_is_told(self):
        self.domain("<disk type='file'><target dev='vda'/></disk><unknown/>")
        done = self.vmm("clone", "guest.xml", "twin")
        self.assertEqual(done.returncode, 2)
        self.assertIn("<source", done.stderr)
        self.assertIn("unknown element", done.stderr)

    def test_what_is_wrong_with_the_command_line(self):
        self.domain("")
        self.refuse("GUEST.xml and NAME", "clone", "guest.xml")
        self.refuse("GUEST.xml and NAME", "clone", "guest.xml", "a", "b")
        self.refuse("--unknown: vmm clone has no such option", "clone", "guest.xml", "a", "--unknown")
        self.refuse("--file: a value is missing", "clone", "guest.xml", "a", "--file")
        for name in ("a/b", ".", "..", ".a"):
            self.refuse(f"NAME '{name}'", "clone", "guest.xml", name)
        self.refuse("has this name already", "clone", "guest.xml", "guest")
        self.refuse("cannot open the domain file", "clone", "missing.xml", "a")
        self.assertIn("vmm clone GUEST.xml NAME", self.succeed("clone", "--help").stdout)


if __name__ == "__main__":
    unittest.main()
