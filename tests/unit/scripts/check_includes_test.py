#!/usr/bin/env python3
"""scripts/check-includes on small trees made for it: check_includes_test.py PATH-OF-CHECK-INCLUDES."""

import os
import subprocess
import sys
import tempfile
import unittest

CHECK = sys.argv.pop(1)


class CheckIncludes(unittest.TestCase):
    def check(self, files):
        """(status, output) for a tree with these files."""
        with tempfile.TemporaryDirectory() as top:
            for path, content in files.items():
                os.makedirs(os.path.dirname(f"{top}/{path}"), exist_ok=True)
                with open(f"{top}/{path}", "w", encoding="utf-8") as file:
                    file.write(content)
            run = subprocess.run([CHECK, top], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            return run.returncode, run.stdout

    def assert_allowed(self, path, include):
        self.assertEqual(self.check({path: include + "\n"}), (0, ""))

    def assert_forbidden(self, path, include, reason):
        status, output = self.check({path: f"// first line\n{include}\n"})
        self.assertEqual(status, 1, output)
        self.assertTrue(output.startswith(f"{path}:2: "), output)
        self.assertIn(reason, output)

    def test_lower_layers_may_be_included(self):
        self.assert_allowed("vmm/core/a.h", '#include "vmm/base/result.h"')
        self.assert_allowed("devices/pci/a.h", '#include "vmm/core/io_bus.h"')
        self.assert_allowed("block/engine/a.h", '#include "block/block_device.h"')
        self.assert_allowed("vmm/machine/a.cpp", '#include "devices/pci/bus.h"')
        self.assert_allowed("vmm/cli/run_guest.cpp", '#include "vmm/machine/machine.h"')

    def test_base_includes_no_other_layer(self):
        self.assert_forbidden("vmm/base/a.h", '#include "vmm/core/io_bus.h"', "nothing else")

    def test_devices_include_of_block_its_public_header_only(self):
        self.assert_allowed("devices/virtio/a.h", '#include "block/block_device.h"')
        self.assert_forbidden("devices/virtio/a.h", '#include "block/raw_image.h"', "devices/ may include")

    def test_block_knows_no_guests(self):
        self.assert_forbidden("block/qcow2/a.cpp", '#include "vmm/core/guest_memory.h"', "block/ may include")
        self.assert_forbidden("block/a.cpp", '#include "devices/serial.h"', "block/ may include")

    def test_main_leaves_kvm_and_devices_to_the_machine(self):
        self.assert_forbidden("vmm/main.cpp", '#include "vmm/kvm/kvm.h"', "vmm/ may include")
        self.assert_forbidden("vmm/main.cpp", '#include "devices/serial.h"', "vmm/ may include")

    def test_only_vmm_kvm_includes_linux_kvm_h(self):
        self.assert_allowed("vmm/kvm/a.h", "#include <linux/kvm.h>")
        self.assert_forbidden("vmm/machine/a.h", "#include <linux/kvm.h>", "only vmm/kvm")

    def test_devices_know_no_ioctls(self):
        self.assert_forbidden("devices/a.cpp", "#  include <sys/ioctl.h>", "ioctls")

    def test_xml_stays_in_domain(self):
        self.assert_allowed("vmm/domain/a.cpp", "#include <tinyxml2.h>")
        self.assert_forbidden("vmm/machine/a.cpp", "#include <tinyxml2.h>", "XML")

    def test_paths_start_at_the_top_of_the_tree(self):
        self.assert_forbidden("vmm/core/a.cpp", '#include "io_bus.h"', "path from its top")
        self.assert_forbidden("vmm/core/a.cpp", '#include "../base/result.h"', "path from its top")
        self.assert_forbidden("vmm/core/a.cpp", "#include <vmm/base/result.h>", "quotation marks")

    def test_a_tree_without_sources_is_an_error(self):
        self.assertEqual(self.check({"README.md": ""})[0], 2)


unittest.main()
