/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Counts system calls by number, in a hash map that user space reads at any time.
 *
 * Shows: a raw tracepoint (the same program loads on Linux), a hash map, the null check that
 * every lookup needs, an atomic addition.
 *
 *     bpf load /lib/bpf/syscount.o syscount
 *     bpf attach syscount sys_enter
 *     bpf map dump counts
 *
 * The dump has one line for each number of a system call that was made since, with how often.
 * That of 1 (write) is among them, and grows from one dump to the next, because printing writes.
 */
#include "lemma.h"

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 512);
    __type(key, __u32);
    __type(value, __u64);
} counts SEC(".maps");

SEC("raw_tp/sys_enter")
int syscount(struct bpf_raw_tracepoint_args *ctx)
{
    __u32 nr = ctx->args[1];
    __u64 *count = bpf_map_lookup_elem(&counts, &nr);

    if (count) {
        __sync_fetch_and_add(count, 1);
    } else {
        __u64 one = 1;
        bpf_map_update_elem(&counts, &nr, &one, BPF_NOEXIST);
    }
    return 0;
}

char _license[] SEC("license") = "GPL";
