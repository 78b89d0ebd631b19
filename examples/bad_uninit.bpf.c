/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Wrong in one way: uses a register that was never written.
 *
 *     bpf load /lib/bpf/bad_uninit.o
 *
 * is refused: r6 has no value at this point.
 */
#include "lemma.h"

SEC("hook/sys_enter")
int bad_uninit(struct lemma_sys_enter *ctx)
{
    __u64 value;

    /* The compiler would make something up; the machine instruction says what is meant. */
    asm volatile("%0 = r6" : "=r"(value));
    return value ? 0 : -1;
}

char _license[] SEC("license") = "GPL";
