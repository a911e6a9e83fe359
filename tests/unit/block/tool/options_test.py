"""The table of docs/vmm-img.md tells of every command and option of qemu-img 7.2, and of every one of vmm-img."""

import os
import re
import unittest

from tool import ToolTest

DOCUMENT = os.path.join(os.path.dirname(__file__), "../../../../docs/vmm-img.md")

# What getopt takes in qemu-img 7.2, its --help and what it does not mention there.
ALL = "-h --help -V --version -T --trace"
QEMU = {
    "amend": "-f -o -p -q -t --force --image-opts --object",
    "bench": "-c -d -f -i -n -o -q -s -S -t -U -w --flush-interval --force-share --image-opts --no-drain --pattern",
    "bitmap": "-b -f -F -g --add --clear --disable --enable --granularity --image-opts --merge --object --remove --source-file --source-format",
    "check": "-f -q -r -T -U --force-share --format --image-opts --object --output --repair",
    "commit": "-b -d -f -p -q -r -t --image-opts --object",
    "compare": "-f -F -p -q -s -T -U --force-share --image-opts --object",
    "convert": "-B -c -C -f -F -l -m -n -o -O -p -q -r -S -t -T -U -W --bitmaps --force-share --image-opts --object --salvage "
               "--skip-broken-bitmaps --target-image-opts --target-is-zero",
    "create": "-b -f -F -o -q -u --object",
    "dd": "-f -O -U --force-share --image-opts --object bs= count= if= of= skip=",
    "info": "-f -U --backing-chain --force-share --format --image-opts --object --output",
    "map": "-f -l -s -U --force-share --format --image-opts --max-length --object --output --start-offset",
    "measure": "-f -l -o -O -U --force-share --image-opts --object --output --size",
    "rebase": "-b -f -F -p -q -t -T -u -U --force-share --image-opts --object",
    "resize": "-f -q --image-opts --object --preallocation --shrink",
    "snapshot": "-a -c -d -l -q -U --force-share --image-opts --object",
}
HELP = {"-h", "--help"}


def read_table():
    """{command: {option: (state, note)}}; an option that comes twice is an error."""
    table = {}
    with open(DOCUMENT, encoding="utf-8") as file:
        lines = file.read().split("## Every option of qemu-img", 1)[1].splitlines()
    for line in lines:
        if not line.startswith("|") or line.startswith(("|--", "| command")):
            continue
        command, options, state, note = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
        rows = table.setdefault(command.strip("`"), {})
        for option in options.split(", "):
            option = option.strip("`")
            if option in rows:
                raise AssertionError(f"{command} {option} is in two rows")
            rows[option] = (state, note)
    return table


class Options(ToolTest):
    def options_of(self, *command):
        result = self.img(*command, "--help")
        self.assertEqual(result.status, 0, result.errors)
        lines = [line.split(maxsplit=1)[0] for line in result.output.splitlines() if re.match("  -", line)]
        return {name for line in lines for name in line.split(",")}

    def commands(self):
        output = self.img("--help").output
        return {line.split()[0] for line in output.split("Subcommands:\n", 1)[1].splitlines() if line.strip()}

    def test_every_option_of_qemu_img_is_in_the_table(self):
        table = read_table()
        for command, options in {"all": ALL, **QEMU}.items():
            told = {name for name, (state, _) in table[command].items() if state != "ours"}
            self.assertEqual(told, set(options.split()), command)

    def test_the_list_of_qemu_img_is_what_the_installed_one_says(self):
        syntax = self._run("qemu-img", "--help").output.split("Command syntax:\n", 1)[1].split("Command parameters:", 1)[0]
        for line in syntax.splitlines():
            words = line.split(maxsplit=1)
            if words:
                options = set(re.findall(r"(?<![\w-])--?[a-zA-Z][a-z-]*", words[1]))
                self.assertLessEqual(options, set(QEMU[words[0]].split()), words[0])

    def test_every_option_that_is_here_is_in_the_table_and_every_other_is_not(self):
        table = read_table()
        for command in sorted(self.commands()):
            rows = table.get(command, {})
            late = [name for name, (state, _) in rows.items() if state == "not there yet"]
            self.assertEqual(late, [], f"{command} is there now: what has become of these? Their rows want another word")
            here = {name for name, (state, _) in rows.items() if state in ("same", "different", "ours") and not name.endswith("=")}
            self.assertEqual(here, self.options_of(command) - HELP, command)
        self.assertEqual(self.options_of() - HELP, {"-V", "--version"})

    def test_what_is_not_there_is_not_there(self):
        commands = self.commands()
        for command, rows in read_table().items():
            if command != "all" and command not in commands:
                self.assertEqual({state for state, _ in rows.values()}, {"not there yet"}, command)

    def test_every_difference_is_told(self):
        for command, rows in read_table().items():
            for option, (state, note) in rows.items():
                self.assertIn(state, ("same", "different", "not there", "not there yet", "ours"), f"{command} {option}")
                if state in ("different", "not there", "ours"):
                    self.assertNotEqual(note, "", f"{command} {option}: {state}, and how or why is not told")
                if state == "ours":
                    self.assertNotIn(option, QEMU.get(command, "").split(), f"{command} {option} is qemu-img's")

    def test_o_help_lists_what_qemu_img_lists(self):
        def names(text):
            return set(re.findall(r"^  ([\w.-]+)=<", text, re.MULTILINE))

        for format, absent in (("raw", {"nocow", "extent_size_hint"}), ("qcow2", {"nocow", "extent_size_hint"})):
            theirs = names(self.qemu("qemu-img", "create", "-f", format, "-o", "help", self.path("image")))
            for command in (["create", "-f", format, "-o", "help"], ["convert", "-O", format, "-o", "help"],
                            ["create", "-f", format, "-o", "size=1M,help", self.path("image"), "1M"]):
                result = self.img(*command)
                self.assertEqual(result.status, 0, result.errors)
                self.assertEqual(names(result.output), theirs - absent, command)
        self.assertFalse(os.path.exists(self.path("image")))
        self.assertEqual(self.img("create", "-f", "qcow", "-o", "help").status, 1)


if __name__ == "__main__":
    unittest.main()
