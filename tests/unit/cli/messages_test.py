"""What vmm tells on standard error: JSON, colours on a terminal, and warnings that --strict makes errors."""

import contextlib
import json
import os
import pty
import subprocess
import unittest

from command import VMM, CommandTest


class Messages(CommandTest):
    def setUp(self):
        super().setUp()
        self.write("guest.xml", b"""<domain type='kvm'>
<name>guest</name><memory>65536</memory><os><type>hvm</type><kernel>/no/kernel</kernel></os><features><acpi/></features>
<devices><video/>
<disk type='file'><source file='a'/><target dev='vda' bus='usb'/></disk>
<serial type='stdio'><alias name='a &apos; b'/></serial></devices></domain>
""")

    def objects(self, *arguments, status):
        done = self.vmm(*arguments, "--message-format=json")
        self.assertEqual(done.returncode, status, done.stderr)
        return [json.loads(line) for line in done.stderr.splitlines()]

    def test_json(self):
        for more in ((), ("--check",)):
            found = self.objects("--domain", "guest.xml", *more, status=2)
            self.assertEqual(found[0], {"severity": "warning", "file": "guest.xml", "line": 3, "element": "<video>", "message": "vmm has no screen",
                                        "hint": "the serial console is the console"})
            self.assertEqual(found[1], {"severity": "error", "file": "guest.xml", "line": 4, "element": "<disk>/<target bus='usb'>",
                                        "message": "vmm has no USB", "hint": found[1]["hint"]})
            self.assertTrue(found[1]["hint"].startswith("use bus="), found)
        self.assertEqual(found[2]["element"], "<os>/<kernel>")
        self.assertEqual(self.objects("--domain", "guest.xml", "--strict", status=2)[0]["severity"], "error")

    def test_json_of_a_guest_without_a_file(self):
        self.write("k", b"x" * 5000)
        found = self.objects("run", "--kernel", "k", "--check", status=1)
        self.assertIn(("vmm run --print", "<os>/<kernel>"), [(each["file"], each["element"]) for each in found])

    def test_json_of_a_setting(self):
        """It stands in the place of the file, whoever found the error: the reader, or who makes the machine."""
        self.write("right.xml", b"<domain type='kvm'><name>g</name><memory>65536</memory><os><type>hvm</type><kernel>k</kernel></os>"
                                b"<features><acpi/></features></domain>")
        for more in ((), ("--check",)):
            for setting, status, element in (("memory=9TiB", 2, "<memory>"), ("memory=4000000MiB", 1, "<memory>")):
                with self.subTest(setting=setting, more=more):
                    found = [each for each in self.objects("--domain", "right.xml", "--set", setting, *more, status=status)
                             if each["element"] == element]
                    self.assertEqual([(each["severity"], each["file"], each["line"]) for each in found],
                                     [("error", "--set " + setting, 0)], found)
                    self.assertNotIn("--set", found[0]["message"])

    def test_json_of_the_command_line(self):
        self.assertEqual(self.objects("--domain", "none", status=2)[0]["file"], "")
        done = self.vmm("--message-format=json", "--nonsense")
        self.assertEqual(json.loads(done.stderr)["hint"], "see --help")
        self.refuse("--message-format xml: text and json can be", "--message-format", "xml")

    def text_on_a_terminal(self, **environment):
        ours, theirs = pty.openpty()
        child = subprocess.Popen([VMM, "--domain", "guest.xml", "--check"], cwd=self.folder, stdin=subprocess.DEVNULL, stderr=theirs,
                                 env={"PATH": os.environ["PATH"], "TERM": "xterm", **environment})
        os.close(theirs)
        text = b""
        with contextlib.suppress(OSError):  # EIO: the end
            while part := os.read(ours, 4096):
                text += part
        os.close(ours)
        self.assertEqual(child.wait(timeout=100), 2)
        return text.decode()

    def test_colours_are_for_terminals(self):
        self.assertNotIn("\x1b", self.vmm("--domain", "guest.xml", "--check").stderr)
        text = self.text_on_a_terminal()
        self.assertIn("\x1b[1mguest.xml:4: \x1b[0m\x1b[1;31m<disk>/<target bus='usb'>\x1b[0m: vmm has no USB; \x1b[36muse bus=", text)
        self.assertNotIn("\x1b", self.text_on_a_terminal(NO_COLOR="1"))
        self.assertNotIn("\x1b", self.text_on_a_terminal(TERM="dumb"))
        self.assertIn("\x1b", self.text_on_a_terminal(NO_COLOR=""))


class Strict(CommandTest):
    def test_a_run_does_not_begin(self):
        self.write("guest.xml", f"<domain type='kvm'><name>strict-{os.getpid()}</name><memory>65536</memory><os><type>hvm</type>"
                                "<kernel>/no/kernel</kernel></os><features><acpi/></features>\n"
                                "<devices><video/><serial type='null'/></devices></domain>".encode())
        self.refuse("vmm: guest.xml:2: <video>: vmm has no screen", "--domain", "guest.xml", "--strict")
        done = self.vmm("--domain", "guest.xml")
        self.assertEqual(done.returncode, 1)
        self.assertIn("vmm: warning: guest.xml:2: <video>: ", done.stderr)


if __name__ == "__main__":
    unittest.main()
