/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The contexts of Lemma's own hooks (SEC("hook/NAME")), and of the tracepoints that they share
 * with Linux. The kernel declares the hooks in kernel/crates/kernel_bpf/src/hook.rs; what a
 * program may read, and what it may return, is checked against that declaration.
 */
#ifndef LEMMA_H
#define LEMMA_H

#include "bpf_helpers.h"

/* The number of write(2), which is each machine's own. Which machine it is, the command line of
 * the compiler says, in libbpf's words; x86_64 where it does not. */
#if defined(__TARGET_ARCH_arm64) || defined(__TARGET_ARCH_riscv)
#define NR_WRITE 64
#else
#define NR_WRITE 1
#endif

/* hook/timer: each timer interrupt. Only observes: returns 0. */
struct lemma_timer {
    __u64 now_ns;
    /* When the interrupt was due; 0 for none. */
    __u64 deadline_ns;
    __u64 period_ns;
    __u32 cpu;
    /* Whether the interrupt came while user code ran. */
    __u32 user_mode;
};

/* hook/sys_enter: each system call, before it runs. Returns 0 to let it pass, or a negative
 * error number (-4095 to -1), which the caller gets instead. */
struct lemma_sys_enter {
    __u64 nr;
    __u64 args[6];
    __u32 pid;
    __u32 tid;
};

/* hook/sys_exit: each system call, after it ran. Only observes: returns 0. */
struct lemma_sys_exit {
    __u64 nr;
    __s64 ret;
    __u32 pid;
    __u32 tid;
};

/* raw_tp/sys_enter and raw_tp/sys_exit, as on Linux: args[0] is where the registers are;
 * args[1] is the system call's number, or its result. */
struct bpf_raw_tracepoint_args {
    __u64 args[2];
};

#endif
