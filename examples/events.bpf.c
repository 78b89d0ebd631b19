/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A stream of events to user space: every system call that failed, with who made it.
 *
 * Shows: a ring buffer; a record that is reserved, filled in place and submitted (the verifier
 * refuses a program that forgets it on any path); the name of the running task.
 *
 *     bpf load /lib/bpf/events.o events
 *     bpf attach events
 *     cat /no/such/file
 *     bpf events failures 1
 *
 * Each failed call is a record of 32 bytes: pid, number, result, name. That of `cat` has the
 * number of open (2 on x86_64) or, where there is none, of openat (56), the result -2 (ENOENT)
 * and the name "cat"; calls that fail by design, such as a search for a name, are among them too.
 */
#include "lemma.h"

struct event {
    __u32 pid;
    __u32 nr;
    __s64 result;
    char name[16];
};

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 64 * 1024);
} failures SEC(".maps");

/* Keeps the record's type in the object's BTF, for tools that print records by it. */
struct event *unused_event __attribute__((unused));

SEC("hook/sys_exit")
int events(struct lemma_sys_exit *ctx)
{
    struct event *event;

    if (ctx->ret >= 0 || ctx->ret < -4095)
        return 0;
    event = bpf_ringbuf_reserve(&failures, sizeof(*event), 0);
    if (!event)
        return 0;
    event->pid = ctx->pid;
    event->nr = ctx->nr;
    event->result = ctx->ret;
    bpf_get_current_comm(event->name, sizeof(event->name));
    bpf_ringbuf_submit(event, 0);
    return 0;
}

char _license[] SEC("license") = "GPL";
