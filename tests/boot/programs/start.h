/* What a C program needs where there is no C library: its first instructions, and system calls. The
 * numbers are Linux's. */

typedef unsigned long word;

int program(long argument_count, char **arguments);

#if defined(__x86_64__)
enum { OPENAT = 257, CLOSE = 3, READ = 0, WRITE = 1, FSYNC = 74, GETPID = 39, EXIT_GROUP = 231 };

static long call(long number, word a, word b, word c, word d) {
	register word r10 __asm__("r10") = d;
	long result;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return result;
}

__asm__(".globl _start\n"
	"_start: xor %ebp, %ebp\n"
	"mov %rsp, %rdi\n"
	"and $-16, %rsp\n"
	"call begin\n");
#elif defined(__aarch64__)
enum { OPENAT = 56, CLOSE = 57, READ = 63, WRITE = 64, FSYNC = 82, GETPID = 172, EXIT_GROUP = 94 };

static long call(long number, word a, word b, word c, word d) {
	register long x8 __asm__("x8") = number;
	register word x0 __asm__("x0") = a;
	register word x1 __asm__("x1") = b;
	register word x2 __asm__("x2") = c;
	register word x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return (long)x0;
}

__asm__(".globl _start\n"
	"_start: mov x29, xzr\n"
	"mov x30, xzr\n"
	"mov x0, sp\n"
	"bl begin\n");
#elif defined(__riscv)
enum { OPENAT = 56, CLOSE = 57, READ = 63, WRITE = 64, FSYNC = 82, GETPID = 172, EXIT_GROUP = 94 };

static long call(long number, word a, word b, word c, word d) {
	register long a7 __asm__("a7") = number;
	register word a0 __asm__("a0") = a;
	register word a1 __asm__("a1") = b;
	register word a2 __asm__("a2") = c;
	register word a3 __asm__("a3") = d;
	__asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3) : "memory");
	return (long)a0;
}

__asm__(".globl _start\n"
	"_start: .option push\n"
	".option norelax\n"
	"la gp, __global_pointer$\n"
	".option pop\n"
	"mv a0, sp\n"
	"call begin\n");
#endif

/* The stack as the kernel prepared it: the count, then the arguments. */
__attribute__((used)) static void begin(long *stack) {
	call(EXIT_GROUP, (word)program(*stack, (char **)(stack + 1)), 0, 0, 0);
	__builtin_trap();
}

static word length(const char *text) {
	word count = 0;
	while (text[count])
		count++;
	return count;
}

static int print(const char *text) {
	return call(WRITE, 1, (word)text, length(text), 0) == (long)length(text);
}
