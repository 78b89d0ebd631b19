/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Wrong in one way: calls a helper that does not exist.
 *
 *     bpf load /lib/bpf/bad_helper.o
 *
 * is refused: there is no helper with this number.
 */
#include "lemma.h"

static long (*const bpf_format_the_disk)(void) = (void *)9999;

SEC("hook/sys_enter")
int bad_helper(struct lemma_sys_enter *ctx)
{
    bpf_format_the_disk();
    return 0;
}

char _license[] SEC("license") = "GPL";
