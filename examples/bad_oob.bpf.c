/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Wrong in one way: a bound that is off by one, so the last index lies behind the map's value.
 *
 *     bpf load /lib/bpf/bad_oob.o
 *
 * is refused: the value has 64 bytes, and the access may be to 8 bytes at offset 64.
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

    __u64 nr = ctx->nr;

    /* The right way: `nr < 8`. */
    if (table && nr <= 8)
        table->slots[nr]++;
    return 0;
}

char _license[] SEC("license") = "GPL";
