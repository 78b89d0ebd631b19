/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Wrong in one way: reads past the end of a map's value, with an index that nobody checked.
 *
 *     bpf load /lib/bpf/bad_oob.o /sys/fs/bpf/bad
 *
 * is refused: the value has 64 bytes and the access may lie beyond them.
 */
#include "lemma.h"

struct table {
    __u64 slots[8];
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct table);
} tables SEC(".maps");

SEC("hook/sys_enter")
int bad_oob(struct lemma_sys_enter *ctx)
{
    __u32 zero = 0;
    struct table *table = bpf_map_lookup_elem(&tables, &zero);

    if (!table)
        return 0;
    /* The right way: `if (ctx->nr < 8)` around it. */
    table->slots[ctx->nr]++;
    return 0;
}

char _license[] SEC("license") = "GPL";
