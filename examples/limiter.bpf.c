/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Limits how often each process may make a chosen system call: after that many, the call fails
 * with a chosen error.
 *
 * Shows: a program that decides. What it returns is checked by the kernel; without an entry in
 * `config` it lets everything pass.
 *
 *     bpf load /lib/bpf/limiter.o limiter
 *     bpf map update config 0 83 3 1
 *     bpf attach limiter
 *
 * The three numbers are the system call (83: mkdir, 258: mkdirat), how many calls each process
 * has, and the error number (1: EPERM). From then on the fourth call of one process fails:
 *
 *     mkdir /tmp/a /tmp/b /tmp/c /tmp/d
 *     mkdir: /tmp/d: Operation not permitted
 */
#include "lemma.h"

struct config {
    __u64 nr;
    __u64 limit;
    __u64 error;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct config);
} config SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1024);
    __type(key, __u32);
    __type(value, __u64);
} calls SEC(".maps");

SEC("hook/sys_enter")
int limiter(struct lemma_sys_enter *ctx)
{
    __u32 zero = 0, pid = ctx->pid;
    struct config *rule = bpf_map_lookup_elem(&config, &zero);
    __u64 *count, error, one = 1;

    /* A limit of 0 is none: nobody has written the rule yet. */
    if (!rule || !rule->limit || rule->nr != ctx->nr)
        return 0;
    count = bpf_map_lookup_elem(&calls, &pid);
    if (!count) {
        bpf_map_update_elem(&calls, &pid, &one, BPF_NOEXIST);
        return 0;
    }
    if (__sync_fetch_and_add(count, 1) < rule->limit)
        return 0;
    error = rule->error;
    /* The verifier wants to see that the answer is an error number. */
    if (error < 1 || error > 4095)
        return 0;
    return -(int)error;
}

char _license[] SEC("license") = "GPL";
