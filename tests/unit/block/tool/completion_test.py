"""Bash completes commands, options and the values of options."""

import os
import shlex
import unittest

from tool import VMM_IMG, ToolTest

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../../scripts/completion/vmm-img.bash")


class Completion(ToolTest):
    def complete(self, *words):
        """What bash offers for the last of them."""
        line = " ".join(shlex.quote(word) for word in words)
        result = self._run("bash", "-c", f'. {shlex.quote(SCRIPT)}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _vmm_img; '
                           'for word in "${COMPREPLY[@]}"; do echo "$word"; done')
        self.assertEqual((result.status, result.errors), (0, ""))
        return result.output.splitlines()

    def test_commands(self):
        self.assertEqual(set(self.complete(VMM_IMG, "co")) & {"compare", "convert", "check"}, {"compare", "convert"})
        self.assertIn("info", self.complete(VMM_IMG, ""))
        self.assertEqual(self.complete(VMM_IMG, "--v"), ["--version"])

    def test_options_of_the_command(self):
        self.assertEqual(self.complete(VMM_IMG, "info", "--b"), ["--backing-chain"])
        self.assertEqual(self.complete(VMM_IMG, "convert", "--target"), ["--target-is-zero", "--target-image-opts"])
        self.assertIn("-U", self.complete(VMM_IMG, "map", "-"))
        self.assertNotIn("-U", self.complete(VMM_IMG, "resize", "-"))

    def test_values_of_options(self):
        self.assertEqual(self.complete(VMM_IMG, "info", "-f", "q"), ["qcow2", "qcow"])
        self.assertEqual(self.complete(VMM_IMG, "convert", "-T", "write"), ["writeback", "writethrough"])
        self.assertEqual(self.complete(VMM_IMG, "info", "--output", "="), ["human", "json"])
        self.assertEqual(self.complete(VMM_IMG, "info", "--output", "=", "j"), ["json"])

    def test_files(self):
        self.write("disk.qcow2", b"")
        self.assertEqual(self.complete(VMM_IMG, "info", "-f", "qcow2", "disk"), ["disk.qcow2"])

    def test_it_belongs_to_the_program(self):
        result = self._run("bash", "-c", f". {shlex.quote(SCRIPT)}; complete -p vmm-img")
        self.assertIn("-F _vmm_img vmm-img", result.output)


if __name__ == "__main__":
    unittest.main()
