"""Bash completes vmm's commands, options, values, and the names of domains and guests."""

import os
import shlex
import socket
import subprocess
import unittest

from command import VMM, CommandTest

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../scripts/completion/vmm.bash")


class Completion(CommandTest):
    def bash(self, script, **environment):
        done = subprocess.run(["bash", "-c", f". {shlex.quote(SCRIPT)}; {script}"], cwd=self.folder, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False,
                              env={**os.environ, "HOME": self.path("home"), "XDG_CONFIG_HOME": "", **environment})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.splitlines()

    def complete(self, *words, **environment):
        """What bash offers for the last of them."""
        line = " ".join(shlex.quote(word) for word in (VMM, *words))
        return self.bash(f'COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _vmm; for word in "${{COMPREPLY[@]}}"; do echo "$word"; done',
                         **environment)

    def test_commands(self):
        self.assertEqual(self.complete("c"), ["clone", "ctl"])
        self.assertIn("run", self.complete(""))

    def test_options_of_the_command(self):
        self.assertEqual(self.complete("--mes"), ["--message-format"])
        self.assertEqual(self.complete("--domain", "x", "--ch"), ["--check"])
        self.assertEqual(self.complete("--h"), ["--help"])
        self.assertEqual(self.complete("run", "--ker"), ["--kernel"])
        self.assertEqual(self.complete("run", "--time"), ["--timeout"])
        self.assertEqual(self.complete("run", "--dom"), [])
        self.assertEqual(self.complete("clone", "x", "--"), ["--file", "--help", "--secret"])
        self.assertEqual(self.complete("ctl", "x", "eject", "--fo"), ["--force"])
        self.assertEqual(self.complete("ctl", "x", "backup", "vda", "--"), ["--format", "--mode", "--output", "--speed", "--sync"])
        self.assertEqual(self.complete("ctl", "x", "throttle", "vda", "--read-b"),
                         ["--read-bytes-sec", "--read-bytes-sec-max", "--read-bytes-sec-max-length"])
        self.assertEqual(self.complete("list", "--"), ["--output"])
        self.assertEqual(self.complete("ctl", "x", "pa"), ["pause"])
        self.assertEqual(self.complete("list", "--o"), ["--output"])
        self.assertEqual(self.complete("list", "--output", "j"), ["json"])

    def test_every_option_of_the_help_is_one_that_vmm_knows(self):
        for command in ((), ("run",), ("clone",)):
            for option in self.complete(*command, "--"):
                done = self.vmm(*command, option, "--nonsense")
                self.assertNotIn(f"{option}: there is no such option", done.stderr)
                self.assertNotIn(f"{option}: vmm clone has no such option", done.stderr)

    def test_values_of_options(self):
        self.assertEqual(self.complete("--log-level", "w"), ["warning"])
        self.assertEqual(self.complete("--message-format", "="), ["text", "json"])
        self.assertEqual(self.complete("--message-format", "=", "j"), ["json"])
        self.assertEqual(self.complete("--ephemeral", "=", "m"), ["memory"])
        self.assertEqual(self.complete("run", "--net", ""), ["user", "none", "tap:", "bridge:"])
        self.assertEqual(self.complete("--set", "os.k"), ["os.kernel="])
        self.assertEqual(self.complete("--set", "os.cm"), ["os.cmdline="])
        self.write("guest.xml", b"<domain type='kvm'><name>a</name><memory>65536</memory><os><type>hvm</type></os></domain>")
        self.assertIn("nothing of this name", self.vmm("--domain", "guest.xml", "--check", "--set", "os.nonsense=1").stderr)
        for path in self.complete("--set", ""):
            self.assertNotIn("nothing of this name", self.vmm("--domain", "guest.xml", "--check", "--set", path + "1").stderr)
        for name in self.complete("--print-example", ""):
            self.succeed("--print-example", name)

    def test_domains_and_files(self):
        os.makedirs(self.path("home/.config/vmm"))
        self.write("home/.config/vmm/athome.xml")
        self.write("athand.xml")
        self.assertEqual(self.complete("--domain", "at"), ["athand", "athome", "athand.xml"])
        self.assertEqual(self.complete("--log", "ath"), ["athand.xml"])
        self.assertEqual(self.complete("clone", "ath"), ["athand.xml"])

    def test_guests_and_what_can_be_done_to_them(self):
        os.makedirs(self.path("run/vmm/guest"))
        with socket.socket(socket.AF_UNIX) as control:
            control.bind(os.path.relpath(self.path("run/vmm/guest/control")))
            self.assertEqual(self.complete("ctl", "gue", XDG_RUNTIME_DIR=self.path("run")), ["guest"])
            os.rename(self.path("run/vmm/guest"), self.path("run/vmm/a $(touch bad) guest"))
            self.assertEqual(self.complete("ctl", "a ", XDG_RUNTIME_DIR=self.path("run")), ["a $(touch bad) guest"])
            self.assertEqual(self.complete("ctl", "", XDG_RUNTIME_DIR=self.path("run")), ["a $(touch bad) guest"])
            self.assertFalse(os.path.exists(self.path("bad")))
        self.assertIn(self.path("run/vmm"), self.complete("ctl", self.path("run/vm")))
        self.assertEqual(self.complete("ctl", "--"), ["--help"])
        self.assertEqual(self.complete("ctl", "guest", "snapshot", "vda", "a", "--mode", ""), ["absolute-paths", "existing"])
        self.assertEqual(self.complete("ctl", "guest", "backup", "vda", "a", "--sync", "t"), ["top"])
        self.assertEqual(self.complete("ctl", "guest", "boot"), ["boot-once"])
        self.assertEqual(self.complete("ctl", "guest", "co"), ["commit", "console"])
        self.assertEqual(self.complete("ctl", "guest", "s"), ["status", "stats", "snapshot", "stream", "shutdown"])

    def test_disks_and_discs_of_a_guest(self):
        self.write("vmm", b"#!/bin/sh\necho 'name: running'\necho '  vda  disk   a.qcow2'\necho '  hdc  cdrom  (no disc)'\n"
                   b"echo '  serial0  console pty:/dev/pts/1'\n"
                   b"echo '  net0 net    52:54:00:00:00:01'\necho '  ua-lan net    52:54:00:00:00:02 at tap0'\n")
        os.chmod(self.path("vmm"), 0o755)
        for words, offered in (("commit", ["vda"]), ("throttle", ["vda"]), ("eject", ["hdc"]), ("boot-once", ["vda", "hdc"]),
                               ("console", ["serial0"])):
            script = f'COMP_WORDS=(./vmm ctl guest {words} ""); COMP_CWORD=4; _vmm; printf "%s\\n" "${{COMPREPLY[@]}}"'
            self.assertEqual(self.bash(script), offered)
        for words, offered in (('link ""', ["up", "down", "net0", "ua-lan"]), ("link u", ["up", "ua-lan"]), ('link net0 ""', ["up", "down"])):
            script = f'COMP_WORDS=(./vmm ctl guest {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _vmm; printf "%s\\n" "${{COMPREPLY[@]}}"'
            self.assertEqual(self.bash(script), offered)

    def test_it_belongs_to_the_program(self):
        self.assertIn("-F _vmm vmm", self.bash("complete -p vmm")[0])


if __name__ == "__main__":
    unittest.main()
