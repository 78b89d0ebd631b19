/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Wrong in one way: reads beyond the end of its context.
 *
 *     bpf load /lib/bpf/bad_ctx.o
 *
 * is refused: the context of this hook has 32 bytes.
 */
#include "lemma.h"

SEC("hook/timer")
int bad_ctx(struct lemma_timer *ctx)
{
    __u64 beyond = *(volatile __u64 *)(ctx + 1);

    bpf_printk("%llu", beyond);
    return 0;
}

char _license[] SEC("license") = "GPL";
