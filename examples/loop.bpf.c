/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A loop with a bound: finds the largest of a system call's arguments and the number of bits
 * that are set in it.
 *
 * Shows: loops that the verifier follows round by round, and the worst-case bound that it
 * computes from them.
 *
 *     bpf load /lib/bpf/loop.o loop
 *     bpf attach loop
 *     bpf map dump widest
 *
 * `load` prints the worst case, some hundred instructions. The dump has 65 lines: how many calls
 * had so many bits set in their largest argument.
 */
#include "lemma.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 65);
    __type(key, __u32);
    __type(value, __u64);
} widest SEC(".maps");

SEC("hook/sys_enter")
int loop(struct lemma_sys_enter *ctx)
{
    __u64 largest = 0, *count;
    __u32 bits = 0;

    for (int i = 0; i < 6; i++)
        if (ctx->args[i] > largest)
            largest = ctx->args[i];
#pragma clang loop unroll(disable)
    for (int i = 0; i < 64; i++)
        bits += largest >> i & 1;
    count = bpf_map_lookup_elem(&widest, &bits);
    if (count)
        __sync_fetch_and_add(count, 1);
    return 0;
}

char _license[] SEC("license") = "GPL";
