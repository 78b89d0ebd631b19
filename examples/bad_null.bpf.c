/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Wrong in one way: uses the result of a lookup without asking whether there is one.
 *
 *     bpf load /lib/bpf/bad_null.o
 *
 * is refused: the pointer may be null; check it first.
 */
#include "lemma.h"

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, __u64);
} counts SEC(".maps");

SEC("hook/sys_enter")
int bad_null(struct lemma_sys_enter *ctx)
{
    __u32 nr = ctx->nr;
    __u64 *count = bpf_map_lookup_elem(&counts, &nr);

    /* The right way: `if (count)` before it. */
    __sync_fetch_and_add(count, 1);
    return 0;
}

char _license[] SEC("license") = "GPL";
