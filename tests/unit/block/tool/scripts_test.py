"""Programs of others that call qemu-img, with the name replaced: their command lines, word for word, by both tools.

After each sequence the images of both are the same for qemu-img info and qemu-img compare, and what was printed as JSON
is the same, too."""

import json
import os
import unittest

from tool import VMM_IMG, ToolTest

MIB = 1 << 20

# Of the programs' own sources: what they call when a volume or a guest is made, copied, grown and looked at.
LIBVIRT = [
    # virsh vol-create-as, and virt-install --disk size=…
    ["create", "-f", "qcow2", "-o", "preallocation=metadata,compat=1.1", "{}/vol.qcow2", "65536K"],
    ["create", "-f", "qcow2", "-o", "compat=1.1,lazy_refcounts", "{}/lazy.qcow2", "65536K"],
    ["create", "-f", "qcow2", "-o", "cluster_size=131072,compat=0.10", "{}/old.qcow2", "65536K"],
    # --backing-vol
    ["create", "-f", "qcow2", "-b", "{}/base.qcow2", "-o", "backing_fmt=qcow2,compat=1.1", "{}/overlay.qcow2", "65536K"],
    # vol-clone, vol-create-from
    ["convert", "-f", "raw", "-O", "qcow2", "-o", "compat=1.1", "{}/data.raw", "{}/clone.qcow2"],
    ["convert", "-f", "qcow2", "-O", "raw", "{}/clone.qcow2", "{}/clone.raw"],
    # vol-resize
    ["resize", "{}/vol.qcow2", "134217728"],
    ["resize", "--shrink", "{}/clone.raw", "1048576"],
    # snapshots of a guest that does not run
    ["snapshot", "-c", "before", "{}/clone.qcow2"],
    ["snapshot", "-a", "before", "{}/clone.qcow2"],
    ["snapshot", "-c", "second", "{}/clone.qcow2"],
    ["snapshot", "-d", "before", "{}/clone.qcow2"],
]
LIBGUESTFS = [
    # guestfs_disk_create
    ["create", "-q", "-f", "qcow2", "-o", "preallocation=off,compat=1.1,cluster_size=65536", "{}/disk.qcow2", "67108864"],
    ["create", "-q", "-f", "qcow2", "-b", "{}/base.qcow2", "-o", "backing_fmt=qcow2", "{}/tmp.qcow2"],
    # virt-sparsify, virt-builder, virt-v2v
    ["convert", "-q", "-f", "qcow2", "-O", "qcow2", "-o", "compat=1.1", "{}/tmp.qcow2", "{}/sparse.qcow2"],
    ["convert", "-q", "-f", "qcow2", "-O", "qcow2", "-c", "{}/tmp.qcow2", "{}/small.qcow2"],
    ["convert", "-q", "-n", "-f", "qcow2", "-O", "qcow2", "{}/base.qcow2", "{}/disk.qcow2"],
]
CLOUDS = [
    # OpenStack's nova and cinder
    ["create", "-f", "qcow2", "-o", "backing_file={}/base.qcow2,backing_fmt=qcow2,size=134217728", "{}/disk"],
    ["convert", "-t", "none", "-O", "raw", "-f", "qcow2", "{}/base.qcow2", "{}/base.img"],
    ["convert", "-O", "qcow2", "-f", "raw", "-t", "none", "-W", "-c", "{}/data.raw", "{}/upload.qcow2"],
    ["rebase", "-u", "-f", "qcow2", "-b", "{}/base.qcow2", "-F", "qcow2", "{}/disk"],
    ["rebase", "-f", "qcow2", "-b", "", "{}/disk"],
    # Proxmox
    ["create", "-f", "qcow2", "-o", "preallocation=metadata", "{}/vm-100-disk-0.qcow2", "65536K"],
    ["resize", "-f", "qcow2", "--preallocation=metadata", "{}/vm-100-disk-0.qcow2", "134217728"],
    ["snapshot", "-c", "daily", "{}/vm-100-disk-0.qcow2"],
    ["snapshot", "-l", "{}/vm-100-disk-0.qcow2"],
    ["convert", "-p", "-n", "-f", "raw", "-O", "qcow2", "{}/data.raw", "{}/vm-100-disk-0.qcow2"],
    # packer, and what people type
    ["create", "-f", "qcow2", "-b", "{}/base.qcow2", "-F", "qcow2", "{}/vm.qcow2", "20G"],
    ["resize", "{}/upload.qcow2", "+10M"],
    ["convert", "-O", "qcow2", "{}/data.raw", "{}/typed.qcow2"],
    ["check", "{}/typed.qcow2"],
    ["compare", "{}/data.raw", "{}/typed.qcow2"],
]
# What they read.
QUESTIONS = [
    ["info", "--output=json", "{}/base.qcow2"],
    ["info", "--output", "json", "-U", "{}/data.raw"],
    ["info", "--force-share", "--output=json", "{}/overlay.qcow2"],
    ["info", "--backing-chain", "--output=json", "-f", "qcow2", "{}/overlay.qcow2"],
    ["measure", "-f", "qcow2", "-O", "qcow2", "--output=json", "{}/base.qcow2"],
    ["measure", "--output=json", "-O", "raw", "--size", "67108864"],
    ["check", "--output=json", "{}/base.qcow2"],
    ["map", "--output=json", "-f", "raw", "{}/data.raw"],
]


def without_place(tree, folder):
    """What no two images have in common. icount: of deterministic replay, which qemu-img says is at 0 and we that there is none."""
    text = json.dumps(tree).replace(folder, "FOLDER")
    return drop(json.loads(text), {"actual-size", "date-sec", "date-nsec", "format-recognised", "children",
                                  "icount"})


def drop(tree, keys):
    if isinstance(tree, dict):
        return {key: drop(value, keys) for key, value in tree.items() if key not in keys}
    return [drop(each, keys) for each in tree] if isinstance(tree, list) else tree


class Scripts(ToolTest):
    def setUp(self):
        super().setUp()
        self.folders = {"qemu-img": self.path("theirs"), VMM_IMG: self.path("ours")}
        for folder in self.folders.values():
            os.mkdir(folder)
            with open(os.path.join(folder, "data.raw"), "wb") as file:
                file.write(bytes(range(256)) * (MIB // 256))
                file.truncate(8 * MIB)
            self.qemu("qemu-img", "convert", "-f", "raw", "-O", "qcow2", f"{folder}/data.raw", f"{folder}/base.qcow2")
            self.qemu("qemu-img", "resize", "-q", "-f", "qcow2", f"{folder}/base.qcow2", "64M")

    def run_both(self, command):
        results = {}
        for program, folder in self.folders.items():
            results[program] = self._run(program, *(word.replace("{}", folder) for word in command))
        ours, theirs = results[VMM_IMG], results["qemu-img"]
        self.assertEqual(theirs.status, 0, f"{command}: {theirs.errors}")
        self.assertEqual(ours.status, theirs.status, f"{command}: {ours.errors}")
        return ours.output, theirs.output

    def expect_same_images(self):
        ours, theirs = self.folders[VMM_IMG], self.folders["qemu-img"]
        self.assertEqual(sorted(os.listdir(ours)), sorted(os.listdir(theirs)))
        for name in os.listdir(ours):
            trees = [without_place(json.loads(self.qemu("qemu-img", "info", "--output=json", "-f", self.format_of(name), f"{folder}/{name}")),
                                   folder) for folder in (ours, theirs)]
            self.assertEqual(trees[0], trees[1], name)
            self.qemu("qemu-img", "compare", "-f", self.format_of(name), "-F", self.format_of(name), f"{ours}/{name}", f"{theirs}/{name}")
            if self.format_of(name) == "qcow2":
                self.qemu("qemu-img", "check", "-q", f"{ours}/{name}")

    @staticmethod
    def format_of(name):
        return "raw" if name.endswith((".raw", ".img")) else "qcow2"

    def run_all(self, commands):
        for command in commands:
            with self.subTest(command=" ".join(command)):
                self.run_both(command)
        self.expect_same_images()

    def test_libvirt(self):
        self.run_all(LIBVIRT)

    def test_libguestfs(self):
        self.run_all(LIBGUESTFS)

    def test_clouds_and_people(self):
        self.run_all(CLOUDS)

    def test_what_they_read(self):
        self.run_both(LIBVIRT[3])
        for command in QUESTIONS:
            with self.subTest(command=" ".join(command)):
                ours, theirs = self.run_both(command)
                folders = self.folders[VMM_IMG], self.folders["qemu-img"]
                self.assertEqual(*(without_place(json.loads(text), folder) for text, folder in zip((ours, theirs), folders)))


class NamesThatTell(ToolTest):
    """A guest's bytes never decide; its host's name does, as long as it reads nothing else for that."""

    def test_a_raw_image_with_a_header_in_it_stays_raw(self):
        secret = self.write("secret.raw", b"secret" * 1000)
        raw = self.create("disk.raw", "-b", secret, "-F", "raw", size="1M")  # a qcow2 header where a guest can write one
        self.assertEqual(self.img("convert", "-O", "raw", raw, self.path("copy.raw")).status, 0)
        with open(raw, "rb") as disk, open(self.path("copy.raw"), "rb") as copy:
            data = disk.read()
            self.assertEqual(copy.read().rstrip(b"\0"), data.rstrip(b"\0"))
        self.assertNotIn(b"secretsecret", data)

    def test_what_names_other_files_needs_more_than_a_name(self):
        secret = self.write("secret", b"secret" * 1024)
        overlay = self.create("disk.qcow2", "-b", secret, "-F", "raw", size="1M")
        data = self.create("data.qcow2", "-o", f"data_file={self.path('data')}", size="1M")
        for path in (overlay, data):
            for command in (["convert", path, self.path("copy")], ["map", path], ["compare", path, path], ["measure", path],
                            ["dd", f"if={path}", f"of={self.path('copy')}"], ["resize", path, "2M"], ["bench", path],
                            ["serve", "-k", self.path("socket"), path]):
                result = self.img(*command)
                self.assertEqual(result.status, 2 if command[0] == "compare" else 1, command)
                self.assertRegex(result.errors, "names other files.*add -f qcow2")
                self.assertFalse(os.path.exists(self.path("copy")))
        self.assertEqual(self.img("check", overlay).status, 0)
        self.assertEqual(self.img("snapshot", "-l", overlay).status, 0)

    def test_other_names_tell_nothing(self):
        image = self.create("disk.img")
        result = self.img("convert", image, self.path("copy"))
        self.assertEqual(result.status, 1)
        self.assertRegex(result.errors, "disk.img: -f must tell its format")

    def test_a_name_that_lies_is_told(self):
        for name, text in (("zeroes.qcow2", "no qcow2 image"), ("zeroes.iso", "ISO 9660")):
            path = self.write(name, bytes(1 << 20))
            result = self.img("map", path)
            self.assertEqual(result.status, 1)
            self.assertRegex(result.errors, f"{name}.*{text}")


if __name__ == "__main__":
    unittest.main()
