// The DSDT of machine='microvm': no PCI; virtio over MMIO, as vmm/core/layout.h lays it out.
DefinitionBlock ("dsdt_microvm.aml", "DSDT", 2, "VMM   ", "VMMMICRO", 0x00000001)
{
#include "common.asl"

    External (\VMIO, IntObj)  // bit n: there is a device in slot n

    Scope (\_SB)
    {
#include "isa_devices.asl"

#define VIRTIO_MMIO(name, slot, address, gsi)                                            \
        Device (name)                                                                    \
        {                                                                                \
            Name (_HID, "LNRO0005")                                                      \
            Name (_UID, slot)                                                            \
            Name (_CCA, 1)                                                               \
            Method (_STA, 0, NotSerialized)                                              \
            {                                                                            \
                Return (((\VMIO >> slot) & 1) * 0x0F)                                    \
            }                                                                            \
            Name (_CRS, ResourceTemplate ()                                              \
            {                                                                            \
                Memory32Fixed (ReadWrite, address, 0x00001000)                           \
                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, , , ) {gsi}    \
            })                                                                           \
        }

        VIRTIO_MMIO (VR00, 0, 0xFEB00000, 16)
        VIRTIO_MMIO (VR01, 1, 0xFEB01000, 17)
        VIRTIO_MMIO (VR02, 2, 0xFEB02000, 18)
        VIRTIO_MMIO (VR03, 3, 0xFEB03000, 19)
        VIRTIO_MMIO (VR04, 4, 0xFEB04000, 20)
        VIRTIO_MMIO (VR05, 5, 0xFEB05000, 21)
        VIRTIO_MMIO (VR06, 6, 0xFEB06000, 22)
        VIRTIO_MMIO (VR07, 7, 0xFEB07000, 23)
    }
}
