"""The manual pages: vmm(1) is what scripts/make-manual makes of --help, and man(1) has nothing to say against it, nor against vmm-domain(5)."""

import os
import subprocess
import sys
import unittest

from command import VMM, CommandTest

TREE = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))
PAGE = os.path.join(TREE, "docs/vmm.1")
DOMAIN_PAGE = os.path.join(TREE, "docs/vmm-domain.5")


class Manual(CommandTest):
    def show(self, page, status=0):
        shown = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", page], capture_output=True, text=True, check=False,
                               env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MAN_KEEP_FORMATTING": ""})
        self.assertEqual(shown.returncode, status, shown.stderr)
        return shown

    def test_the_page_says_what_help_says(self):
        page = subprocess.run([sys.executable, os.path.join(TREE, "scripts/make-manual"), VMM], capture_output=True, text=True, check=True).stdout
        if os.environ.get("VMM_UPDATE_DOCUMENTS"):
            with open(PAGE, "w", encoding="utf-8") as file:
                file.write(page)
        with open(PAGE, encoding="utf-8") as file:
            self.assertEqual(file.read(), page, "run scripts/make-manual build/vmm > docs/vmm.1")

    def test_man_shows_it_without_warnings(self):
        for page, wanted in ((PAGE, ("VMM(1)", "--message-format text|json", "vmm run --disk debian.qcow2 --memory 2G", "NO_COLOR", "boot-once DISK")),
                             (DOMAIN_PAGE, ("VMM-DOMAIN(5)", "<disk>/<target>", "<memory unit='MiB'>1024</memory>", "mode host-passthrough|host-model"))):
            shown = self.show(page)
            self.assertEqual(shown.stderr, "")
            for words in wanted:
                self.assertIn(words, shown.stdout)

    def test_man_is_asked_for_warnings(self):
        with open(PAGE, encoding="utf-8") as page:
            self.write("page", page.read().replace(".SH FILES", ".nosuchmacro").encode())
        self.assertIn("nosuchmacro", self.show(self.path("page")).stderr)

    def test_every_option_has_its_entry(self):
        with open(PAGE, encoding="utf-8") as file:
            page = file.read().replace("\\-", "-")
        for line in self.succeed("--help").stdout.splitlines():
            if line.startswith("  --"):
                self.assertIn("\\fB" + line.split()[0].split("[")[0], page)


if __name__ == "__main__":
    unittest.main()
