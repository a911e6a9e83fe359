"""vmm --print-example: the files of configs/, which the program has inside."""

import os
import unittest

from command import CommandTest
from small_kernel import KERNEL


class Examples(CommandTest):
    CONFIGS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../configs")
    FILES = {"minimal": ("vmlinuz", "initrd.img", "root.img"), "microvm": ("vmlinuz", "initrd.img", "root.img"),
             "install": ("guest.qcow2", "disc.iso"), "throwaway": ("base.qcow2",)}

    def test_each_is_the_file_of_configs_and_wants_what_it_says(self):
        for name, files in self.FILES.items():
            with self.subTest(name=name):
                text = self.succeed("--print-example", name).stdout
                with open(os.path.join(self.CONFIGS, name + ".xml"), encoding="utf-8") as file:
                    self.assertEqual(text, file.read().replace("/var/lib/libvirt/images", os.path.realpath(self.folder)))
                self.assertTrue(text.startswith("<!--"))
                self.write("guest.xml", text.encode())
                done = self.vmm("--domain", "guest.xml", "--check", "--strict")
                lines = [line for line in done.stderr.splitlines() if "/dev/kvm" not in line]
                self.assertEqual(len(lines), len(files), done.stderr)
                for file in files:
                    self.assertTrue(any(file in line for line in lines), done.stderr)

    def test_with_its_files_nothing_is_wrong(self):
        """The host's KVM and memory are not the example's business."""
        self.write("vmlinuz", KERNEL)
        self.write("initrd.img", b"x")
        self.write("root.img", bytes(1 << 20))
        self.write("disc.iso", bytes(1 << 20))
        for image in ("guest.qcow2", "base.qcow2"):
            self.assertEqual(self.run_in_folder(os.environ["VMM_IMG"], "create", "-q", "-f", "qcow2", image, "1G").returncode, 0)
        for name in self.FILES:
            self.write("guest.xml", self.succeed("--print-example", name).stdout.encode())
            done = self.vmm("--domain", "guest.xml", "--check", "--strict")
            self.assertEqual([line for line in done.stderr.splitlines() if "/dev/kvm" not in line and "<memory>" not in line], [], name)

    def test_the_names(self):
        self.assertEqual(self.succeed("--print-example").stdout, self.succeed("--print-example=minimal").stdout)
        self.assertEqual(self.succeed("--print-example", "--message-format=json").stdout, self.succeed("--print-example").stdout)
        self.refuse("--print-example maximal: minimal, install, throwaway and microvm can be", "--print-example", "maximal")


if __name__ == "__main__":
    unittest.main()
