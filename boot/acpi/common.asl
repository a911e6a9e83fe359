// What both machines have at the root of the name space. The ports are those of vmm/core/layout.h.

External (\VCOM, IntObj)  // bit n: COM(n + 1) exists
External (\VKBD, IntObj)  // 1: keyboard and mouse exist
External (\VPAN, IntObj)  // 1: the panic device exists

// PM1a_CNT's SLP_TYP for "off" is layout::kSleepTypeS5. There is no other sleep state.
Name (\_S5, Package (0x04) {0, 0, 0, 0})

Scope (\_SB)
{
    // Ports and memory that belong to the board, so that nothing else is put there.
    Device (MBRS)
    {
        Name (_HID, EisaId ("PNP0C02"))
        Name (_CRS, ResourceTemplate ()
        {
            IO (Decode16, 0x0080, 0x0080, 0x01, 0x01)
            IO (Decode16, 0x0092, 0x0092, 0x01, 0x01)
            IO (Decode16, 0x00B2, 0x00B2, 0x01, 0x02)
            IO (Decode16, 0x0402, 0x0402, 0x01, 0x01)
            IO (Decode16, 0x0600, 0x0600, 0x01, 0x40)
            IO (Decode16, 0xAFE0, 0xAFE0, 0x01, 0x04)
            Memory32Fixed (ReadWrite, 0xFEC00000, 0x00001000)
            Memory32Fixed (ReadWrite, 0xFEE00000, 0x00001000)
            Memory32Fixed (ReadWrite, 0xFEFFC000, 0x00004000)
        })
    }
}
