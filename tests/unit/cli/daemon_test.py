"""vmm --daemonize, where the guest does not run: the caller is told why, with the status of a run in the foreground."""

import os
import unittest

from command import CommandTest


class Daemon(CommandTest):
    def domain(self, serial):
        self.write("guest.xml", f"<domain type='kvm'><name>daemon-{os.getpid()}</name><memory>65536</memory><os><type>hvm</type>"
                                f"<kernel>/no/kernel</kernel></os><features><acpi/></features><devices>\n{serial}</devices></domain>".encode())
        return "guest.xml"

    def test_the_caller_gets_message_and_status(self):
        self.refuse("/no/kernel", "--domain", self.domain("<serial type='null'/>"), "--daemonize", "--pidfile", "pid", status=1)
        self.refuse("no.xml", "--domain", "./no.xml", "--daemonize")
        self.assertEqual(sorted(os.listdir(self.folder)), ["guest.xml"])

    def test_a_terminal_is_not_taken_along(self):
        self.refuse("vmm: guest.xml:2: <serial> of type 'stdio' has no terminal with --daemonize; give it a <log file='…'/> or another type",
                    "--domain", self.domain("<serial type='stdio'/>"), "--daemonize")
        self.refuse("/no/kernel", "--domain", self.domain("<serial type='stdio'><log file='l'/></serial>"), "--daemonize", status=1)
        self.refuse("<console> of type 'stdio'", "--domain",
                    self.domain("<serial type='null'/><console type='stdio'><target type='virtio'/></console>"), "--daemonize")

    def test_files_of_the_domain_are_not_overwritten(self):
        domain = self.domain("<serial type='null'/>")
        self.refuse("guest.xml is the domain file, and would be overwritten", "--domain", domain, "--pidfile", "guest.xml")
        self.assertIn("would be overwritten", self.vmm("--domain", domain, "--check", "--pidfile", "guest.xml").stderr)


if __name__ == "__main__":
    unittest.main()
