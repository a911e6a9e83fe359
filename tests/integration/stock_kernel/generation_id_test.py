#!/usr/bin/env python3
"""<genid>, as a stock kernel's own driver finds it."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import Guest, GuestTest, main  # noqa: E402

SCRIPT = """
echo driver=$(ls -d /sys/bus/*/drivers/vmgenid/VMMG0001* | wc -l)
for offset in 0 4 8 12; do echo word$offset=$(devmem $((0xfeffb000 + offset)) 32); done
"""


class GenerationId(GuestTest):
    def words(self, machine, genid):
        with Guest(SCRIPT, machine=machine, modules=(), before=genid) as guest:
            run = guest.run()
        values = run.values()
        self.assertEqual(values["driver"], "1", run.account())
        return [values[f"word{offset}"] for offset in (0, 4, 8, 12)]

    def run_on(self, machine):
        fixed = "<genid>00010203-0405-0607-0809-0a0b0c0d0e0f</genid>"
        self.assertEqual(self.words(machine, fixed), ["0x00010203", "0x06070405", "0x0B0A0908", "0x0F0E0D0C"])
        self.assertNotEqual(self.words(machine, "<genid/>"), self.words(machine, "<genid/>"))

    def test_on_pc(self):
        self.run_on("pc")

    def test_on_microvm(self):
        self.run_on("microvm")


if __name__ == "__main__":
    main()
