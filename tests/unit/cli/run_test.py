"""vmm run --print: the domain file that its options are, and what it refuses."""

import json
import os
import shutil
import unittest
import xml.etree.ElementTree as ElementTree

from command import CommandTest

QCOW2_MAGIC = b"QFI\xfb"


class Run(CommandTest):
    def print_domain(self, *arguments):
        done = self.succeed("run", *arguments, "--print")
        self.assertEqual(done.stderr, "")
        return ElementTree.fromstring(done.stdout)

    def test_paths_are_absolute(self):
        domain = self.print_domain("--kernel", "k", "--initrd", "./i", "--disk", "a.qcow2", "--cdrom", "c.iso", "--append", "x")
        self.assertEqual(domain.findtext("os/kernel"), self.path("k"))
        self.assertTrue(os.path.isabs(domain.findtext("os/initrd")))
        self.assertEqual([disk.find("source").get("file") for disk in domain.iter("disk")], [self.path("a.qcow2"), self.path("c.iso")])

    def test_names_of_their_own(self):
        names = {self.print_domain("--kernel", "k").findtext("name") for _ in range(3)}
        self.assertEqual(len(names), 3)
        self.assertTrue(all(name.startswith("run-") for name in names), names)
        self.assertEqual(self.print_domain("--kernel", "k", "--name", "mine").findtext("name"), "mine")

    def test_a_format_is_in_the_name_or_said(self):
        for words, wanted in (("a.qcow2", "qcow2"), ("a.img", "raw"), ("a.raw", "raw"), ("a.iso", "raw"), ("a,format=qcow2", "qcow2"),
                              ("a.qcow2,format=raw", "raw"), ("a,,b.img", "raw")):
            with self.subTest(words=words):
                disk = self.print_domain("--kernel", "k", "--disk", words).find("devices/disk")
                self.assertEqual(disk.find("driver").get("type"), wanted)
                self.assertIsNotNone(disk.find("transient"))
        self.write("image", QCOW2_MAGIC)
        self.refuse("--disk image: its format is not in its name", "run", "--disk", "image")

    def test_an_encrypted_disk_and_one_with_its_data_elsewhere(self):
        source = self.print_domain("--disk", "a.qcow2,secret=key,data-file=d,,1").find("devices/disk/source")
        self.assertEqual(source.find("encryption/secret").get("usage"), "key")
        self.assertEqual(source.find("dataStore/source").get("file"), self.path("d,1"))
        self.refuse("--disk a.img,secret=key: secret= is for qcow2 images", "run", "--disk", "a.img,secret=key")
        self.refuse("data-file= is for qcow2 images", "run", "--disk", "a.img,data-file=d")
        self.refuse("behind a comma", "run", "--disk", "a.qcow2,secret=")

    def test_a_network(self):
        interface = self.print_domain("--kernel", "k").find("devices/interface")
        self.assertEqual(interface.get("type"), "user")
        self.assertEqual(self.print_domain("--kernel", "k", "--net", "user").find("devices/interface").get("type"), "user")
        self.assertIsNone(self.print_domain("--kernel", "k", "--net", "none").find("devices/interface"))
        tap = self.print_domain("--kernel", "k", "--net", "tap:tap7").find("devices/interface")
        self.assertEqual((tap.get("type"), tap.find("target").get("dev")), ("ethernet", "tap7"))
        bridge = self.print_domain("--kernel", "k", "--net", "bridge:br0").find("devices/interface")
        self.assertEqual((bridge.get("type"), bridge.find("source").get("bridge")), ("bridge", "br0"))
        for words in ("tap", "tap:", "tap:a/b", "bridge:a234567890123456", "q35"):
            self.refuse(f"--net {words}", "run", "--kernel", "k", "--net", words)
        self.refuse("--net none: --net was given already", "run", "--kernel", "k", "--net", "user", "--net", "none")

    def test_packets_go_to_a_new_file(self):
        kernel = self.write("k", b"no kernel")
        self.refuse("--dump-net x.pcap: the guest has no network interface", "run", "--kernel", kernel, "--net", "none", "--dump-net", "x.pcap")
        self.write("there.pcap", b"precious")
        self.refuse(f"--dump-net {self.path('there.pcap')}: there is such a file already, and vmm does not write over it",
                    "run", "--kernel", kernel, "--dump-net", "there.pcap")
        self.write("empty.img")
        self.refuse("empty.img is disk vda of this domain", "run", "--kernel", kernel, "--disk", "empty.img", "--dump-net", "empty.img")
        self.refuse("--dump-net a: --dump-net b was given already", "run", "--kernel", kernel, "--dump-net", "b", "--dump-net", "a")
        self.refuse("--dump-net: is for a run", "--domain", "x", "--dump-net", "x", "--print")

    def test_forwarded_ports(self):
        forwards = self.print_domain("--kernel", "k", "--forward", "2222:22", "--forward", "udp:0.0.0.0:5353:53",
                                     "--forward", "tcp:[::1]:80:8080").findall("devices/interface/portForward")
        self.assertEqual([each.attrib for each in forwards], [{"proto": "tcp", "address": "127.0.0.1"}, {"proto": "udp", "address": "0.0.0.0"},
                                                              {"proto": "tcp", "address": "::1"}])
        self.assertEqual([(each.find("range").get("start"), each.find("range").get("to")) for each in forwards],
                         [("2222", "22"), ("5353", "53"), ("80", "8080")])
        for words in ("22", ":22", "22:", "0:22", "22:65536", "x:22", "sctp:22:22", "localhost:22:22", "::1:22:22", "1.2.3:22:22", "[127.0.0.1]:22:22"):
            with self.subTest(words=words):
                self.refuse(f"--forward {words}: write it as 2222:22", "run", "--kernel", "k", "--forward", words)
        self.refuse("--forward: is for --net user", "run", "--kernel", "k", "--net", "none", "--forward", "2222:22", "--print")
        self.refuse("port 2222 of the host is forwarded", "run", "--kernel", "k", "--forward", "2222:22", "--forward", "2222:23", "--print")
        self.refuse("--forward: is for vmm run", "--domain", "x", "--forward", "2222:22")

    def test_a_boot_from_the_network(self):
        domain = self.print_domain("--netboot=folder/start.ipxe", "--disk", "a.img")
        self.assertEqual([boot.get("dev") for boot in domain.findall("os/boot")], ["network", "hd"])
        network = domain.find("metadata/{urn:vmm:domain:1}user-network")
        self.assertEqual((network.get("tftp"), network.get("bootfile")), (self.path("folder"), "start.ipxe"))
        network = self.print_domain("--netboot=http://10.0.2.2/x").find("metadata/{urn:vmm:domain:1}user-network")
        self.assertEqual((network.get("tftp"), network.get("bootfile")), (None, "http://10.0.2.2/x"))
        self.refuse("gone: there is no such file", "run", "--netboot=gone")
        self.refuse("give --netboot=FILE", "run", "--netboot")
        self.refuse("--netboot: is for vmm run", "--domain", "x", "--netboot")

    def test_bytes_decide_nothing_and_give_a_hint(self):
        self.write("image.img", QCOW2_MAGIC)
        done = self.succeed("run", "--disk", "image.img", "--print")
        self.assertIn("type='raw'", done.stdout)
        self.assertEqual(done.stderr.count("add ,format=qcow2"), 1, done.stderr)
        self.assertEqual(self.succeed("run", "--disk", "image.img,format=raw", "--print").stderr, "")

    def test_a_hint_is_told_as_all_warnings_are(self):
        self.write("image.img", QCOW2_MAGIC)
        arguments = ("run", "--disk", "image.img", "--print")
        told = json.loads(self.succeed(*arguments, "--message-format=json").stderr)
        self.assertEqual((told["severity"], told["hint"]), ("warning", "add ,format=qcow2 if it is one"))
        self.assertEqual(self.succeed(*arguments, "--log-level", "error").stderr, "")
        self.refuse("vmm: --disk image.img: is taken as raw", *arguments, "--strict")
        checked = self.vmm("run", "--disk", "image.img", "--check").stderr
        self.assertIn("vmm: warning: --disk image.img: is taken as raw", checked)

    def test_sizes(self):
        for text, mib in (("64", "64"), ("512M", "512"), ("2g", "2048"), ("1T", "1048576")):
            self.assertEqual(self.print_domain("--kernel", "k", "--memory", text).findtext("memory"), mib)
        self.write("k")
        for text in ("", "M", "-1", "1.5G", "1GB", "0x10", "5T", "99999999999999999999", "1"):
            with self.subTest(text=text):
                self.refuse("--memory", "run", "--kernel", "k", "--memory", text)

    def test_what_it_prints_runs_from_anywhere(self):
        """Read as a domain file, it is as good: the one thing that is missing is its kernel."""
        self.write("disk.img", bytes(1 << 20))
        domain = self.write("elsewhere.xml", self.succeed("run", "--kernel", "it's <missing> & gone", "--disk", "disk.img",
                                                          "--print").stdout.encode())
        done = self.run_in_folder("sh", "-c", 'cd / && exec "$@"', "sh", os.environ["VMM"], "--domain", domain)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, "/dev/kvm|it's <missing> & gone")

    @unittest.skipUnless(shutil.which("virt-xml-validate"), "libvirt-clients is not installed")
    def test_libvirts_schema(self):
        for number, arguments in enumerate((("--kernel", "k", "--initrd", "i"), ("--disk", "a.qcow2", "--cdrom", "c.iso", "--cpus", "4"), ("--netboot=f", "--exit-port"),
                                            ("--kernel", "k", "--machine", "microvm", "--disk", "a&b.img", "--forward", "2222:22"),
                                            ("--disk", "a.qcow2,secret=key"))):
            path = self.write(f"{number}.xml", self.succeed("run", *arguments, "--print").stdout.encode())
            done = self.run_in_folder("virt-xml-validate", path, "domain")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_what_is_wrong_with_the_command_line(self):
        self.refuse("give --kernel FILE, --disk FILE or --cdrom FILE", "run")
        self.refuse("--domain: vmm run", "run", "--domain", "x", "--kernel", "k")
        self.refuse("--install: vmm run", "run", "--install", "x", "--kernel", "k")
        self.refuse("--kernel: is for vmm run", "--domain", "x", "--kernel", "k")
        self.refuse("--cpus: is for vmm run", "--domain", "x", "--cpus", "2")
        self.refuse("--machine q35", "run", "--machine", "q35", "--kernel", "k")
        self.refuse("--cpus two", "run", "--cpus", "two", "--kernel", "k")
        self.refuse("--disk: its value is empty", "run", "--disk", "")
        self.refuse("behind a comma", "run", "--disk", "a.img,ro")
        self.refuse("--keep", "run", "--kernel", "k", "--keep", "x.qcow2", "--print")

    def test_files_and_memory_are_looked_at_first(self):
        self.write("k")
        os.mkdir(self.path("folder"))
        for option in ("--kernel", "--disk", "--cdrom"):
            self.refuse(f"{option} {self.path('no.img')}: there is no such file; ", "run", option, "no.img")
        self.refuse(f"--initrd {self.path('no')}: there is no such file; ", "run", "--kernel", "k", "--initrd", "no")
        self.refuse("data-file: " + self.path("no"), "run", "--kernel", "k", "--disk", "k,format=qcow2,data-file=no")
        self.refuse(f"--kernel {self.path('folder')}: is a folder", "run", "--kernel", "folder")
        self.refuse("--memory: the guest wants 4194304 MiB, the host has", "run", "--kernel", "k", "--memory", "4T")

    def test_names_that_are_no_folder_of_the_guest(self):
        for name in (".", "..", ".hidden", "-x", "a/b"):
            self.refuse(f"--name '{name}'", "run", "--kernel", "k", f"--name={name}", "--print")

    def test_help(self):
        self.assertIn("vmm run [--kernel FILE]", self.succeed("run", "--help").stdout)
        self.assertRegex(self.succeed("--help").stdout, "vmm run .*\n *vmm clone ")


if __name__ == "__main__":
    unittest.main()
