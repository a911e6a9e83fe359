#!/usr/bin/env python3
"""<watchdog>, with the drivers of Debian's kernel; that for the cloud has none."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from guest import STDIO, Guest, GuestTest, main  # noqa: E402

FEED = """
echo driver=$(cat /sys/class/watchdog/watchdog0/identity)
watchdog -F -T 2 -t 1 /dev/watchdog &
sleep 5
echo fed=yes
kill -KILL $!
sleep 1000
"""


class Watchdog(GuestTest):
    """Fed it lets the guest live; when who feeds it is killed, it does what the domain says."""

    def guest(self, model, module, action):
        return Guest(FEED, modules=(module,), serials=STDIO + f"<watchdog model='{model}' action='{action}'/>", flavour="generic")

    def test_an_i6300esb_resets_a_guest_that_hangs(self):
        with self.guest("i6300esb", "i6300esb", "reset") as guest, guest.start() as run:
            for _ in range(2):
                run.wait_for("^driver=i6300ESB timer")
                run.wait_for("^fed=yes")
            self.assertIn("the guest's watchdog has run out: action 'reset'", run.errors)

    def test_an_ib700_pauses_a_guest_that_hangs(self):
        with self.guest("ib700", "ib700wdt", "pause") as guest, guest.start() as run:
            run.wait_for("^fed=yes")
            run.wait_for_error(r"action 'pause'\n.*is paused by its watchdog")
            self.assertIsNone(run.process.poll())
            run.process.terminate()
            run.wait_end(20)


if __name__ == "__main__":
    main()
