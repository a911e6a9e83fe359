// The DSDT of machine='pc': i440FX, PIIX3, as vmm/core/layout.h lays them out.
//
// Standard: ACPI 6.5. Interrupt routing of PCI slots: PIRQ = (slot + pin - 1) & 3, pin 0 being INTA; the PIIX3
// (Intel 290550, section 2.2.9) sends each PIRQ to the IRQ that its registers 0x60 to 0x63 name.
DefinitionBlock ("dsdt_pc.aml", "DSDT", 2, "VMM   ", "VMMPC   ", 0x00000001)
{
#include "common.asl"

    External (\VP3B, IntObj)  // 32-bit memory window: first address; it ends below 0xFEB00000
    External (\VP6B, IntObj)  // 64-bit memory window: first address
    External (\VP6L, IntObj)  // and length; 0: there is none

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_BBN, 0)

            Name (RES0, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0x0000, 0x0000, 0x00FF, 0x0000, 0x0100)
                IO (Decode16, 0x0CF8, 0x0CF8, 0x01, 0x08)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0x0000, 0x0000, 0x0CF7, 0x0000, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0x0000, 0x0D00, 0xFFFF, 0x0000, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0x00000000, 0x000A0000, 0x000BFFFF, 0x00000000, 0x00020000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0x00000000, 0xC0000000, 0xFEAFFFFF, 0x00000000, 0x3EB00000, , , PW32)
            })
            CreateDWordField (RES0, \_SB.PCI0.PW32._MIN, P3MN)
            CreateDWordField (RES0, \_SB.PCI0.PW32._LEN, P3LN)
            Name (RES6, ResourceTemplate ()
            {
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0x0000000000000000, 0x0000000100000000, 0x00000001FFFFFFFF, 0x0000000000000000,
                    0x0000000100000000, , , PW64)
            })
            CreateQWordField (RES6, \_SB.PCI0.PW64._MIN, P6MN)
            CreateQWordField (RES6, \_SB.PCI0.PW64._MAX, P6MX)
            CreateQWordField (RES6, \_SB.PCI0.PW64._LEN, P6LN)
            Method (_CRS, 0, Serialized)
            {
                P3MN = \VP3B
                P3LN = 0xFEB00000 - \VP3B
                If (\VP6L == 0)
                {
                    Return (RES0)
                }
                P6MN = \VP6B
                P6LN = \VP6L
                P6MX = \VP6B + \VP6L - 1
                Return (ConcatenateResTemplate (RES0, RES6))
            }

#define PRT_SLOT(address, a, b, c, d) \
    Package (0x04) {address, 0, a, 0}, \
    Package (0x04) {address, 1, b, 0}, \
    Package (0x04) {address, 2, c, 0}, \
    Package (0x04) {address, 3, d, 0}

            Name (_PRT, Package (0x80)
            {
                PRT_SLOT (0x0000FFFF, LNKD, LNKA, LNKB, LNKC),
                PRT_SLOT (0x0001FFFF, LNKA, LNKB, LNKC, LNKD),
                PRT_SLOT (0x0002FFFF, LNKB, LNKC, LNKD, LNKA),
                PRT_SLOT (0x0003FFFF, LNKC, LNKD, LNKA, LNKB),
                PRT_SLOT (0x0004FFFF, LNKD, LNKA, LNKB, LNKC),
                PRT_SLOT (0x0005FFFF, LNKA, LNKB, LNKC, LNKD),
                PRT_SLOT (0x0006FFFF, LNKB, LNKC, LNKD, LNKA),
                PRT_SLOT (0x0007FFFF, LNKC, LNKD, LNKA, LNKB),
                PRT_SLOT (0x0008FFFF, LNKD, LNKA, LNKB, LNKC),
                PRT_SLOT (0x0009FFFF, LNKA, LNKB, LNKC, LNKD),
                PRT_SLOT (0x000AFFFF, LNKB, LNKC, LNKD, LNKA),
                PRT_SLOT (0x000BFFFF, LNKC, LNKD, LNKA, LNKB),
                PRT_SLOT (0x000CFFFF, LNKD, LNKA, LNKB, LNKC),
                PRT_SLOT (0x000DFFFF, LNKA, LNKB, LNKC, LNKD),
                PRT_SLOT (0x000EFFFF, LNKB, LNKC, LNKD, LNKA),
                PRT_SLOT (0x000FFFFF, LNKC, LNKD, LNKA, LNKB),
                PRT_SLOT (0x0010FFFF, LNKD, LNKA, LNKB, LNKC),
                PRT_SLOT (0x0011FFFF, LNKA, LNKB, LNKC, LNKD),
                PRT_SLOT (0x0012FFFF, LNKB, LNKC, LNKD, LNKA),
                PRT_SLOT (0x0013FFFF, LNKC, LNKD, LNKA, LNKB),
                PRT_SLOT (0x0014FFFF, LNKD, LNKA, LNKB, LNKC),
                PRT_SLOT (0x0015FFFF, LNKA, LNKB, LNKC, LNKD),
                PRT_SLOT (0x0016FFFF, LNKB, LNKC, LNKD, LNKA),
                PRT_SLOT (0x0017FFFF, LNKC, LNKD, LNKA, LNKB),
                PRT_SLOT (0x0018FFFF, LNKD, LNKA, LNKB, LNKC),
                PRT_SLOT (0x0019FFFF, LNKA, LNKB, LNKC, LNKD),
                PRT_SLOT (0x001AFFFF, LNKB, LNKC, LNKD, LNKA),
                PRT_SLOT (0x001BFFFF, LNKC, LNKD, LNKA, LNKB),
                PRT_SLOT (0x001CFFFF, LNKD, LNKA, LNKB, LNKC),
                PRT_SLOT (0x001DFFFF, LNKA, LNKB, LNKC, LNKD),
                PRT_SLOT (0x001EFFFF, LNKB, LNKC, LNKD, LNKA),
                PRT_SLOT (0x001FFFFF, LNKC, LNKD, LNKA, LNKB)
            })

            Device (ISA)
            {
                Name (_ADR, 0x00010000)
                OperationRegion (PIRQ, PCI_Config, 0x60, 0x04)
                Field (PIRQ, ByteAcc, NoLock, Preserve)
                {
                    PRQA, 8,
                    PRQB, 8,
                    PRQC, 8,
                    PRQD, 8
                }

#include "isa_devices.asl"
            }
        }

        // Bit 7 of a PIRQ register: not routed. IRQM is the bit mask in an IRQ descriptor (ACPI 6.5, section 6.4.2.1).
        Method (LSTA, 1, NotSerialized)
        {
            If (Arg0 & 0x80)
            {
                Return (0x09)
            }
            Return (0x0B)
        }
        Method (LCRS, 1, NotSerialized)
        {
            Local0 = ResourceTemplate ()
            {
                IRQ (Level, ActiveHigh, Shared) {5}
            }
            CreateWordField (Local0, 0x01, IRQM)
            If (Arg0 & 0x80)
            {
                IRQM = 0
            }
            Else
            {
                IRQM = 1 << (Arg0 & 0x0F)
            }
            Return (Local0)
        }
        Method (LIRQ, 1, NotSerialized)
        {
            CreateWordField (Arg0, 0x01, IRQM)
            FindSetRightBit (IRQM, Local0)
            If (Local0 == 0)
            {
                Return (0x80)
            }
            Return (Local0 - 1)
        }

#define LINK(name, uid, register)                          \
        Device (name)                                      \
        {                                                  \
            Name (_HID, EisaId ("PNP0C0F"))                \
            Name (_UID, uid)                               \
            Name (_PRS, ResourceTemplate ()                \
            {                                              \
                IRQ (Level, ActiveHigh, Shared) {5,10,11}  \
            })                                             \
            Method (_STA, 0, NotSerialized)                \
            {                                              \
                Return (LSTA (\_SB.PCI0.ISA.register))     \
            }                                              \
            Method (_DIS, 0, NotSerialized)                \
            {                                              \
                \_SB.PCI0.ISA.register |= 0x80             \
            }                                              \
            Method (_CRS, 0, NotSerialized)                \
            {                                              \
                Return (LCRS (\_SB.PCI0.ISA.register))     \
            }                                              \
            Method (_SRS, 1, NotSerialized)                \
            {                                              \
                \_SB.PCI0.ISA.register = LIRQ (Arg0)       \
            }                                              \
        }

        LINK (LNKA, 1, PRQA)
        LINK (LNKB, 2, PRQB)
        LINK (LNKC, 3, PRQC)
        LINK (LNKD, 4, PRQD)
    }
}
