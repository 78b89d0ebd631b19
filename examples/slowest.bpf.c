/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The longest time that each system call has taken, in nanoseconds, by number.
 *
 * Shows: task storage, a value of each thread's own, which goes with the thread; two programs in
 * one object that share maps.
 *
 *     bpf load /lib/bpf/slowest.o slowest
 *     bpf attach call_starts
 *     bpf attach call_ends
 *     bpf map dump slowest
 *     key: 1  value: 81200
 *     ...
 */
#include "lemma.h"

struct call {
    __u64 nr;
    __u64 start;
};

struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct call);
} running SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 512);
    __type(key, __u64);
    __type(value, __u64);
} slowest SEC(".maps");

SEC("hook/sys_enter")
int call_starts(struct lemma_sys_enter *ctx)
{
    struct call *call = bpf_task_storage_get(&running, bpf_get_current_task_btf(), 0,
                                             BPF_LOCAL_STORAGE_GET_F_CREATE);

    if (call) {
        call->nr = ctx->nr;
        call->start = bpf_ktime_get_ns();
    }
    return 0;
}

SEC("hook/sys_exit")
int call_ends(struct lemma_sys_exit *ctx)
{
    struct call *call = bpf_task_storage_get(&running, bpf_get_current_task_btf(), 0, 0);
    __u64 nr = ctx->nr, took, *longest;

    /* A call that began before the program was attached, or in another thread: fork. */
    if (!call || !call->start || call->nr != nr)
        return 0;
    took = bpf_ktime_get_ns() - call->start;
    call->start = 0;
    longest = bpf_map_lookup_elem(&slowest, &nr);
    if (!longest)
        bpf_map_update_elem(&slowest, &nr, &took, BPF_NOEXIST);
    else if (took > *longest)
        *longest = took;
    return 0;
}

char _license[] SEC("license") = "GPL";
