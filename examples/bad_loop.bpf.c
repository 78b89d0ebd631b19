/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Wrong in one way: a loop that may never end.
 *
 *     bpf load /lib/bpf/bad_loop.o
 *
 * is refused: no bound can be found for the loop.
 */
#include "lemma.h"

SEC("hook/sys_enter")
int bad_loop(struct lemma_sys_enter *ctx)
{
    /* Nothing changes from one round to the next but a number that is random each time. */
    while (bpf_get_prandom_u32() != 42)
        ;
    return 0;
}

char _license[] SEC("license") = "GPL";
