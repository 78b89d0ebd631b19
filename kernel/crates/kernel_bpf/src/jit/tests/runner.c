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

/* What stands for a helper: every argument counts, and memory is written through the first. */
static u64 helper(u64 *a, u64 b, u64 c, u64 d, u64 e, u64 *run) {
    *a += 1;
    return *a + 3 * b + 5 * c + 7 * d + 11 * e + run[63];
}
static void helper_end(void) {}

static u64 memory[1 << 16];
static u64 run[64];

void start(void) {
    map(CODE, CODE_BYTES);
    for (int far = 0; far < 2; far++) {
        u64 at = far ? FAR : NEAR;
        map(at, 4096);
        volatile unsigned char *to = (unsigned char *)at;
        for (u64 from = (u64)helper; from < (u64)helper + 256; from++)
            *to++ = *(volatile unsigned char *)from;
        synchronize(at, 256);
    }
    (void)helper_end;
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
