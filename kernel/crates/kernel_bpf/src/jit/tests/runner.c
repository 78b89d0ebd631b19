/* Runs machine code under user-mode emulation: for the tests of compilers for other machines, and
 * for bpf-lab.
 *
 * From standard input, again and again: a request, the code, and the memory that it works on. To
 * standard output: what the code returned last, and the memory. No library. */

typedef unsigned long u64;
typedef unsigned int u32;

/* As in emulated.rs, of the tests and of bpf-lab. */
#define CODE 0x40000000UL
#define CODE_BYTES 0x400000UL
#define NEAR 0x41000000UL
#define MEMORY 0x42000000UL
#define MEMORY_BYTES 0x80000UL
#define FAR 0x4041000000UL

struct request {
    u32 code_bytes;
    u32 memory_bytes;
    /* Where the run has the number of its rounds, and that number. */
    u32 rounds_at;
    u32 rounds;
    /* Where it has the words that the function called next finds. */
    u64 notes_at;
    /* The code's first argument. */
    u64 argument;
    /* How often it runs, on the same memory. */
    u64 times;
};

/* Words of the run that the code does not know of: where its notes are, whether a helper ended the
 * program, and a number that shows that a helper was given the run. */
enum { NOTES_AT = 61, ENDED = 62, MARK = 63, RUN_WORDS = 64 };

enum { READ = 63, WRITE = 64, EXIT = 93, MMAP = 222, FLUSH_ICACHE = 259 };

static long call(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__aarch64__)
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c, x3 __asm__("x3") = d, x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
#else
    register long a7 __asm__("a7") = number, a0 __asm__("a0") = a, a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c, a3 __asm__("a3") = d, a4 __asm__("a4") = e;
    register long a5 __asm__("a5") = f;
    __asm__ volatile("ecall"
                     : "+r"(a0)
                     : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5)
                     : "memory");
    return a0;
#endif
}

static void transfer(long number, long fd, void *at, u64 bytes) {
    for (u64 done = 0; done < bytes;) {
        long count = call(number, fd, (long)at + done, bytes - done, 0, 0, 0);
        if (count <= 0)
            call(EXIT, number == READ && done == 0 ? 0 : 1, 0, 0, 0, 0, 0);
        done += count;
    }
}

static void synchronize(u64 start, u64 bytes) {
#if defined(__aarch64__)
    for (u64 line = start; line < start + bytes; line += 16)
        __asm__ volatile("dc cvau, %0\n dsb ish\n ic ivau, %0" ::"r"(line) : "memory");
    __asm__ volatile("dsb ish\n isb" ::: "memory");
#else
    call(FLUSH_ICACHE, start, start + bytes, 0, 0, 0, 0);
#endif
}

static void map(u64 at, u64 bytes) {
    /* Readable, writable, executable; private, fixed, anonymous. */
    if ((u64)call(MMAP, at, bytes, 7, 0x32, -1, 0) != at)
        call(EXIT, 2, 0, 0, 0, 0, 0);
}

/* What stands for the engine's functions. Each is copied to a place that emulated.rs knows, so it
 * refers to nothing. */

/* A helper: every argument counts, and memory is written through the first. */
static u64 helper(u64 *a, u64 b, u64 c, u64 d, u64 e, u64 *run) {
    *a += 1;
    return *a + 3 * b + 5 * c + 7 * d + 11 * e + run[MARK];
}

/* A helper that calls back, by the trampoline in its first argument. */
static u64 call_back(u64 trampoline, u64 function, u64 c, u64 d, u64 e, u64 *run) {
    volatile u64 arguments[5];
    for (int i = 0; i < 4; i++)
        arguments[i] = c + i;
    arguments[4] = 1000;
    return ((u64(*)(volatile u64 *, u64 *, u64))trampoline)(arguments, run, function) + 1;
}

/* The decision on a tail call: to the second argument. The fourth is where the run keeps the
 * context. */
static u64 tail_call(u64 context, u64 target, u64 c, u64 context_at, u64 e, u64 *run) {
    if (target != 0)
        *(u64 *)((u64)run + context_at) = context;
    return target;
}

/* The helpers of the conformance suite, by their numbers. */

static u64 gather_bytes(u64 a, u64 b, u64 c, u64 d, u64 e) {
    return (a & 255) << 32 | (b & 255) << 24 | (c & 255) << 16 | (d & 255) << 8 | (e & 255);
}

static u64 memfrob(volatile unsigned char *bytes, u64 length) {
    for (u64 i = 0; i < length; i++)
        bytes[i] ^= 42;
    return 0;
}

static u64 trash_registers(void) {
#if defined(__aarch64__)
    __asm__ volatile("mov x1, #-1\n mov x2, #-1\n mov x3, #-1\n mov x4, #-1\n mov x5, #-1\n"
                     "mov x6, #-1\n mov x7, #-1\n mov x8, #-1\n mov x9, #-1\n mov x10, #-1\n"
                     "mov x11, #-1\n mov x12, #-1\n mov x13, #-1\n mov x14, #-1\n mov x15, #-1\n"
                     "mov x16, #-1\n mov x17, #-1" ::
                         : "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12",
                           "x13", "x14", "x15", "x16", "x17");
#else
    __asm__ volatile("li a1, -1\n li a2, -1\n li a3, -1\n li a4, -1\n li a5, -1\n li a6, -1\n"
                     "li a7, -1\n li t0, -1\n li t1, -1\n li t2, -1\n li t3, -1\n li t4, -1\n"
                     "li t5, -1\n li t6, -1" ::
                         : "a1", "a2", "a3", "a4", "a5", "a6", "a7", "t0", "t1", "t2", "t3", "t4",
                           "t5", "t6");
#endif
    return 0;
}

static u64 square_root(u64 number) {
    u64 root = 0;
    for (u64 bit = 1UL << 31; bit != 0; bit >>= 1)
        if ((root | bit) * (root | bit) <= number)
            root |= bit;
    return root;
}

static u64 compare_strings(volatile unsigned char *one, volatile unsigned char *other) {
    while (*one != 0 && *one == *other)
        one++, other++;
    return *one < *other ? -1UL : *one > *other;
}

/* Ends the program if its argument is zero: it runs on to its own end, and its result is
 * replaced. */
static u64 unwind(u64 keep, u64 b, u64 c, u64 d, u64 e, u64 *run) {
    if (keep == 0)
        run[ENDED] = 1;
    return keep;
}

enum { HELPERS = 6, HELPER_BYTES = 256 };
#define SUITE (NEAR + 0x1000)

/* A call by register: to the helper whose number is in the second note. EINVAL for another. */
static u64 call_register(u64 a, u64 b, u64 c, u64 d, u64 e, u64 *run) {
    u64 number = *(u64 *)((u64)run + run[NOTES_AT] + 8);
    if (number >= HELPERS)
        return -22UL;
    return ((u64(*)(u64, u64, u64, u64, u64, u64 *))(SUITE + number * HELPER_BYTES))(a, b, c, d, e,
                                                                                   run);
}

static void copy(u64 to, void *function) {
    for (u64 i = 0; i < 256; i++)
        ((volatile unsigned char *)to)[i] = ((volatile unsigned char *)function)[i];
    synchronize(to, 256);
}

static u64 run[RUN_WORDS];

void start(void) {
    map(CODE, CODE_BYTES);
    map(NEAR, 8192);
    map(MEMORY, MEMORY_BYTES);
    map(FAR, 4096);
    /* What stands for the kernel's pointer of each CPU, see intrinsics.rs. */
#if defined(__aarch64__)
    __asm__ volatile("msr tpidr_el0, %0" ::"r"(MEMORY + 0x8000));
#else
    __asm__ volatile("mv tp, %0" ::"r"(MEMORY + 0x8000));
#endif
    copy(NEAR, (void *)helper);
    copy(FAR, (void *)helper);
    copy(NEAR + 0x400, (void *)call_back);
    copy(NEAR + 0x800, (void *)tail_call);
    copy(NEAR + 0xc00, (void *)call_register);
    copy(SUITE, (void *)gather_bytes);
    copy(SUITE + HELPER_BYTES, (void *)memfrob);
    copy(SUITE + 2 * HELPER_BYTES, (void *)trash_registers);
    copy(SUITE + 3 * HELPER_BYTES, (void *)square_root);
    copy(SUITE + 4 * HELPER_BYTES, (void *)compare_strings);
    copy(SUITE + 5 * HELPER_BYTES, (void *)unwind);
    for (;;) {
        struct request request;
        transfer(READ, 0, &request, sizeof request);
        if (request.code_bytes > CODE_BYTES || request.memory_bytes > MEMORY_BYTES)
            call(EXIT, 3, 0, 0, 0, 0, 0);
        transfer(READ, 0, (void *)CODE, request.code_bytes);
        transfer(READ, 0, (void *)MEMORY, request.memory_bytes);
        synchronize(CODE, request.code_bytes);
        u64 result = 0;
        for (u64 i = 0; i < request.times; i++) {
            *(u32 *)((u64)run + request.rounds_at) = request.rounds;
            run[NOTES_AT] = request.notes_at;
            run[ENDED] = 0;
            run[MARK] = 1000;
            result = ((u64(*)(u64, void *))CODE)(request.argument, run);
            if (run[ENDED])
                result = 0;
        }
        transfer(WRITE, 1, &result, sizeof result);
        transfer(WRITE, 1, (void *)MEMORY, request.memory_bytes);
    }
}

#if defined(__aarch64__)
__asm__(".globl _start\n_start: mov x29, #0\n b start\n");
#else
__asm__(".globl _start\n_start: li s0, 0\n j start\n");
#endif
