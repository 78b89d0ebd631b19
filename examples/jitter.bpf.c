/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How late does the timer interrupt come? A histogram in powers of two, in an array.
 *
 * Shows: one of Lemma's own hooks, which runs in interrupt context; an array map; arithmetic
 * in place of a loop.
 *
 *     bpf load /lib/bpf/jitter.o jitter
 *     bpf attach jitter
 *     bpf map dump lateness
 *
 * The dump has 32 lines. Key K counts the interrupts that came at least 2^K and less than
 * 2^(K+1) nanoseconds after they were due (0: in time); their sum grows with every tick.
 */
#include "lemma.h"

#define BUCKETS 32

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, BUCKETS);
    __type(key, __u32);
    __type(value, __u64);
} lateness SEC(".maps");

static __always_inline __u32 log2_floor(__u32 value)
{
    __u32 result = (value > 0xffff) << 4;
    __u32 shift;

    value >>= result;
    shift = (value > 0xff) << 3;
    value >>= shift;
    result |= shift;
    shift = (value > 0xf) << 2;
    value >>= shift;
    result |= shift;
    shift = (value > 0x3) << 1;
    value >>= shift;
    return result | shift | value >> 1;
}

SEC("hook/timer")
int jitter(struct lemma_timer *ctx)
{
    __u64 late = ctx->now_ns - ctx->deadline_ns;
    __u32 bucket;
    __u64 *count;

    /* Not due, or early: clocks are read one after the other. */
    if (!ctx->deadline_ns || ctx->now_ns < ctx->deadline_ns)
        return 0;
    bucket = late > 0xffffffff ? BUCKETS - 1 : log2_floor(late);
    count = bpf_map_lookup_elem(&lateness, &bucket);
    if (count)
        __sync_fetch_and_add(count, 1);
    return 0;
}

char _license[] SEC("license") = "GPL";
