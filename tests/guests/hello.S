# A program that ends at once: what a start costs, and nothing else. It stays in the 32-bit mode of the PVH entry.
#
# The same bytes must end the machine under vmm and under QEMU's pc and microvm, so the ways out are tried in order
# of where they are quickest: ACPI S5 at the port where PIIX4 has PM1a_CNT, the sleep register of QEMU's microvm,
# the keyboard controller's reset line, and a triple fault.

        .set PM1A_CONTROL, 0x604
        .set SLEEP_ENABLE, 0x2000         # SLP_TYP is 0 for \_S5
        .set MICROVM_SLEEP_CONTROL, 0xfea00200
        .set MICROVM_SLEEP_S5, 0x34       # SLP_EN | 5 << 2 (ACPI 6.4, 4.8.3.7)

        .section .note.pvh, "a", @note
        .balign 4
        .long 4, 8, 18                    # XEN_ELFNOTE_PHYS32_ENTRY
        .asciz "Xen"
        .quad pvh_entry

        .section .text.entry, "ax"
        .code32
        .globl pvh_entry
pvh_entry:
        movw $PM1A_CONTROL, %dx
        movw $SLEEP_ENABLE, %ax
        outw %ax, %dx
        movb $MICROVM_SLEEP_S5, MICROVM_SLEEP_CONTROL
        movb $0xfe, %al
        outb %al, $0x64
        lidt no_vectors
        ud2

        .section .rodata, "a"
no_vectors:
        .word 0
        .long 0

        .section .note.GNU-stack, "", @progbits
