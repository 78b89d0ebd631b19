//! `memset` and `memcpy`, which compiled code calls: 256 bytes at a time where there are as many,
//! then 64, then half as many for each bit of what is left. Those that come with the compiler go by
//! single words.
//!
//! Every access is aligned, because firmware may have to do those that are not, one by one. Where
//! source and target cannot both be, words of the target are put together from two of the source.

use core::arch::global_asm;

// a0: to, a1: a byte or from, a2: bytes; return a0.
global_asm!(
    r#"
    .text

    .macro FILL_64 at
    sd a1, \at + 0(a3)
    sd a1, \at + 8(a3)
    sd a1, \at + 16(a3)
    sd a1, \at + 24(a3)
    sd a1, \at + 32(a3)
    sd a1, \at + 40(a3)
    sd a1, \at + 48(a3)
    sd a1, \at + 56(a3)
    .endm

    .macro MOVE_64 at
    ld t0, \at + 0(a1)
    ld t1, \at + 8(a1)
    ld t2, \at + 16(a1)
    ld t3, \at + 24(a1)
    ld t4, \at + 32(a1)
    ld t5, \at + 40(a1)
    ld t6, \at + 48(a1)
    ld a4, \at + 56(a1)
    sd t0, \at + 0(a3)
    sd t1, \at + 8(a3)
    sd t2, \at + 16(a3)
    sd t3, \at + 24(a3)
    sd t4, \at + 32(a3)
    sd t5, \at + 40(a3)
    sd t6, \at + 48(a3)
    sd a4, \at + 56(a3)
    .endm

    .balign 16
    .global memset
memset:
    mv a3, a0
    li t0, 16
    bltu a2, t0, 17f
    andi a1, a1, 0xff
    slli t0, a1, 8
    or a1, a1, t0
    slli t0, a1, 16
    or a1, a1, t0
    slli t0, a1, 32
    or a1, a1, t0
    j 12f
11: sb a1, 0(a3)
    addi a3, a3, 1
    addi a2, a2, -1
12: andi t0, a3, 7
    bnez t0, 11b
    addi a2, a2, -256
    bltz a2, 14f
13: FILL_64 0
    FILL_64 64
    FILL_64 128
    FILL_64 192
    addi a3, a3, 256
    addi a2, a2, -256
    bgez a2, 13b
14: addi a2, a2, 256 - 64
    bltz a2, 16f
15: FILL_64 0
    addi a3, a3, 64
    addi a2, a2, -64
    bgez a2, 15b
    // What is left, less 64: the lower bits are the same.
16: andi t0, a2, 32
    beqz t0, 18f
    sd a1, 0(a3)
    sd a1, 8(a3)
    sd a1, 16(a3)
    sd a1, 24(a3)
    addi a3, a3, 32
18: andi t0, a2, 16
    beqz t0, 19f
    sd a1, 0(a3)
    sd a1, 8(a3)
    addi a3, a3, 16
19: andi t0, a2, 8
    beqz t0, 20f
    sd a1, 0(a3)
    addi a3, a3, 8
20: andi a2, a2, 7
17: beqz a2, 21f
22: sb a1, 0(a3)
    addi a3, a3, 1
    addi a2, a2, -1
    bnez a2, 22b
21: ret

    .balign 16
    .global memcpy
memcpy:
    mv a3, a0
    li t0, 16
    bltu a2, t0, 17f
    j 12f
11: lbu t0, 0(a1)
    sb t0, 0(a3)
    addi a1, a1, 1
    addi a3, a3, 1
    addi a2, a2, -1
12: andi t0, a3, 7
    bnez t0, 11b
    andi t0, a1, 7
    bnez t0, 22f
    addi a2, a2, -256
    bltz a2, 14f
13: MOVE_64 0
    MOVE_64 64
    MOVE_64 128
    MOVE_64 192
    addi a1, a1, 256
    addi a3, a3, 256
    addi a2, a2, -256
    bgez a2, 13b
14: addi a2, a2, 256 - 64
    bltz a2, 16f
15: MOVE_64 0
    addi a1, a1, 64
    addi a3, a3, 64
    addi a2, a2, -64
    bgez a2, 15b
16: andi t0, a2, 32
    beqz t0, 18f
    ld t1, 0(a1)
    ld t2, 8(a1)
    ld t3, 16(a1)
    ld t4, 24(a1)
    sd t1, 0(a3)
    sd t2, 8(a3)
    sd t3, 16(a3)
    sd t4, 24(a3)
    addi a1, a1, 32
    addi a3, a3, 32
18: andi t0, a2, 16
    beqz t0, 19f
    ld t1, 0(a1)
    ld t2, 8(a1)
    sd t1, 0(a3)
    sd t2, 8(a3)
    addi a1, a1, 16
    addi a3, a3, 16
19: andi t0, a2, 8
    beqz t0, 20f
    ld t1, 0(a1)
    sd t1, 0(a3)
    addi a1, a1, 8
    addi a3, a3, 8
20: andi t0, a2, 4
    beqz t0, 27f
    lw t1, 0(a1)
    sw t1, 0(a3)
    addi a1, a1, 4
    addi a3, a3, 4
27: andi t0, a2, 2
    beqz t0, 28f
    lh t1, 0(a1)
    sh t1, 0(a3)
    addi a1, a1, 2
    addi a3, a3, 2
28: andi t0, a2, 1
    beqz t0, 21f
    lb t1, 0(a1)
    sb t1, 0(a3)
    ret
    // Fewer than 16, from and to anywhere.
17: or t0, a1, a3
    andi t0, t0, 7
    beqz t0, 19b
25: beqz a2, 21f
26: lbu t0, 0(a1)
    sb t0, 0(a3)
    addi a1, a1, 1
    addi a3, a3, 1
    addi a2, a2, -1
    bnez a2, 26b
21: ret

    // t0: how far the source is behind a word, whose upper bytes are in t3. Shifts take the lower
    // six bits of their number.
22: slli t1, t0, 3
    neg t2, t1
    sub a1, a1, t0
    ld t3, 0(a1)
    addi a2, a2, -8
    bltz a2, 24f
23: ld t4, 8(a1)
    srl t3, t3, t1
    sll t5, t4, t2
    or t3, t3, t5
    sd t3, 0(a3)
    mv t3, t4
    addi a1, a1, 8
    addi a3, a3, 8
    addi a2, a2, -8
    bgez a2, 23b
24: add a1, a1, t0
    addi a2, a2, 8
    j 25b
    "#
);
