/* Runs machine code under user-mode emulation, for the tests of compilers for other machines.
 *
 * From standard input, again and again: a request, the code, and the memory that the code's first
 * argument points to. To standard output: what it returned, and the memory. No library. */

typedef unsigned long u64;
typedef unsigned int u32;

/* As in emulated.rs. */
#define CODE 0x40000000UL
#define CODE_BYTES 0x400000UL
#define NEAR 0x41000000UL
#define FAR 0x4041000000UL

struct request {
    u32 code_bytes;
    u32 memory_bytes;
    /* Where the run has the number of its rounds, and that number. */
    u32 rounds_at;
    u32 rounds;
};

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
    return *a + 3 * b + 5 * c + 7 * d + 11 * e + run[63];
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

static void copy(u64 to, void *function) {
    for (u64 i = 0; i < 256; i++)
        ((volatile unsigned char *)to)[i] = ((volatile unsigned char *)function)[i];
    synchronize(to, 256);
}

static u64 memory[1 << 16];
static u64 run[64];

void start(void) {
    map(CODE, CODE_BYTES);
    map(NEAR, 4096);
    map(FAR, 4096);
    copy(NEAR, (void *)helper);
    copy(FAR, (void *)helper);
    copy(NEAR + 0x400, (void *)call_back);
    copy(NEAR + 0x800, (void *)tail_call);
    for (;;) {
        struct request request;
        transfer(READ, 0, &request, sizeof request);
        if (request.code_bytes > CODE_BYTES || request.memory_bytes > sizeof memory)
            call(EXIT, 3, 0, 0, 0, 0, 0);
        transfer(READ, 0, (void *)CODE, request.code_bytes);
        transfer(READ, 0, memory, request.memory_bytes);
        synchronize(CODE, request.code_bytes);
        *(u32 *)((u64)run + request.rounds_at) = request.rounds;
        run[63] = 1000;
        u64 result = ((u64(*)(void *, void *))CODE)(memory, run);
        transfer(WRITE, 1, &result, sizeof result);
        transfer(WRITE, 1, memory, request.memory_bytes);
    }
}

#if defined(__aarch64__)
__asm__(".globl _start\n_start: mov x29, #0\n b start\n");
#else
__asm__(".globl _start\n_start: li s0, 0\n j start\n");
#endif
