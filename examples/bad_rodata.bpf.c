/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Wrong in one way: writes to a constant.
 *
 *     bpf load /lib/bpf/bad_rodata.o
 *
 * is refused: the map of .rodata is read-only for programs.
 */
#include "lemma.h"

const volatile __u64 limit = 10;

SEC("hook/sys_enter")
int bad_rodata(struct lemma_sys_enter *ctx)
{
    *(volatile __u64 *)&limit = ctx->nr;
    return 0;
}

char _license[] SEC("license") = "GPL";
