"""The manual page is what scripts/make-manual makes of the commands' --help, and man(1) has nothing to say against it."""

import os
import subprocess
import sys
import unittest

from tool import VMM_IMG, ToolTest

TREE = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../.."))
PAGE = os.path.join(TREE, "docs/vmm-img.1")


class Manual(ToolTest):
    def made(self):
        return subprocess.run([sys.executable, os.path.join(TREE, "scripts/make-manual"), VMM_IMG], capture_output=True, text=True, check=True).stdout

    def test_the_page_says_what_help_says(self):
        page = self.made()
        if os.environ.get("VMM_UPDATE_DOCUMENTS"):
            with open(PAGE, "w", encoding="utf-8") as file:
                file.write(page)
        with open(PAGE, encoding="utf-8") as file:
            self.assertEqual(file.read(), page, "run scripts/make-manual build/vmm-img > docs/vmm-img.1")

    def test_man_shows_it_without_warnings(self):
        shown = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", PAGE], capture_output=True, text=True, check=False,
                               env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MAN_KEEP_FORMATTING": ""})
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        for words in ("VMM-IMG(1)", "--backing-format FMT", "vmm-img convert -p -c -f raw -O qcow2", "SIGUSR1"):
            self.assertIn(words, shown.stdout)
        with open(self.path("page"), "w", encoding="utf-8") as file, open(PAGE, encoding="utf-8") as page:
            file.write(page.read().replace(".SH SIGNALS", ".nosuchmacro"))
        shown = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", self.path("page")], capture_output=True, text=True, check=False)
        self.assertIn("nosuchmacro", shown.stderr, "man is asked for warnings")


if __name__ == "__main__":
    unittest.main()
