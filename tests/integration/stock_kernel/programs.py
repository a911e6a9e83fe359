"""A disk with programs of this machine and the shared libraries they need, for a guest that has busybox only."""

import os
import shutil
import subprocess

from guest import MIB, Disk, environment_with_sbin
import guest_files

# Where a program looks for its loader and its libraries; the initramfs has nothing there.
PLACES = ("lib", "lib64", "usr")
ROOM_BYTES = 8 * MIB


class ProgramsDisk(Disk):
    """To be the last of a guest's disks. `make(guest)` before the guest starts; `mount` is the guest's shell command."""

    def __init__(self, names):
        super().__init__("programs.img", inside="<readonly/><serial>PROGRAMS</serial>")
        self._names = names

    @property
    def mount(self):
        return f"""
for disk in /sys/block/vd*; do
  [ "$(cat $disk/serial)" = PROGRAMS ] && mkdir /programs && mount -t ext4 -o ro,noload /dev/${{disk##*/}} /programs
done
for place in {' '.join(PLACES)}; do ln -s /programs/$place /$place; done
export PATH=/usr/bin:$PATH
"""

    def make(self, guest):
        tree = guest.path("programs")
        files = guest_files.program_files(self._names)
        for place, file in files.items():
            os.makedirs(os.path.dirname(f"{tree}/{place}"), exist_ok=True)
            shutil.copy(file, f"{tree}/{place}")
        image = guest.path(self.name)
        with open(image, "wb") as file:
            file.truncate((sum(map(os.path.getsize, files.values())) * 9 // 8 + ROOM_BYTES) // MIB * MIB)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "nodiscard", "-d", tree, image],
                       env=environment_with_sbin(), check=True)
        shutil.rmtree(tree)
