//! Reaching memory that may not be there: user memory, and kernel addresses that a program
//! made up.
//!
//! User memory is reached by LDTR and STTR, which have a user's rights: so a user's address that
//! leads to the kernel faults, and PSTATE.PAN stays set. Only blocks of 256 bytes, as long as there
//! are so many, are copied and cleared by LDP and STP, with PAN clear; that the addresses are a
//! user's was checked before. Then come 64 bytes at a time, then 8, then single ones. The
//! instructions that may fault have entries in the `.ex_table` section; what is left when a block
//! faults is tried in smaller steps, so that the count of bytes not copied is exact.

use core::arch::global_asm;
use core::mem::offset_of;

use super::asm::exception;
use super::cpu::{FEATURES, Features};
pub(in crate::arch) use crate::arch::copy_by_side::{clear, copy, copy_unresolved};
use crate::arch::fixup::Fixup;

global_asm!(
    r#"
    .text

    // Opens users' memory to LDP and STP, which are open to it where there is no PAN. MSR PAN, which
    // assemblers know from Armv8.1 on. x11: whether there is one.
    .macro OPEN
    adrp x11, {features} + {pan}
    ldrb w11, [x11, :lo12:{features} + {pan}]
    cbz w11, 91f
    .inst 0xd500409f
91:
    .endm
    .macro CLOSE
    cbz w11, 91f
    .inst 0xd500419f
91:
    .endm

    // 64 bytes, by loads and stores of which some may fault, between the labels `from` and `end`; a
    // fault goes on at label 19.
    .macro BULK from, end, at, kind
91: ldp x3, x4, [x1, #\at]
    ldp x5, x6, [x1, #\at + 16]
    ldp x7, x8, [x1, #\at + 32]
    ldp x9, x10, [x1, #\at + 48]
92: stp x3, x4, [x0, #\at]
    stp x5, x6, [x0, #\at + 16]
    stp x7, x8, [x0, #\at + 32]
    stp x9, x10, [x0, #\at + 48]
93:
    "#,
    exception!("\\from", "\\end", "19f", "\\kind"),
    r#"
    .endm

    // Blocks of 256 bytes of x2; what is left then is less by 256.
    .macro BULKS from, end, kind
11: BULK \from, \end, 0, \kind
    BULK \from, \end, 64, \kind
    BULK \from, \end, 128, \kind
    BULK \from, \end, 192, \kind
    add x0, x0, #256
    add x1, x1, #256
    subs x2, x2, #256
    b.hs 11b
    .endm

    // 64 bytes into the kernel, by a load that may fault; a fault goes on at `to`.
    .macro BLOCK_IN load, at, to, kind
91: \load x3, [x1, #\at]
    \load x4, [x1, #\at + 8]
    \load x5, [x1, #\at + 16]
    \load x6, [x1, #\at + 24]
    \load x7, [x1, #\at + 32]
    \load x8, [x1, #\at + 40]
    \load x9, [x1, #\at + 48]
    \load x10, [x1, #\at + 56]
92: stp x3, x4, [x0, #\at]
    stp x5, x6, [x0, #\at + 16]
    stp x7, x8, [x0, #\at + 32]
    stp x9, x10, [x0, #\at + 48]
    "#,
    exception!("91b", "92b", "\\to", "\\kind"),
    r#"
    .endm

    // 64 bytes to the user.
    .macro BLOCK_OUT at, to
    ldp x3, x4, [x1, #\at]
    ldp x5, x6, [x1, #\at + 16]
    ldp x7, x8, [x1, #\at + 32]
    ldp x9, x10, [x1, #\at + 48]
91: sttr x3, [x0, #\at]
    sttr x4, [x0, #\at + 8]
    sttr x5, [x0, #\at + 16]
    sttr x6, [x0, #\at + 24]
    sttr x7, [x0, #\at + 32]
    sttr x8, [x0, #\at + 40]
    sttr x9, [x0, #\at + 48]
    sttr x10, [x0, #\at + 56]
92:
    "#,
    exception!("91b", "92b", "\\to", "{resolve}"),
    r#"
    .endm

    // x0: to, x1: from, x2: bytes; returns the bytes not copied.
    .macro COPY_IN name, load, load_byte, kind
    .balign 16
    .global \name
\name:
    cmp x2, #64
    b.lo 20f
    subs x2, x2, #256
    b.lo 12f
    OPEN
    BULKS 91b, 92b, \kind
    CLOSE
12: adds x2, x2, #256 - 64
    b.mi 14f
13: BLOCK_IN \load, 0, 14f, \kind
    add x0, x0, #64
    add x1, x1, #64
    subs x2, x2, #64
    b.hs 13b
14: add x2, x2, #64
20: subs x2, x2, #8
    b.lo 23f
21: \load x3, [x1]
22: str x3, [x0], #8
    add x1, x1, #8
    subs x2, x2, #8
    b.hs 21b
23: adds x2, x2, #8
    b.eq 26f
24: \load_byte w3, [x1]
25: strb w3, [x0], #1
    add x1, x1, #1
    subs x2, x2, #1
    b.ne 24b
26: mov x0, x2
    ret
19: CLOSE
    add x2, x2, #256
    b 20b
    "#,
    exception!("21b", "22b", "23b", "\\kind"),
    exception!("24b", "25b", "26b", "\\kind"),
    r#"
    .endm

    COPY_IN copy_from_user_resolving, ldtr, ldtrb, {resolve}
    COPY_IN copy_from_user_not_resolving, ldtr, ldtrb, {no_resolve}
    COPY_IN copy_from_kernel_not_resolving, ldur, ldrb, {no_resolve}

    // The same to the user.
    .balign 16
    .global copy_to_user_resolving
copy_to_user_resolving:
    cmp x2, #64
    b.lo 20f
    subs x2, x2, #256
    b.lo 12f
    OPEN
    BULKS 92b, 93b, {resolve}
    CLOSE
12: adds x2, x2, #256 - 64
    b.mi 14f
13: BLOCK_OUT 0, 14f
    add x0, x0, #64
    add x1, x1, #64
    subs x2, x2, #64
    b.hs 13b
14: add x2, x2, #64
20: subs x2, x2, #8
    b.lo 23f
15: ldr x3, [x1]
21: sttr x3, [x0]
22: add x0, x0, #8
    add x1, x1, #8
    subs x2, x2, #8
    b.hs 15b
23: adds x2, x2, #8
    b.eq 26f
16: ldrb w3, [x1]
24: sttrb w3, [x0]
25: add x0, x0, #1
    add x1, x1, #1
    subs x2, x2, #1
    b.ne 16b
26: mov x0, x2
    ret
19: CLOSE
    add x2, x2, #256
    b 20b
    "#,
    exception!("21b", "22b", "23b", "{resolve}"),
    exception!("24b", "25b", "26b", "{resolve}"),
    r#"

    // x0: to, x1: bytes; returns the bytes not cleared.
    .balign 16
    .global clear_user_resolving
clear_user_resolving:
    subs x1, x1, #256
    b.lo 13f
    OPEN
11: .irp at, 0, 64, 128, 192
    stp xzr, xzr, [x0, #\at]
    stp xzr, xzr, [x0, #\at + 16]
    stp xzr, xzr, [x0, #\at + 32]
    stp xzr, xzr, [x0, #\at + 48]
    .endr
12: add x0, x0, #256
    subs x1, x1, #256
    b.hs 11b
19: CLOSE
13: adds x1, x1, #256 - 8
    b.mi 23f
21: sttr xzr, [x0]
22: add x0, x0, #8
    subs x1, x1, #8
    b.hs 21b
23: adds x1, x1, #8
    b.eq 26f
24: sttrb wzr, [x0]
25: add x0, x0, #1
    subs x1, x1, #1
    b.ne 24b
26: mov x0, x1
    ret
    "#,
    exception!("11b", "12b", "19b", "{resolve}"),
    exception!("21b", "22b", "23b", "{resolve}"),
    exception!("24b", "25b", "26b", "{resolve}"),
    features = sym FEATURES,
    pan = const offset_of!(Features, pan),
    resolve = const Fixup::RESOLVE,
    no_resolve = const Fixup::NO_RESOLVE,
);
