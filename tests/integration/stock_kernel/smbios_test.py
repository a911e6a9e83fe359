#!/usr/bin/env python3
"""<sysinfo> with a <kernel>, as a stock kernel finds it: no firmware has put it there."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import Guest, GuestTest, main  # noqa: E402

UUID = "01234567-89ab-cdef-0123-456789abcdef"
SYSINFO = f"""<uuid>{UUID}</uuid>
<sysinfo type='smbios'>
  <system><entry name='serial'>ds=nocloud</entry><entry name='manufacturer'>Acme</entry></system>
  <baseBoard><entry name='asset'>Anvil 7</entry></baseBoard>
</sysinfo>"""
SCRIPT = """
cd /sys/class/dmi/id
for name in product_serial sys_vendor product_name product_uuid board_asset_tag bios_vendor; do echo $name=$(cat $name); done
"""


class Sysinfo(GuestTest):
    def run_on(self, machine):
        with Guest(SCRIPT, machine=machine, modules=(), before=SYSINFO, os_elements="<smbios mode='sysinfo'/>") as guest:
            run = guest.run()
        self.assert_ended_well(run)
        values = run.values()
        self.assertEqual(values["product_serial"], "ds=nocloud")
        self.assertEqual((values["sys_vendor"], values["product_name"]), ("Acme", machine))
        self.assertEqual(values["product_uuid"], UUID)
        self.assertEqual((values["board_asset_tag"], values["bios_vendor"]), ("Anvil 7", "vmm"))

    def test_on_pc(self):
        self.run_on("pc")

    def test_on_microvm(self):
        self.run_on("microvm")


if __name__ == "__main__":
    main()
