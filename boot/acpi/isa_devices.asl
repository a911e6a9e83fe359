// What a PC has at fixed ports. Included in the scope of the ISA bridge (pc) or of \_SB (microvm).
// \VCOM, \VKBD and \VPAN say what this machine has; they come from the SSDT that boot/acpi_tables.cpp makes.

Device (PIC)
{
    Name (_HID, EisaId ("PNP0000"))
    Name (_CRS, ResourceTemplate ()
    {
        IO (Decode16, 0x0020, 0x0020, 0x01, 0x02)
        IO (Decode16, 0x00A0, 0x00A0, 0x01, 0x02)
        IO (Decode16, 0x04D0, 0x04D0, 0x01, 0x02)
        IRQNoFlags () {2}
    })
}

Device (TMR)
{
    Name (_HID, EisaId ("PNP0100"))
    Name (_CRS, ResourceTemplate ()
    {
        IO (Decode16, 0x0040, 0x0040, 0x01, 0x04)
        IRQNoFlags () {0}
    })
}

Device (DMAC)
{
    Name (_HID, EisaId ("PNP0200"))
    Name (_CRS, ResourceTemplate ()
    {
        IO (Decode16, 0x0000, 0x0000, 0x01, 0x10)
        IO (Decode16, 0x0081, 0x0081, 0x01, 0x0F)
        IO (Decode16, 0x00C0, 0x00C0, 0x01, 0x20)
        DMA (Compatibility, NotBusMaster, Transfer8) {4}
    })
}

Device (SPKR)
{
    Name (_HID, EisaId ("PNP0800"))
    Name (_CRS, ResourceTemplate ()
    {
        IO (Decode16, 0x0061, 0x0061, 0x01, 0x01)
    })
}

Device (RTC)
{
    Name (_HID, EisaId ("PNP0B00"))
    Name (_CRS, ResourceTemplate ()
    {
        IO (Decode16, 0x0070, 0x0070, 0x01, 0x02)
        IRQNoFlags () {8}
    })
}

Device (KBD)
{
    Name (_HID, EisaId ("PNP0303"))
    Method (_STA, 0, NotSerialized)
    {
        Return (\VKBD * 0x0F)
    }
    Name (_CRS, ResourceTemplate ()
    {
        IO (Decode16, 0x0060, 0x0060, 0x01, 0x01)
        IO (Decode16, 0x0064, 0x0064, 0x01, 0x01)
        IRQNoFlags () {1}
    })
}

Device (MOU)
{
    Name (_HID, EisaId ("PNP0F13"))
    Method (_STA, 0, NotSerialized)
    {
        Return (\VKBD * 0x0F)
    }
    Name (_CRS, ResourceTemplate ()
    {
        IRQNoFlags () {12}
    })
}

// The four ports have two interrupts between them.
#define SERIAL_PORT(name, uid, port, irq, bit)                  \
Device (name)                                                   \
{                                                               \
    Name (_HID, EisaId ("PNP0501"))                             \
    Name (_UID, uid)                                            \
    Method (_STA, 0, NotSerialized)                             \
    {                                                           \
        Return (((\VCOM >> bit) & 1) * 0x0F)                    \
    }                                                           \
    Name (_CRS, ResourceTemplate ()                             \
    {                                                           \
        IO (Decode16, port, port, 0x01, 0x08)                   \
        IRQ (Edge, ActiveHigh, Shared) {irq}                    \
    })                                                          \
}

SERIAL_PORT (COM1, 1, 0x03F8, 4, 0)
SERIAL_PORT (COM2, 2, 0x02F8, 3, 1)
SERIAL_PORT (COM3, 3, 0x03E8, 4, 2)
SERIAL_PORT (COM4, 4, 0x02E8, 3, 3)

// The panic device (QEMU, docs/specs/pvpanic.rst), at layout::kPanicPort.
Device (PEVT)
{
    Name (_HID, "QEMU0001")
    Method (_STA, 0, NotSerialized)
    {
        Return (\VPAN * 0x0F)
    }
    Name (_CRS, ResourceTemplate ()
    {
        IO (Decode16, 0x0505, 0x0505, 0x01, 0x01)
    })
    OperationRegion (PEOR, SystemIO, 0x0505, 0x01)
    Field (PEOR, ByteAcc, NoLock, Preserve)
    {
        PEPT, 8
    }
    Method (RDPT, 0, NotSerialized)
    {
        Return (PEPT)
    }
    Method (WRPT, 1, NotSerialized)
    {
        PEPT = Arg0
    }
}
