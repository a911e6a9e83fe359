"""--domain NAME: where the file of a domain is looked for that is named without its folder."""

import os
import subprocess
import unittest

from command import VMM, CommandTest


class Names(CommandTest):
    def vmm_with(self, *arguments, **environment):
        return subprocess.run([VMM, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=100, check=False, env={"PATH": os.environ["PATH"], **environment})

    def put(self, name, title):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        self.write(name, f"<domain><name>{title}</name><{title}/></domain>".encode())

    def found(self, name, **environment):
        """The first word of the file that was read."""
        done = self.vmm_with("--domain", name, "--check", **environment)
        self.assertEqual(done.returncode, 2, done.stderr)
        return done.stderr.split("<", 1)[1].split(">", 1)[0] if "<" in done.stderr else done.stderr

    def test_here_and_then_in_the_users_folder(self):
        home = {"HOME": self.path("home")}
        self.put("home/.config/vmm/guest.xml", "inhome")
        self.assertEqual(self.found("guest", **home), "inhome")
        self.assertEqual(self.found("guest.xml", **home), "inhome")
        self.put("xdg/vmm/guest.xml", "inxdg")
        self.assertEqual(self.found("guest", XDG_CONFIG_HOME=self.path("xdg"), **home), "inxdg")
        self.assertEqual(self.found("guest", XDG_CONFIG_HOME="xdg", **home), "inhome")
        self.put("guest.xml", "here")
        self.assertEqual(self.found("guest", **home), "here")
        os.mkdir(self.path("guest"))
        self.assertEqual(self.found("guest", **home), "here")
        os.rmdir(self.path("guest"))
        self.put("guest", "asitis")
        self.assertEqual(self.found("guest", **home), "asitis")

    def test_a_dash_is_standard_input(self):
        """Relative paths in it are those of this folder."""
        text = ("<domain type='kvm'><name>piped</name><memory>65536</memory><os><type>hvm</type><kernel>vmlinuz</kernel></os>"
                "<features><acpi/></features></domain>")
        done = subprocess.run([VMM, "--domain", "-", "--print"], cwd=self.folder, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=100, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn(f"<kernel>{os.path.realpath(self.folder)}/vmlinuz</kernel>", done.stdout)
        done = self.vmm_with("--domain", "-", "--check")  # which is empty
        self.assertEqual((done.returncode, done.stderr), (2, "vmm: <stdin>: the file is empty; it needs a <domain> element\n"))

    def test_what_is_not_found_names_the_places(self):
        done = self.vmm_with("--domain", "guest", HOME="/h")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual(done.stderr, "vmm: --domain guest: there is no such file, and no domain of that name in ./guest.xml, /h/.config/vmm/guest.xml, "
                                      "/etc/libvirt/qemu/guest.xml; give its path\n")
        self.assertIn("in ./guest.xml, /etc/libvirt/qemu/guest.xml;", self.vmm_with("--domain", "guest").stderr)

    def test_who_asks_for_help_gets_it(self):
        self.assertIn("Usage: vmm", self.succeed("--domain", "nothing", "--help").stdout)

    def test_a_path_is_not_looked_up(self):
        self.put("guest.xml", "here")
        self.refuse("./guest: cannot open the domain file", "--domain", "./guest")
        os.mkdir(self.path("folder"))
        self.refuse("folder: is a folder; give the domain file in it", "--domain", "folder")


if __name__ == "__main__":
    unittest.main()
