//! Reaching memory that may not be there: user memory, and kernel addresses that a program
//! made up.
//!
//! User memory is reached by LDTR and STTR alone, which have a user's rights: so a user's
//! address that leads to the kernel faults, and PSTATE.PAN stays set. Each instruction that may
//! fault has an entry in the `.ex_table` section. Eight bytes per step, sixty-four where there
//! are as many; a step that faults is taken again in smaller ones, so that the count of bytes
//! not copied is exact.

use core::arch::global_asm;

use super::asm::exception;
pub(in crate::arch) use crate::arch::copy_by_side::{clear, copy, copy_unresolved};
use crate::arch::fixup::Fixup;

/// Into the kernel: x0: to, x1: from, x2: bytes; returns the bytes not copied. `$load` is the
/// instruction that may fault.
macro_rules! copy_in {
    ($name:literal, $load:literal, $kind:literal) => {
        concat!(
            ".balign 16\n.global ",
            $name,
            "\n",
            $name,
            ":\n",
            "cmp x2, #64\n",
            "b.lo 20f\n",
            "11: ",
            $load,
            " x3, [x1, #0]\n",
            "12: ",
            $load,
            " x4, [x1, #8]\n",
            "13: ",
            $load,
            " x5, [x1, #16]\n",
            "14: ",
            $load,
            " x6, [x1, #24]\n",
            "15: ",
            $load,
            " x7, [x1, #32]\n",
            "16: ",
            $load,
            " x8, [x1, #40]\n",
            "17: ",
            $load,
            " x9, [x1, #48]\n",
            "18: ",
            $load,
            " x10, [x1, #56]\n",
            "stp x3, x4, [x0, #0]\n",
            "stp x5, x6, [x0, #16]\n",
            "stp x7, x8, [x0, #32]\n",
            "stp x9, x10, [x0, #48]\n",
            "add x0, x0, #64\n",
            "add x1, x1, #64\n",
            "sub x2, x2, #64\n",
            "cmp x2, #64\n",
            "b.hs 11b\n",
            "20: cmp x2, #8\n",
            "b.lo 22f\n",
            "21: ",
            $load,
            " x3, [x1]\n",
            "str x3, [x0], #8\n",
            "add x1, x1, #8\n",
            "sub x2, x2, #8\n",
            "b 20b\n",
            "22: cbz x2, 24f\n",
            "23: ",
            $load,
            "b w3, [x1]\n",
            "strb w3, [x0], #1\n",
            "add x1, x1, #1\n",
            "sub x2, x2, #1\n",
            "b 22b\n",
            "24: mov x0, x2\n",
            "ret\n",
            exception!("11b", "20b", $kind),
            exception!("12b", "20b", $kind),
            exception!("13b", "20b", $kind),
            exception!("14b", "20b", $kind),
            exception!("15b", "20b", $kind),
            exception!("16b", "20b", $kind),
            exception!("17b", "20b", $kind),
            exception!("18b", "20b", $kind),
            exception!("21b", "22b", $kind),
            exception!("23b", "24b", $kind),
        )
    };
}

// To user memory: x0: to, x1: from, x2: bytes; returns the bytes not copied. And zeros: x0: to,
// x1: bytes.
global_asm!(
    ".text",
    copy_in!("copy_from_user_resolving", "ldtr", "{resolve}"),
    copy_in!("copy_from_user_not_resolving", "ldtr", "{no_resolve}"),
    copy_in!("copy_from_kernel_not_resolving", "ldr", "{no_resolve}"),
    "
    .balign 16
    .global copy_to_user_resolving
copy_to_user_resolving:
    cmp x2, #64
    b.lo 30f
41: ldp x3, x4, [x1, #0]
    ldp x5, x6, [x1, #16]
    ldp x7, x8, [x1, #32]
    ldp x9, x10, [x1, #48]
31: sttr x3, [x0, #0]
32: sttr x4, [x0, #8]
33: sttr x5, [x0, #16]
34: sttr x6, [x0, #24]
35: sttr x7, [x0, #32]
36: sttr x8, [x0, #40]
37: sttr x9, [x0, #48]
38: sttr x10, [x0, #56]
    add x0, x0, #64
    add x1, x1, #64
    sub x2, x2, #64
    cmp x2, #64
    b.hs 41b
30: cmp x2, #8
    b.lo 42f
    ldr x3, [x1]
43: sttr x3, [x0]
    add x0, x0, #8
    add x1, x1, #8
    sub x2, x2, #8
    b 30b
42: cbz x2, 45f
    ldrb w3, [x1]
44: sttrb w3, [x0]
    add x0, x0, #1
    add x1, x1, #1
    sub x2, x2, #1
    b 42b
45: mov x0, x2
    ret
    ",
    exception!("31b", "30b", "{resolve}"),
    exception!("32b", "30b", "{resolve}"),
    exception!("33b", "30b", "{resolve}"),
    exception!("34b", "30b", "{resolve}"),
    exception!("35b", "30b", "{resolve}"),
    exception!("36b", "30b", "{resolve}"),
    exception!("37b", "30b", "{resolve}"),
    exception!("38b", "30b", "{resolve}"),
    exception!("43b", "42b", "{resolve}"),
    exception!("44b", "45b", "{resolve}"),
    "
    .balign 16
    .global clear_user_resolving
clear_user_resolving:
50: cmp x1, #8
    b.lo 52f
51: sttr xzr, [x0]
    add x0, x0, #8
    sub x1, x1, #8
    b 50b
52: cbz x1, 54f
53: sttrb wzr, [x0]
    add x0, x0, #1
    sub x1, x1, #1
    b 52b
54: mov x0, x1
    ret
    ",
    exception!("51b", "52b", "{resolve}"),
    exception!("53b", "54b", "{resolve}"),
    resolve = const Fixup::RESOLVE,
    no_resolve = const Fixup::NO_RESOLVE,
);
