/*
 * Checks the assembly in src/context without Rust: what a switch keeps, what a fresh context finds, and
 * that both unwind. Prints one line for each check; ends with status 1 at the first that fails.
 * Built and run by ./run, natively and for the other CPU.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>

void *bobbin_ctx_prepare(void *stack_top, void (*entry)(void *), void *arg);
extern char bobbin_ctx_switch[], bobbin_ctx_resume[];

#define CHECK(what)                                                                                  \
    do {                                                                                             \
        if (!(what)) {                                                                               \
            printf("FAILED at line %d: %s\n", __LINE__, #what);                                      \
            exit(1);                                                                                 \
        }                                                                                            \
    } while (0)

/* A function that a trace must show as itself. */
#define SEEN __attribute__((noipa))

enum { STACK_BYTES = 256 * 1024, ROUNDS = 1000000 };

/* The two flows of every check: `main_sp` is the caller's, `flow_sp` the tested one's. */
static void *main_sp, *flow_sp;
static char stack[STACK_BYTES] __attribute__((aligned(64)));

/*
 * The machine: how to switch, as the Rust side does it; how to switch with every callee-saved register
 * filled from and stored to arrays; how to reach the control words; an entry that notes its registers.
 */
#if defined(__x86_64__)
#define REALIGN __attribute__((force_align_arg_pointer))
enum { INTEGERS = 6, VECTORS = 0, FRAME_BYTES = 64, RESUME_AT = 56 };
#define CALLER_SAVED                                                                                 \
    "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3",   \
        "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", \
        "xmm15"

static inline void switch_to(void **from, void *to) {
    __asm__ volatile("leaq 2f(%%rip), %%rax\n jmp bobbin_ctx_switch\n 2:"
                     : "+D"(from), "+S"(to)
                     :
                     : CALLER_SAVED);
}

static void switch_with(void **from, void *to, uint64_t *integers, uint64_t *vectors) {
    (void)vectors;
    __asm__ volatile(
        "pushq %%rbp\n pushq %%rbx\n pushq %%rdx\n pushq %%rdx\n"
        "movq (%%rdx), %%rbx\n movq 8(%%rdx), %%rbp\n movq 16(%%rdx), %%r12\n"
        "movq 24(%%rdx), %%r13\n movq 32(%%rdx), %%r14\n movq 40(%%rdx), %%r15\n"
        "leaq 2f(%%rip), %%rax\n jmp bobbin_ctx_switch\n 2:"
        "popq %%rdx\n popq %%rdx\n"
        "movq %%rbx, (%%rdx)\n movq %%rbp, 8(%%rdx)\n movq %%r12, 16(%%rdx)\n"
        "movq %%r13, 24(%%rdx)\n movq %%r14, 32(%%rdx)\n movq %%r15, 40(%%rdx)\n"
        "popq %%rbx\n popq %%rbp"
        : "+D"(from), "+S"(to), "+d"(integers)
        :
        : "rax", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
}

/* mxcsr without its sticky flags, and the x87 control word. */
static uint64_t control(void) {
    uint32_t mxcsr;
    uint16_t x87;
    __asm__ volatile("stmxcsr %0\n fnstcw %1" : "=m"(mxcsr), "=m"(x87));
    return (uint64_t)x87 << 32 | (mxcsr & 0xffc0);
}

static void set_control(uint64_t value) {
    uint32_t mxcsr = (uint32_t)value;
    uint16_t x87 = (uint16_t)(value >> 32);
    __asm__ volatile("ldmxcsr %0\n fldcw %1" : : "m"(mxcsr), "m"(x87));
}

/* Initial: as the ABI says. The others differ in the rounding of either unit, and in flush-to-zero. */
static const uint64_t controls[] = {0x037f00001f80, 0x037f0000bf80, 0x0b7f00001f80, 0x077f00007f80};

uint64_t entry_sp, entry_frame;
void noted_entry(void *arg);
__asm__(".pushsection .text\n .globl noted_entry\n noted_entry:\n"
        "movq %rsp, entry_sp(%rip)\n movq %rbp, entry_frame(%rip)\n jmp run_body\n .popsection");
/* After a call: a multiple of 16, less the return address. */
static int aligned_at_entry(void) { return entry_sp % 16 == 8; }

#elif defined(__aarch64__)
#define REALIGN
enum { INTEGERS = 11, VECTORS = 8, FRAME_BYTES = 176, RESUME_AT = 168, X19_AT = 64 };
#define CALLER_SAVED                                                                                 \
    "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", \
        "x17", "x18", "x30", "memory", "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16",  \
        "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29",   \
        "v30", "v31"

static inline void switch_to(void **from, void *to) {
    register void **x0 __asm__("x0") = from;
    register void *x1 __asm__("x1") = to;
    __asm__ volatile("adr x30, 2f\n b bobbin_ctx_switch\n 2: hint #36" : "+r"(x0), "+r"(x1) : : CALLER_SAVED);
}

static void switch_with(void **from, void *to, uint64_t *integers, uint64_t *vectors) {
    register void **x0 __asm__("x0") = from;
    register void *x1 __asm__("x1") = to;
    register uint64_t *x2 __asm__("x2") = integers;
    register uint64_t *x3 __asm__("x3") = vectors;
    __asm__ volatile(
        "stp x2, x3, [sp, #-32]!\n str x29, [sp, #16]\n"
        "ldp x19, x20, [x2]\n ldp x21, x22, [x2, #16]\n ldp x23, x24, [x2, #32]\n"
        "ldp x25, x26, [x2, #48]\n ldp x27, x28, [x2, #64]\n ldr x29, [x2, #80]\n"
        "ldp d8, d9, [x3]\n ldp d10, d11, [x3, #16]\n ldp d12, d13, [x3, #32]\n ldp d14, d15, [x3, #48]\n"
        "adr x30, 2f\n b bobbin_ctx_switch\n 2: hint #36\n"
        "ldp x2, x3, [sp]\n"
        "stp x19, x20, [x2]\n stp x21, x22, [x2, #16]\n stp x23, x24, [x2, #32]\n"
        "stp x25, x26, [x2, #48]\n stp x27, x28, [x2, #64]\n str x29, [x2, #80]\n"
        "stp d8, d9, [x3]\n stp d10, d11, [x3, #16]\n stp d12, d13, [x3, #32]\n stp d14, d15, [x3, #48]\n"
        "ldr x29, [sp, #16]\n add sp, sp, #32"
        : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
        :
        : "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17",
          "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30", "v8",
          "v9", "v10", "v11", "v12", "v13", "v14", "v15", "memory", "cc");
}

static uint64_t control(void) {
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return fpcr;
}

static void set_control(uint64_t value) { __asm__ volatile("msr fpcr, %0" : : "r"(value)); }

/* Initial: all zero. The others round up, round to zero, and flush to zero. */
static const uint64_t controls[] = {0, 1 << 22, 3 << 22, 1 << 24};

uint64_t entry_sp, entry_frame;
void noted_entry(void *arg);
__asm__(".pushsection .text\n .globl noted_entry\n noted_entry:\n"
        "mov x9, sp\n adrp x10, entry_sp\n str x9, [x10, :lo12:entry_sp]\n"
        "adrp x10, entry_frame\n str x29, [x10, :lo12:entry_frame]\n b run_body\n .popsection");
static int aligned_at_entry(void) { return entry_sp % 16 == 0; }

/* Calls x19 as if from the instruction before bobbin_ctx_resume. */
extern char call_as_if_from_switch[];
__asm__(".pushsection .text\n .globl call_as_if_from_switch\n call_as_if_from_switch:\n hint #36\n"
        "adrp x30, bobbin_ctx_resume\n add x30, x30, :lo12:bobbin_ctx_resume\n br x19\n .popsection");
#else
#error "no context switch for this CPU"
#endif

/* One flow runs one body, which must not return. */
static void (*body)(void *);

SEEN void run_body(void *arg) {
    body(arg);
    printf("FAILED: a body returned\n");
    exit(1);
}

static void start(void (*with)(void *), void *arg) {
    body = with;
    memset(stack, 0xa5, sizeof stack);
    flow_sp = bobbin_ctx_prepare(stack + sizeof stack, noted_entry, arg);
    switch_to(&main_sp, flow_sp);
}

static void resume(void) { switch_to(&main_sp, flow_sp); }
static void give_way(void) { switch_to(&flow_sp, main_sp); }

/* --- a fresh context --- */

static void *seen_arg;
static uint64_t seen_control;
static void note_start(void *arg) {
    seen_arg = arg;
    seen_control = control();
    for (;;) give_way();
}

static void check_start(void) {
    static int arg;
    set_control(controls[1]);
    start(note_start, &arg);
    set_control(controls[0]);
    CHECK(seen_arg == &arg);
    CHECK(aligned_at_entry());
    CHECK(entry_frame == 0);
    CHECK(seen_control == controls[0]);
    puts("ok: the entry finds its argument, an aligned stack, no frame above and initial control words");
}

static void check_prepare(void) {
    static unsigned char memory[1024];
    for (size_t top = sizeof memory - 16; top < sizeof memory; top++) {
        memset(memory, 0xa5, sizeof memory);
        char *sp = bobbin_ctx_prepare(memory + top, noted_entry, 0);
        CHECK((uintptr_t)sp % 16 == 0);
        for (size_t i = 0; i < sizeof memory; i++)
            if (i >= top || i + 256 < top) CHECK(memory[i] == 0xa5);
    }
    puts("ok: prepare aligns any top and writes to the 256 bytes below it only");
}

/* --- back and forth --- */

static uint64_t turns;
static void count_turns(void *step) {
    for (;;) {
        turns += (uintptr_t)step;
        give_way();
    }
}

static void check_turns(void) {
    turns = 0;
    start(count_turns, (void *)3);
    for (int i = 1; i < ROUNDS; i++) {
        CHECK(turns == 3 * (uint64_t)i);
        resume();
    }
    CHECK(turns == 3 * (uint64_t)ROUNDS);
    puts("ok: a million switches there and back");
}

/* --- registers --- */

static void fill(uint64_t *values, int count, uint64_t seed) {
    for (int i = 0; i < count; i++) values[i] = (seed + i) * 0x9e3779b97f4a7c15u | 1;
}

static void keep(void **from, void **to, uint64_t seed) {
    uint64_t integers[INTEGERS], vectors[VECTORS + 1], before[INTEGERS], vectors_before[VECTORS + 1];
    fill(integers, INTEGERS, seed);
    fill(vectors, VECTORS + 1, ~seed);
    memcpy(before, integers, sizeof before);
    memcpy(vectors_before, vectors, sizeof vectors_before);
    switch_with(from, *to, integers, vectors);
    CHECK(memcmp(before, integers, sizeof before) == 0);
    CHECK(memcmp(vectors_before, vectors, sizeof vectors_before) == 0);
}

static void keep_in_flow(void *seed) {
    for (uint64_t i = (uintptr_t)seed;; i += 7) keep(&flow_sp, &main_sp, i);
}

static void check_registers(void) {
    start(keep_in_flow, (void *)1000);
    for (uint64_t i = 0; i < 1000; i++) keep(&main_sp, &flow_sp, i);
    printf("ok: %d integer and %d vector registers survive on both sides\n", INTEGERS, VECTORS);
}

/* --- control words --- */

enum { CONTROLS = sizeof controls / sizeof controls[0] };

static void change_control(void *unused) {
    (void)unused;
    for (int i = 0;; i = (i + 1) % CONTROLS) {
        set_control(controls[i]);
        give_way();
        CHECK(control() == controls[i]);
    }
}

static void check_control(void) {
    for (int mine = 0; mine < CONTROLS; mine++) {
        set_control(controls[mine]);
        start(change_control, 0);
        for (int i = 0; i < 2 * CONTROLS; i++) {
            CHECK(control() == controls[mine]);
            resume();
        }
    }
    set_control(controls[0]);
    puts("ok: each side has its own floating-point control");
}

/* --- unwinding --- */

enum { FRAMES_MAX = 64 };
static void *functions[FRAMES_MAX];
static int frames;

static _Unwind_Reason_Code note_frame(struct _Unwind_Context *context, void *unused) {
    (void)unused;
    uintptr_t address = _Unwind_GetIP(context);
    /* After the last frame there may be one more step, without an address. */
    if (address == 0) return _URC_NO_REASON;
    CHECK(frames < FRAMES_MAX);
    functions[frames++] = _Unwind_FindEnclosingFunction((void *)(address - 1));
    return _URC_NO_REASON;
}

/* A visitor may find the stack of a C function that was aligned for no call. */
static SEEN void REALIGN walk(void) {
    frames = 0;
    _Unwind_Backtrace(note_frame, 0);
}

static int position(void *function) {
    for (int i = 0; i < frames; i++)
        if (functions[i] == function) return i;
    return -1;
}

/* Follows the chain of frame pointers to its end. */
static SEEN int count_frame_records(void) {
    void **record = __builtin_frame_address(0);
    int count = 0;
    for (; record; record = *record) CHECK(++count < FRAMES_MAX);
    return count;
}

static int records;

static SEEN void walk_inside(void) {
    walk();
    records = count_frame_records();
    for (;;) give_way();
}

static SEEN void walk_in_flow(void *unused) {
    (void)unused;
    walk_inside();
}

static void check_unwinding_a_running_flow(void) {
    start(walk_in_flow, 0);
    /* The last is the trampoline. */
    CHECK(frames == 5 && position(walk) == 0 && position(walk_inside) == 1 && position(walk_in_flow) == 2);
    CHECK(position(run_body) == 3);
    CHECK(records == 4);
    puts("ok: a running flow unwinds to its entry and no further, by tables and by frame pointers");
}

static SEEN void wait_inside(void) {
    for (;;) give_way();
}

static SEEN void wait_in_flow(void *unused) {
    (void)unused;
    wait_inside();
}

/*
 * Runs `walk` on the suspended flow's stack, as if the instruction before bobbin_ctx_resume had called it,
 * and lets the flow go on from there when `walk` returns.
 */
static void walk_suspended(void) {
    char *suspended = flow_sp;
    void (*visitor)(void) = walk;
#if defined(__x86_64__)
    void *back = bobbin_ctx_resume;
    char *visit = suspended - sizeof back - FRAME_BYTES;
    memcpy(suspended - sizeof back, &back, sizeof back);
    memcpy(visit, suspended, FRAME_BYTES);
    memcpy(visit + RESUME_AT, &visitor, sizeof visitor);
#else
    void *by = call_as_if_from_switch;
    char *visit = suspended - FRAME_BYTES;
    memcpy(visit, suspended, FRAME_BYTES);
    memcpy(visit + X19_AT, &visitor, sizeof visitor);
    memcpy(visit + RESUME_AT, &by, sizeof by);
#endif
    switch_to(&main_sp, visit);
}

static void check_unwinding_a_suspended_flow(void) {
    start(wait_in_flow, 0);
    for (int i = 0; i < 3; i++) {
        walk_suspended();
        CHECK(position(walk) == 0 && position(bobbin_ctx_switch) == 1);
        /* Between them: switch_to and give_way, unless inlined. */
        int inside = position(wait_inside);
        CHECK(inside >= 2 && inside <= 4);
        CHECK(position(wait_in_flow) == inside + 1 && position(run_body) == inside + 2);
        CHECK(frames == inside + 4);
    }
    body = wait_in_flow;
    flow_sp = bobbin_ctx_prepare(stack + sizeof stack, noted_entry, 0);
    walk_suspended();
    CHECK(frames == 3 && position(walk) == 0 && position(bobbin_ctx_switch) == 1);
    puts("ok: a suspended flow unwinds through the switch to its entry, started or not");
}

int main(void) {
    setvbuf(stdout, 0, _IOLBF, 0); /* so that a crash loses no line */
    check_prepare();
    check_start();
    check_turns();
    check_registers();
    check_control();
    check_unwinding_a_running_flow();
    check_unwinding_a_suspended_flow();
    return 0;
}
