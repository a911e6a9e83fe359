# The CPU's other modes: compatibility mode, and all the way down to real mode and back.

        .set CODE64, 0x08
        .set DATA, 0x10
        .set CODE32, 0x18
        .set CODE16, 0x20
        .set DATA16, 0x28
        .set REAL, 0x9000                 # where the code of real mode is copied to

        .text
        .code64
# uint32_t compatibility_mode(): 42, where byte 0x40 is `inc eax` and not a prefix.
        .globl compatibility_mode
compatibility_mode:
        pushq $CODE32
        pushq $1f
        lretq
        .code32
1:      movl $40, %eax
        .byte 0x40
        pushl %eax
        addl $4, %esp
        movl -4(%esp), %eax
        .byte 0x40
        ljmp $CODE64, $2f
        .code64
2:      movl %eax, %eax
        ret

# void real_mode(): runs the code below, which leaves its findings where cpu.cpp looks.
        .globl real_mode
real_mode:
        pushq %rbx
        pushq %rbp
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        movl %esp, saved_stack
        pushq $CODE32
        pushq $1f
        lretq
        .code32
1:      movl %cr0, %eax
        andl $0x7fffffff, %eax            # paging off: long mode ends
        movl %eax, %cr0
        movl $0xc0000080, %ecx
        rdmsr
        andl $~0x100, %eax
        wrmsr
        ljmp $CODE16, $REAL

        .globl back_from_real_mode
back_from_real_mode:
        movl $DATA, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %ss
        movl $page_tables, %eax
        movl %eax, %cr3
        movl $0xc0000080, %ecx
        rdmsr
        orl $0x100, %eax
        wrmsr
        movl %cr0, %eax
        orl $0x80000000, %eax
        movl %eax, %cr0
        ljmp $CODE64, $1f
        .code64
1:      movl saved_stack, %esp
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %rbp
        popq %rbx
        ret

        .section .rodata
        .globl real_mode_code
        .globl real_mode_code_end
        .code16
real_mode_code:                           # at REAL, in 16-bit protected mode
        movw $DATA16, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movl %cr0, %eax
        andl $~1, %eax
        movl %eax, %cr0
        ljmp $0, $(REAL + (1f - real_mode_code))
1:      xorw %ax, %ax
        movw %ax, %ss
        movw $REAL, %sp
        movw %ax, %ds
        lidtl REAL + (real_vectors - real_mode_code)
        # Vector 0x20 is ours.
        movw $(REAL + (real_handler - real_mode_code)), 0x20 * 4
        movw $0, 0x20 * 4 + 2
        movw $0x1234, %ax
        movw %ax, %ds
        movl $0xcafe1234, 0
        movw $0, 4
        int $0x20
        int $0x20
        # 64 KiB is where an offset wraps.
        movw $0xffff, %bx
        addw $2, %bx
        movw %bx, 6
        movl %cr0, %eax
        orl $1, %eax
        movl %eax, %cr0
        ljmpl $CODE32, $back_from_real_mode
real_handler:
        incw 4
        iretw
        .balign 4
real_vectors:
        .word 0x3ff
        .long 0
real_mode_code_end:

        .bss
        .balign 4
saved_stack:
        .skip 4

        .section .note.GNU-stack, "", @progbits
