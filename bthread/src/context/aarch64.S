/*
 * Context switch for AArch64 Linux (AAPCS64). The contract, the stack pictures and the reasons are
 * in mod.rs; this file holds the instructions and their unwind information only. No macros or
 * preprocessor directives: it assembles alone (aarch64-linux-gnu-gcc -c) and through global_asm!.
 * hint #36 is "bti j": a landing pad where branch target identification is on, else a no-op.
 * DWARF numbers 72 to 79 are v8 to v15.
 */

        .pushsection .text.bobbin_ctx, "ax", %progbits

/*
 * void *bobbin_ctx_prepare(void *stack_top, void (*entry)(void *), void *arg)
 * Ordinary C call. Returns the saved stack pointer of a context that will run entry(arg).
 */
        .globl  bobbin_ctx_prepare
        .hidden bobbin_ctx_prepare
        .type   bobbin_ctx_prepare, %function
        .p2align 4
bobbin_ctx_prepare:
        .cfi_startproc
        sub     x9, x0, #192
        and     x0, x9, #-16
        adrp    x10, bobbin_ctx_entry
        add     x10, x10, :lo12:bobbin_ctx_entry
        stp     xzr, xzr, [x0]                  /* d8 to d15 */
        stp     xzr, xzr, [x0, #16]
        stp     xzr, xzr, [x0, #32]
        stp     xzr, xzr, [x0, #48]
        stp     x1, x2, [x0, #64]               /* x19: entry, x20: arg */
        stp     xzr, xzr, [x0, #80]             /* x21 to x28 */
        stp     xzr, xzr, [x0, #96]
        stp     xzr, xzr, [x0, #112]
        stp     xzr, xzr, [x0, #128]
        stp     xzr, xzr, [x0, #144]            /* fpcr: round to nearest, no traps; and a gap */
        stp     xzr, x10, [x0, #160]            /* x29: ends the frame chain; where to resume */
        stp     xzr, xzr, [x0, #176]            /* a null frame record above the first frame */
        ret
        .cfi_endproc
        .size   bobbin_ctx_prepare, . - bobbin_ctx_prepare

/*
 * The first instruction of a prepared context: x19 = entry, x20 = arg, sp a multiple of 16.
 * The unwind entry starts one instruction early, because an unwinder looks up the address before
 * the one it resumes at; an undefined return address is where it stops.
 */
        .type   bobbin_ctx_entry, %function
        .p2align 4
        .cfi_startproc
        .cfi_undefined x30
        .cfi_undefined x29
        nop
bobbin_ctx_entry:
        hint    #36
        mov     x0, x20
        blr     x19
        brk     #1
        .cfi_endproc
        .size   bobbin_ctx_entry, . - bobbin_ctx_entry

/*
 * Not a C call: reached by a plain branch with x0 = where to store the old stack pointer, x1 = the
 * saved stack pointer to resume, x30 = the address at which the old context resumes (a bti j), and
 * sp as it shall be there. Old and new frames have one shape, so the unwind rules hold on either
 * side of the line that changes stacks. A debugger unwinds a suspended context from
 * pc = bobbin_ctx_resume and sp = its saved stack pointer.
 */
        .globl  bobbin_ctx_switch
        .hidden bobbin_ctx_switch
        .type   bobbin_ctx_switch, %function
        .globl  bobbin_ctx_resume
        .hidden bobbin_ctx_resume
        .p2align 6
bobbin_ctx_switch:
        .cfi_startproc
        sub     sp, sp, #176
        .cfi_def_cfa_offset 176
        stp     x29, x30, [sp, #160]
        .cfi_offset x29, -16
        .cfi_offset x30, -8
        mrs     x9, fpcr
        str     x9, [sp, #144]
        stp     x27, x28, [sp, #128]
        .cfi_offset x27, -48
        .cfi_offset x28, -40
        stp     x25, x26, [sp, #112]
        .cfi_offset x25, -64
        .cfi_offset x26, -56
        stp     x23, x24, [sp, #96]
        .cfi_offset x23, -80
        .cfi_offset x24, -72
        stp     x21, x22, [sp, #80]
        .cfi_offset x21, -96
        .cfi_offset x22, -88
        stp     x19, x20, [sp, #64]
        .cfi_offset x19, -112
        .cfi_offset x20, -104
        stp     d14, d15, [sp, #48]
        .cfi_offset 78, -128
        .cfi_offset 79, -120
        stp     d12, d13, [sp, #32]
        .cfi_offset 76, -144
        .cfi_offset 77, -136
        stp     d10, d11, [sp, #16]
        .cfi_offset 74, -160
        .cfi_offset 75, -152
        stp     d8, d9, [sp]
        .cfi_offset 72, -176
        .cfi_offset 73, -168
        mov     x10, sp
        str     x10, [x0]
        mov     sp, x1
bobbin_ctx_resume:
        ldr     x10, [sp, #144]
        cmp     x9, x10
        b.ne    2f                              /* writing fpcr may drain the pipeline */
1:      ldp     d8, d9, [sp]
        ldp     d10, d11, [sp, #16]
        ldp     d12, d13, [sp, #32]
        ldp     d14, d15, [sp, #48]
        ldp     x19, x20, [sp, #64]
        ldp     x21, x22, [sp, #80]
        ldp     x23, x24, [sp, #96]
        ldp     x25, x26, [sp, #112]
        ldp     x27, x28, [sp, #128]
        ldp     x29, x30, [sp, #160]
        add     sp, sp, #176
        .cfi_remember_state
        .cfi_def_cfa_offset 0
        .cfi_restore x19
        .cfi_restore x20
        .cfi_restore x21
        .cfi_restore x22
        .cfi_restore x23
        .cfi_restore x24
        .cfi_restore x25
        .cfi_restore x26
        .cfi_restore x27
        .cfi_restore x28
        .cfi_restore x29
        .cfi_restore x30
        .cfi_restore 72
        .cfi_restore 73
        .cfi_restore 74
        .cfi_restore 75
        .cfi_restore 76
        .cfi_restore 77
        .cfi_restore 78
        .cfi_restore 79
        br      x30
        .cfi_restore_state
2:      msr     fpcr, x10
        b       1b
        .cfi_endproc
        .size   bobbin_ctx_switch, . - bobbin_ctx_switch

        .popsection

        .pushsection .note.GNU-stack, "", %progbits
        .popsection
