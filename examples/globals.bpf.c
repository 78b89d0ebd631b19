/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Global variables and a function of one's own: how much was written, and the largest write.
 *
 * Shows: constants in .rodata (which the verifier knows), variables in .data and .bss (which
 * are array maps that user space can read), and a static function, called and not inlined.
 *
 *     bpf load /lib/bpf/globals.o globals
 *     bpf attach globals
 *     bpf map dump .bss
 *
 * The dump shows the number of writes and the sum of their bytes; `bpf map dump .data` the
 * largest write so far, which is 1 to begin with; `bpf log` a line about the first one.
 */
#include "lemma.h"

/* `volatile`, so that the loader may still change it. */
const volatile __u64 watched = NR_WRITE;

__u64 largest = 1;
__u64 writes;
__u64 bytes;

static __noinline __u64 account(__u64 size)
{
    writes++;
    bytes += size;
    if (size > largest)
        largest = size;
    return writes;
}

SEC("hook/sys_enter")
int globals(struct lemma_sys_enter *ctx)
{
    if (ctx->nr == watched && account(ctx->args[2]) == 1)
        bpf_printk("first write, %llu bytes, by process %u", ctx->args[2], ctx->pid);
    return 0;
}

char _license[] SEC("license") = "GPL";
