"""A kernel file that vmm has nothing against."""

import struct

# A program that is loaded at 1 MiB and entered there, as its note says (PVH).
NOTE = struct.pack("<III4sI", 4, 4, 18, b"Xen", 0x100000)
HEADERS_BYTES = 64 + 2 * 56
KERNEL = (b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x100000, 64, 0, 0, 64, 56, 2, 0, 0, 0) +
          struct.pack("<IIQQQQQQ", 1, 5, 0, 0x100000, 0x100000, 64, 64, 4096) +
          struct.pack("<IIQQQQQQ", 4, 4, HEADERS_BYTES, 0, 0, len(NOTE), len(NOTE), 4) + NOTE)
