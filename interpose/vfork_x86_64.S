// vfork_x86_64.S: vfork, as the C library's: the child runs on its parent's stack while the parent sleeps, and would write
// over the return address; so it is in a register during the system call. Around the call the allocator is told
// (alloc/fork.h), which no function written in C++ could do and return from in both processes.
#if defined(__x86_64__)
#include <cet.h>
#include <sys/syscall.h>

        .text
        .hidden BeforeVfork
        .hidden AfterVfork
        .globl vfork, __vfork
        .type vfork, @function
        .set __vfork, vfork
vfork:
        .cfi_startproc
        _CET_ENDBR
        subq $8, %rsp
        .cfi_adjust_cfa_offset 8
        call BeforeVfork
        addq $8, %rsp
        .cfi_adjust_cfa_offset -8
        movzbl %al, %edx
        popq %rdi
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rdi
        movl $SYS_vfork, %eax
        syscall
        pushq %rdi
        .cfi_adjust_cfa_offset 8
        .cfi_offset %rip, -8
        subq $8, %rsp
        .cfi_adjust_cfa_offset 8
        movq %rax, %rdi
        movl %edx, %esi
        call AfterVfork
        addq $8, %rsp
        .cfi_adjust_cfa_offset -8
        testl %eax, %eax
        jne 1f
        // A shadow stack is shared, too: the child leaves its parent's entry where it is.
        xorl %ecx, %ecx
        rdsspq %rcx
        testq %rcx, %rcx
        je 1f
        popq %rdi
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rdi
        jmp *%rdi
        .cfi_adjust_cfa_offset 8
        .cfi_offset %rip, -8
1:      ret
        .cfi_endproc
        .size vfork, . - vfork
#endif

        .section .note.GNU-stack, "", @progbits
