/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Wrong in one way: returns a pointer, where an error number is asked for; user space would
 * learn an address of the kernel.
 *
 *     bpf load /lib/bpf/bad_leak.o
 *
 * is refused: r0 is a pointer at the exit.
 */
#include "lemma.h"

SEC("hook/sys_enter")
int bad_leak(struct lemma_sys_enter *ctx)
{
    register void *result asm("r0");

    asm volatile("%0 = %1" : "=r"(result) : "r"(ctx));
    return (long)result;
}

char _license[] SEC("license") = "GPL";
