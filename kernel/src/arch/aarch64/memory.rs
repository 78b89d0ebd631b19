//! `memset` and `memcpy`, which compiled code calls: 256 bytes at a time where there are as many,
//! then 64, then half as many for each bit of what is left. Those that come with the compiler go by
//! single words.

use core::arch::global_asm;

// x0: to, x1: a byte or from, x2: bytes; return x0.
global_asm!(
    r#"
    .text

    .macro FILL_64 at
    stp x1, x1, [x3, #\at]
    stp x1, x1, [x3, #\at + 16]
    stp x1, x1, [x3, #\at + 32]
    stp x1, x1, [x3, #\at + 48]
    .endm

    .macro MOVE_64 at
    ldp x4, x5, [x1, #\at]
    ldp x6, x7, [x1, #\at + 16]
    ldp x8, x9, [x1, #\at + 32]
    ldp x10, x11, [x1, #\at + 48]
    stp x4, x5, [x3, #\at]
    stp x6, x7, [x3, #\at + 16]
    stp x8, x9, [x3, #\at + 32]
    stp x10, x11, [x3, #\at + 48]
    .endm

    .balign 16
    .global memset
memset:
    mov x3, x0
    and x1, x1, #0xff
    mov x4, #0x0101010101010101
    mul x1, x1, x4
    cmp x2, #16
    b.lo 17f
    b 12f
11: strb w1, [x3], #1
    sub x2, x2, #1
12: tst x3, #7
    b.ne 11b
    subs x2, x2, #256
    b.lo 14f
13: FILL_64 0
    FILL_64 64
    FILL_64 128
    FILL_64 192
    add x3, x3, #256
    subs x2, x2, #256
    b.hs 13b
14: adds x2, x2, #256 - 64
    b.mi 16f
15: FILL_64 0
    add x3, x3, #64
    subs x2, x2, #64
    b.hs 15b
    // What is left, less 64: the lower bits are the same.
16: tbz x2, #5, 18f
    stp x1, x1, [x3], #16
    stp x1, x1, [x3], #16
18: tbz x2, #4, 17f
    stp x1, x1, [x3], #16
17: tbz x2, #3, 19f
    str x1, [x3], #8
19: tbz x2, #2, 20f
    str w1, [x3], #4
20: tbz x2, #1, 21f
    strh w1, [x3], #2
21: tbz x2, #0, 22f
    strb w1, [x3]
22: ret

    .balign 16
    .global memcpy
memcpy:
    mov x3, x0
    cmp x2, #16
    b.lo 17f
    b 12f
11: ldrb w4, [x1], #1
    strb w4, [x3], #1
    sub x2, x2, #1
12: tst x3, #7
    b.ne 11b
    subs x2, x2, #256
    b.lo 14f
13: MOVE_64 0
    MOVE_64 64
    MOVE_64 128
    MOVE_64 192
    add x1, x1, #256
    add x3, x3, #256
    subs x2, x2, #256
    b.hs 13b
14: adds x2, x2, #256 - 64
    b.mi 16f
15: MOVE_64 0
    add x1, x1, #64
    add x3, x3, #64
    subs x2, x2, #64
    b.hs 15b
16: tbz x2, #5, 18f
    ldp x4, x5, [x1], #16
    ldp x6, x7, [x1], #16
    stp x4, x5, [x3], #16
    stp x6, x7, [x3], #16
18: tbz x2, #4, 17f
    ldp x4, x5, [x1], #16
    stp x4, x5, [x3], #16
17: tbz x2, #3, 19f
    ldr x4, [x1], #8
    str x4, [x3], #8
19: tbz x2, #2, 20f
    ldr w4, [x1], #4
    str w4, [x3], #4
20: tbz x2, #1, 21f
    ldrh w4, [x1], #2
    strh w4, [x3], #2
21: tbz x2, #0, 22f
    ldrb w4, [x1]
    strb w4, [x3]
22: ret
    "#
);
