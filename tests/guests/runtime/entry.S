# PVH entry, the way to long mode, interrupt stubs, the way to ring 3 and back, and the start of further CPUs.
# Segment selectors are those of runtime/cpu.h.

        .set CODE64, 0x08
        .set DATA, 0x10
        .set CODE32, 0x18
        .set USER_DATA, 0x3b
        .set USER_CODE, 0x43
        .set TRAMPOLINE, 0x8000           # below 1 MiB, on a page: the SIPI vector is its page number

        .section .note.pvh, "a", @note
        .balign 4
        .long 4, 8, 18                    # XEN_ELFNOTE_PHYS32_ENTRY
        .asciz "Xen"
        .quad pvh_entry

        .section .text.entry, "ax"
        .code32
        .globl pvh_entry
pvh_entry:
        cld
        movl %ebx, %edi                   # hvm_start_info
        movl $boot_stack_top, %esp
        lgdt boot_gdt_pointer
        movl $page_tables, %eax
        movl %eax, %cr3
        movl %cr4, %eax
        orl $0x20, %eax                   # PAE
        movl %eax, %cr4
        movl $0xc0000080, %ecx            # EFER.LME
        rdmsr
        orl $0x100, %eax
        wrmsr
        movl %cr0, %eax
        orl $0x80000001, %eax             # PG, PE
        movl %eax, %cr0
        ljmp $CODE64, $long_mode_entry

        .code64
long_mode_entry:
        movl $DATA, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %ss
        xorl %eax, %eax
        movl %eax, %fs
        movl %eax, %gs
        movl %edi, %edi
        movabsq $boot_stack_top, %rsp
        xorl %ebp, %ebp
        call runtime_main
0:      cli
        hlt
        jmp 0b

# --- interrupts: 256 stubs of 16 bytes, each pushes its vector ---------------------------------------------------

        .text
        .balign 16
        .globl interrupt_stubs
interrupt_stubs:
        .set vector, 0
        .rept 256
        .balign 16
        # Vectors 8, 10-14, 17, 21, 29, 30 come with an error code (SDM volume 3, table 6-1; APM volume 2, 8.2).
        .if (vector != 8) && (vector < 10 || vector > 14) && (vector != 17) && (vector != 21) && (vector != 29) && (vector != 30)
        pushq $0
        .endif
        pushq $vector
        jmp interrupt_common
        .set vector, vector + 1
        .endr

interrupt_common:
        pushq %rax
        pushq %rcx
        pushq %rdx
        pushq %rbx
        pushq %rbp
        pushq %rsi
        pushq %rdi
        pushq %r8
        pushq %r9
        pushq %r10
        pushq %r11
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        cld
        movq %rsp, %rdi
        movq %rsp, %rbp
        andq $-16, %rsp
        call interrupt_dispatch
        movq %rbp, %rsp
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %r11
        popq %r10
        popq %r9
        popq %r8
        popq %rdi
        popq %rsi
        popq %rbp
        popq %rbx
        popq %rdx
        popq %rcx
        popq %rax
        addq $16, %rsp
        iretq

# --- ring 3 ------------------------------------------------------------------------------------------------------

# void enter_user_mode(void (*function)()): runs it in ring 3 with I/O privilege level 3, interrupts disabled.
        .globl enter_user_mode
enter_user_mode:
        pushq %rbp
        pushq %rbx
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        movq %rsp, user_return_stack
        pushq $USER_DATA
        pushq $user_stack_top
        pushq $0x3002
        pushq $USER_CODE
        pushq $user_start
        iretq
user_start:
        xorl %ebp, %ebp
        call *%rdi
        int $0x81

        .globl leave_user_mode
leave_user_mode:
        movq user_return_stack, %rsp
        movl $DATA, %eax
        movl %eax, %ss
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %rbx
        popq %rbp
        ret

# --- faults that are wanted ------------------------------------------------------------------------------------------

# void call_until_fault(void (*function)()): returns when the function does, or when it faults: then cpu.cpp makes the
# handler return to fault_landing in ring 0.
        .globl call_until_fault
        .globl fault_landing
call_until_fault:
        pushq %rbp
        pushq %rbx
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        subq $8, %rsp
        movq %rsp, fault_stack
        call *%rdi
fault_landing:
        movq fault_stack, %rsp
        movl $DATA, %eax
        movl %eax, %ss
        addq $8, %rsp
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %rbx
        popq %rbp
        ret

# --- further CPUs: copied to TRAMPOLINE, entered in real mode by a start-up IPI ------------------------------------

        .section .rodata
        .globl ap_trampoline
        .globl ap_trampoline_end
        .code16
ap_trampoline:
        cli
        cld
        xorw %ax, %ax
        movw %ax, %ds
        lgdtl TRAMPOLINE + (ap_gdt_pointer - ap_trampoline)
        movl %cr0, %eax
        orl $1, %eax
        movl %eax, %cr0
        ljmpl $CODE32, $(TRAMPOLINE + (ap_protected - ap_trampoline))
        .code32
ap_protected:
        movl $DATA, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %ss
        movl $page_tables, %eax
        movl %eax, %cr3
        movl %cr4, %eax
        orl $0x20, %eax
        movl %eax, %cr4
        movl $0xc0000080, %ecx
        rdmsr
        orl $0x100, %eax
        wrmsr
        movl %cr0, %eax
        orl $0x80000000, %eax
        movl %eax, %cr0
        ljmp $CODE64, $ap_long
        .balign 4
ap_gdt_pointer:
        .word boot_gdt_end - boot_gdt - 1
        .long boot_gdt
ap_trampoline_end:

        .text
        .code64
ap_long:
        # Each CPU takes the next number, and with it its stack.
        movl $1, %edi
        lock xaddl %edi, ap_next_number
        cmpl $64, %edi
        jae 1f
        movl %edi, %eax
        shlq $13, %rax
        leaq ap_stacks(%rax), %rsp        # number 1 uses the first 8 KiB: its top is ap_stacks + 8 KiB
        xorl %ebp, %ebp
        call ap_main
1:      cli
        hlt
        jmp 1b

# --- data --------------------------------------------------------------------------------------------------------

        .data
        .balign 16
        .globl boot_gdt
boot_gdt:
        .quad 0
        .quad 0x00af9b000000ffff          # 0x08: 64-bit code
        .quad 0x00cf93000000ffff          # 0x10: data
        .quad 0x00cf9b000000ffff          # 0x18: 32-bit code
        .quad 0x00009b000000ffff          # 0x20: 16-bit code
        .quad 0x000093000000ffff          # 0x28: 16-bit data
        .quad 0x00cffb000000ffff          # 0x30: ring 3 32-bit code
        .quad 0x00cff3000000ffff          # 0x38: ring 3 data
        .quad 0x00affb000000ffff          # 0x40: ring 3 64-bit code
        .globl boot_gdt_tss
boot_gdt_tss:
        .quad 0, 0                        # 0x48: task state segment, filled in by cpu.cpp
boot_gdt_end:
        .globl boot_gdt_pointer
boot_gdt_pointer:
        .word boot_gdt_end - boot_gdt - 1
        .quad boot_gdt
        .balign 4
        .globl ap_next_number
ap_next_number:
        .long 1

# The first 4 GiB, identity mapped with 2 MiB pages, open to ring 3; the last of them, where devices are, uncached.
        .balign 4096
        .globl page_tables
page_tables:
        .quad page_pointers + 7
        .fill 511, 8, 0
page_pointers:
        .quad page_directories + 7
        .quad page_directories + 0x1007
        .quad page_directories + 0x2007
        .quad page_directories + 0x3007
        .fill 508, 8, 0
        .globl page_directories
page_directories:
        .set address, 0
        .rept 1536
        .quad address + 0x87
        .set address, address + 0x200000
        .endr
        .rept 512
        .quad address + 0x9f
        .set address, address + 0x200000
        .endr

        .bss
        .balign 4096
        .skip 65536
boot_stack_top:
        .skip 65536
user_stack_top:
        .skip 16384
        .globl interrupt_stack_top
interrupt_stack_top:
        .globl ap_stacks
ap_stacks:
        .skip 65 * 8192
        .globl fault_stack
fault_stack:
        .skip 8
        .globl user_return_stack
user_return_stack:
        .skip 8

        .section .note.GNU-stack, "", @progbits
