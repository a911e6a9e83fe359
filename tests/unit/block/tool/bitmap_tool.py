"""What the tests of dirty bitmaps share: QEMU as the reader of what they say."""

import json
import os
import select
import tempfile

from tool import ToolTest


class BitmapTest(ToolTest):
    def setUp(self):
        super().setUp()
        sockets = tempfile.TemporaryDirectory(prefix="vmm-nbd-")  # short: the name of a socket has 107 bytes
        self.addCleanup(sockets.cleanup)
        self.sockets = sockets.name
        self.served = 0

    def io(self, path, *commands):
        words = [word for command in commands for word in ("-c", command)]
        self.assertNotIn("failed", self.qemu("qemu-io", "-f", "qcow2", *words, path))

    def flags(self, path):
        data = json.loads(self.qemu("qemu-img", "info", "--output=json", path))["format-specific"]["data"]
        ours = self.json("info", "-f", "qcow2", "--output=json", path)["format-specific"]["data"]
        self.assertEqual(ours.get("bitmaps"), data.get("bitmaps"))
        return {bitmap["name"]: bitmap["flags"] for bitmap in data.get("bitmaps", [])}

    def dirty(self, path, name):
        """What the bitmap says, as QEMU reads it: [[start, end], …]."""
        self.served += 1
        socket = os.path.join(self.sockets, str(self.served))
        self.qemu("qemu-nbd", "--fork", "--pid-file", socket + ".pid", "-r", "-f", "qcow2", "-B", name, "-k", socket, path)
        with open(socket + ".pid", encoding="ascii") as file:
            server = os.pidfd_open(int(file.read()))
        extents = json.loads(self.qemu("qemu-img", "map", "--output=json", "--image-opts",
                                       f"driver=nbd,server.type=unix,server.path={socket},"
                                       f"x-dirty-bitmap=qemu:dirty-bitmap:{name}"))
        # It ends when its client has gone, and has the image locked until then.
        select.select([server], [], [], 60)
        os.close(server)
        return [[extent["start"], extent["start"] + extent["length"]] for extent in extents if not extent["data"]]

    def check(self, path):
        self.qemu("qemu-img", "check", "-q", path)
        self.assertEqual(self.img("check", "-f", "qcow2", path).status, 0)
