/* The entry of a program. With GLOBAL the memory is a global variable, which a verifier knows
 * the size of; without, it is what the caller passes. */
#ifdef __bpf__
#define SEC(name) __attribute__((section(name), used))
#else
#define SEC(name)
#endif

#ifdef GLOBAL
u8 memory[MEMORY] __attribute__((aligned(8)));
SEC("license") char _license[] = "GPL";

SEC("tc") u64 entry(void *context) {
    return program(memory);
}
#else
SEC("raw_tp/bench") u64 entry(u8 *memory) {
    return program(memory);
}
#endif
