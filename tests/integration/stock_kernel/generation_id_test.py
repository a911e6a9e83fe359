#!/usr/bin/env python3
"""<genid>: Debian's kernel has a driver that finds it; in that for the cloud, which has none, memory is looked at."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import Guest, GuestTest, main  # noqa: E402

PAGE = 0xfeffb000
SCRIPT = f"""
echo driver=$(ls -d /sys/bus/*/drivers/vmgenid/VMMG0001* 2>/dev/null | wc -l)
for offset in 0 4 8 12; do echo word$offset=$(devmem $(({PAGE} + offset)) 32 2>/dev/null); done
"""


class GenerationId(GuestTest):
    def values(self, machine, genid, flavour="cloud"):
        with Guest(SCRIPT, machine=machine, modules=(), before=genid, flavour=flavour) as guest:
            run = guest.run()
        self.assert_ended_well(run)
        return run.values()

    def words(self, machine, genid):
        values = self.values(machine, genid)
        return [values[f"word{offset}"] for offset in (0, 4, 8, 12)]

    def run_on(self, machine):
        fixed = "<genid>00010203-0405-0607-0809-0a0b0c0d0e0f</genid>"
        self.assertEqual(self.words(machine, fixed), ["0x00010203", "0x06070405", "0x0B0A0908", "0x0F0E0D0C"])
        self.assertNotEqual(self.words(machine, "<genid/>"), self.words(machine, "<genid/>"))
        self.assertEqual(self.values(machine, "<genid/>", "generic")["driver"], "1")

    def test_on_pc(self):
        self.run_on("pc")

    def test_on_microvm(self):
        self.run_on("microvm")


if __name__ == "__main__":
    main()
