/*
 * Context switch for x86-64 Linux (System V ABI, 64-bit). The contract, the stack pictures and the
 * reasons are in mod.rs; this file holds the instructions and their unwind information only.
 * AT&T syntax without macros or preprocessor directives: it assembles alone (gcc -c) and through
 * global_asm!.
 */

        .pushsection .text.bobbin_ctx, "ax", @progbits

/*
 * void *bobbin_ctx_prepare(void *stack_top, void (*entry)(void *), void *arg)
 * Ordinary C call. Returns the saved stack pointer of a context that will run entry(arg).
 */
        .globl  bobbin_ctx_prepare
        .hidden bobbin_ctx_prepare
        .type   bobbin_ctx_prepare, @function
        .p2align 4
bobbin_ctx_prepare:
        .cfi_startproc
        leaq    -80(%rdi), %rax
        andq    $-16, %rax
        movl    $0x1f80, (%rax)         /* mxcsr: round to nearest, all exceptions masked */
        movl    $0x037f, 4(%rax)        /* x87 control word: the same, 64-bit significand */
        movq    $0, 8(%rax)             /* r15 */
        movq    $0, 16(%rax)            /* r14 */
        movq    %rdx, 24(%rax)          /* r13: arg */
        movq    %rsi, 32(%rax)          /* r12: entry */
        movq    $0, 40(%rax)            /* rbx */
        movq    $0, 48(%rax)            /* rbp: ends the chain of frame pointers */
        leaq    bobbin_ctx_entry(%rip), %rcx
        movq    %rcx, 56(%rax)          /* where to resume */
        movq    $0, 64(%rax)            /* a null frame record above the first frame */
        movq    $0, 72(%rax)
        ret
        .cfi_endproc
        .size   bobbin_ctx_prepare, . - bobbin_ctx_prepare

/*
 * The first instruction of a prepared context: r12 = entry, r13 = arg, rsp a multiple of 16.
 * The unwind entry starts one byte early, because an unwinder looks up the address before the one
 * it resumes at; an undefined return address is where it stops.
 */
        .type   bobbin_ctx_entry, @function
        .p2align 4
        .cfi_startproc
        .cfi_def_cfa %rsp, 0
        .cfi_undefined %rip
        .cfi_undefined %rbp
        nop
bobbin_ctx_entry:
        movq    %r13, %rdi
        call    *%r12
        ud2
        .cfi_endproc
        .size   bobbin_ctx_entry, . - bobbin_ctx_entry

/*
 * Not a C call: reached by a jump with rdi = where to store the old stack pointer, rsi = the saved
 * stack pointer to resume, rax = the address at which the old context resumes, and rsp as it shall
 * be there. Old and new frames have one shape, so the unwind rules hold on either side of the line
 * that changes stacks. A debugger unwinds a suspended context from pc = bobbin_ctx_resume and
 * sp = its saved stack pointer.
 */
        .globl  bobbin_ctx_switch
        .hidden bobbin_ctx_switch
        .type   bobbin_ctx_switch, @function
        .globl  bobbin_ctx_resume
        .hidden bobbin_ctx_resume
        .p2align 6
bobbin_ctx_switch:
        .cfi_startproc
        .cfi_def_cfa %rsp, 0
        .cfi_register %rip, %rax
        pushq   %rax
        .cfi_adjust_cfa_offset 8
        .cfi_offset %rip, -8
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_offset %rbp, -16
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_offset %rbx, -24
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_offset %r12, -32
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_offset %r13, -40
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_offset %r14, -48
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_offset %r15, -56
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
bobbin_ctx_resume:
        ldmxcsr (%rsp)
        fldcw   4(%rsp)
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        popq    %rax
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rax
        jmpq    *%rax
        .cfi_endproc
        .size   bobbin_ctx_switch, . - bobbin_ctx_switch

        .popsection

        .pushsection .note.GNU-stack, "", @progbits
        .popsection
