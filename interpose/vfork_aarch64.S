// vfork_aarch64.S: see vfork_x86_64.S. The return address is in x30 during the system call.
#if defined(__aarch64__)
#include <sys/syscall.h>

        .text
        .hidden BeforeVfork
        .hidden AfterVfork
        .globl vfork, __vfork
        .type vfork, %function
        .set __vfork, vfork
vfork:
        .cfi_startproc
        hint #34  // bti c
        stp x29, x30, [sp, #-16]!
        .cfi_def_cfa_offset 16
        .cfi_offset 29, -16
        .cfi_offset 30, -8
        bl BeforeVfork
        ldp x29, x30, [sp], #16
        .cfi_restore 29
        .cfi_restore 30
        .cfi_def_cfa_offset 0
        and w9, w0, #0xff
        mov x0, #0x4111  // CLONE_VM, CLONE_VFORK, SIGCHLD
        mov x1, #0
        mov x8, #SYS_clone
        svc #0
        stp x29, x30, [sp, #-16]!
        .cfi_def_cfa_offset 16
        .cfi_offset 29, -16
        .cfi_offset 30, -8
        mov w1, w9
        bl AfterVfork
        ldp x29, x30, [sp], #16
        .cfi_restore 29
        .cfi_restore 30
        .cfi_def_cfa_offset 0
        ret
        .cfi_endproc
        .size vfork, . - vfork
#endif

        .section .note.GNU-stack, "", %progbits
