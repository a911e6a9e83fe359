#!/usr/bin/env python3
"""<cpu>: what the stock kernel sees of features and topology."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import Guest, GuestTest, main  # noqa: E402

SCRIPT = """
echo flags= $(sed -n 's/^flags[^:]*: //p' /proc/cpuinfo | head -n 1) end
for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
  name=${cpu##*/}
  echo $name.package=$(cat $cpu/topology/physical_package_id)
  echo $name.core=$(cat $cpu/topology/core_id)
  echo $name.threads=$(cat $cpu/topology/thread_siblings_list)
  echo $name.cores=$(cat $cpu/topology/core_siblings_list)
done
"""


class Cpu(GuestTest):
    def boot(self, cpu, cpus=1):
        with Guest(SCRIPT, cpus=cpus, after=cpu, modules=()) as guest:
            run = guest.run()
        self.assert_ended_well(run)
        return run.values()

    def test_disabled_features_are_gone_and_the_kernel_does_without(self):
        names = ("cx16", "popcnt", "xsave", "smap")
        with open("/proc/cpuinfo", encoding="ascii") as file:
            host = file.read().split()
        disabled = "".join(f"<feature policy='disable' name='{name}'/>" for name in names)
        flags = self.boot(f"<cpu mode='host-passthrough'>{disabled}</cpu>")["flags"].split()
        self.assertIn("fpu", flags)
        self.assertIn("hypervisor", flags)
        for name in (*names, "avx", "xsaveopt"):  # the last two are part of xsave
            self.assertNotIn(name, flags)
        self.assertTrue(set(names) & set(host), "this host has none of them: the test says nothing")

    def test_host_passthrough_gives_what_the_host_has(self):
        flags = self.boot("")["flags"].split()
        with open("/proc/cpuinfo", encoding="ascii") as file:
            host = file.read().split()
        # Not xsave: the kernel switches it off where, as in the emulated lab, sizes of its states contradict each other.
        for name in ("cx16", "popcnt", "smap", "sse4_2", "nx", "aes"):
            self.assertEqual(name in flags, name in host, name)

    def test_two_sockets(self):
        values = self.boot("<cpu><topology sockets='2' cores='1' threads='1'/></cpu>", 2)
        self.assertNotEqual(values["cpu0.package"], values["cpu1.package"])
        self.assertEqual((values["cpu0.cores"], values["cpu1.cores"]), ("0", "1"))

    def test_two_cores_of_one_socket(self):
        values = self.boot("<cpu><topology sockets='1' cores='2' threads='1'/></cpu>", 2)
        self.assertEqual(values["cpu0.package"], values["cpu1.package"])
        self.assertNotEqual(values["cpu0.core"], values["cpu1.core"])
        self.assertEqual((values["cpu0.cores"], values["cpu0.threads"]), ("0-1", "0"))

    def test_two_threads_of_one_core(self):
        values = self.boot("<cpu><topology sockets='1' cores='1' threads='2'/></cpu>", 2)
        self.assertEqual(values["cpu0.core"], values["cpu1.core"])
        self.assertEqual(values["cpu0.threads"], "0-1")


if __name__ == "__main__":
    main()
