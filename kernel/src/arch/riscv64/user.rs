//! Reaching memory that may not be there: user memory, and kernel addresses that a program
//! made up.
//!
//! The kernel's accesses reach users' pages only while `sstatus.SUM` is set, which only the copy
//! functions here do: a trap clears it, and its return sets it again. The instructions that may
//! fault have entries in the `.ex_table` section. As long as there are as many bytes, 256 are
//! dealt with at a time, then 64, then 8, then single ones; what is left when a block faults is
//! tried in smaller steps, so that the count of bytes not copied is exact. Addresses need no
//! alignment: main memory takes any, as the profiles for application processors demand (Zicclsm).

use core::arch::global_asm;

use super::asm::{exception, status};
pub(in crate::arch) use crate::arch::copy_by_side::{clear, copy, copy_unresolved};
use crate::arch::fixup::Fixup;

global_asm!(
    r#"
    .text

    // 64 bytes, by loads and stores of which some may fault; a fault goes on at `to`.
    .macro BLOCK_COPY from, end, at, to, kind
91: ld t0, \at + 0(a1)
    ld t1, \at + 8(a1)
    ld t2, \at + 16(a1)
    ld t3, \at + 24(a1)
    ld t4, \at + 32(a1)
    ld a3, \at + 40(a1)
    ld a4, \at + 48(a1)
    ld a5, \at + 56(a1)
92: sd t0, \at + 0(a0)
    sd t1, \at + 8(a0)
    sd t2, \at + 16(a0)
    sd t3, \at + 24(a0)
    sd t4, \at + 32(a0)
    sd a3, \at + 40(a0)
    sd a4, \at + 48(a0)
    sd a5, \at + 56(a0)
93:
    "#,
    exception!("\\from", "\\end", "\\to", "\\kind"),
    r#"
    .endm

    // 64 zeros to the user.
    .macro BLOCK_CLEAR at, to
91: sd zero, \at + 0(a0)
    sd zero, \at + 8(a0)
    sd zero, \at + 16(a0)
    sd zero, \at + 24(a0)
    sd zero, \at + 32(a0)
    sd zero, \at + 40(a0)
    sd zero, \at + 48(a0)
    sd zero, \at + 56(a0)
92:
    "#,
    exception!("91b", "92b", "\\to", "{resolve}"),
    r#"
    .endm

    // a0: to, a1: from, a2: bytes; returns the bytes not copied. Between the labels `from` and
    // `end` of a block, and the same of the steps behind it, are the accesses that may fault.
    // t6: the bit that opens users' memory, or none.
    .macro COPY name, open, from, end, word, word_end, byte, byte_end, kind
    .balign 16
    .global \name
\name:
    .if \open
    li t6, {user}
    csrs sstatus, t6
    .endif
    li t5, 64
    bltu a2, t5, 20f
    addi a2, a2, -256
    bltz a2, 12f
11: BLOCK_COPY \from, \end, 0, 19f, \kind
    BLOCK_COPY \from, \end, 64, 19f, \kind
    BLOCK_COPY \from, \end, 128, 19f, \kind
    BLOCK_COPY \from, \end, 192, 19f, \kind
    addi a0, a0, 256
    addi a1, a1, 256
    addi a2, a2, -256
    bgez a2, 11b
12: addi a2, a2, 256 - 64
    bltz a2, 14f
13: BLOCK_COPY \from, \end, 0, 14f, \kind
    addi a0, a0, 64
    addi a1, a1, 64
    addi a2, a2, -64
    bgez a2, 13b
14: addi a2, a2, 64
20: li t5, 8
    bltu a2, t5, 24f
21: ld t0, 0(a1)
22: sd t0, 0(a0)
23: addi a0, a0, 8
    addi a1, a1, 8
    addi a2, a2, -8
    bgeu a2, t5, 21b
24: beqz a2, 28f
25: lbu t0, 0(a1)
26: sb t0, 0(a0)
27: addi a0, a0, 1
    addi a1, a1, 1
    addi a2, a2, -1
    bnez a2, 25b
28:
    .if \open
    csrc sstatus, t6
    .endif
    mv a0, a2
    ret
19: addi a2, a2, 256
    j 20b
    "#,
    exception!("\\word", "\\word_end", "24b", "\\kind"),
    exception!("\\byte", "\\byte_end", "28b", "\\kind"),
    r#"
    .endm

    COPY copy_from_user_resolving, 1, 91b, 92b, 21b, 22b, 25b, 26b, {resolve}
    COPY copy_from_user_not_resolving, 1, 91b, 92b, 21b, 22b, 25b, 26b, {no_resolve}
    COPY copy_from_kernel_not_resolving, 0, 91b, 92b, 21b, 22b, 25b, 26b, {no_resolve}
    COPY copy_to_user_resolving, 1, 92b, 93b, 22b, 23b, 26b, 27b, {resolve}

    // a0: to, a1: bytes; returns the bytes not cleared.
    .balign 16
    .global clear_user_resolving
clear_user_resolving:
    li t6, {user}
    csrs sstatus, t6
    addi a1, a1, -256
    bltz a1, 19f
11: BLOCK_CLEAR 0, 19f
    BLOCK_CLEAR 64, 19f
    BLOCK_CLEAR 128, 19f
    BLOCK_CLEAR 192, 19f
    addi a0, a0, 256
    addi a1, a1, -256
    bgez a1, 11b
19: addi a1, a1, 256 - 8
    bltz a1, 23f
21: sd zero, 0(a0)
22: addi a0, a0, 8
    addi a1, a1, -8
    bgez a1, 21b
23: addi a1, a1, 8
    beqz a1, 26f
24: sb zero, 0(a0)
25: addi a0, a0, 1
    addi a1, a1, -1
    bnez a1, 24b
26: csrc sstatus, t6
    mv a0, a1
    ret
    "#,
    exception!("21b", "22b", "23b", "{resolve}"),
    exception!("24b", "25b", "26b", "{resolve}"),
    user = const status::USER_MEMORY,
    resolve = const Fixup::RESOLVE,
    no_resolve = const Fixup::NO_RESOLVE,
);
