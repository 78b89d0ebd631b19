//! Reaching memory that may not be there: user memory, and kernel addresses that a program
//! made up.
//!
//! The kernel's accesses reach users' pages only while `sstatus.SUM` is set, which only the copy
//! functions here do: a trap clears it, and its return sets it again. Each instruction that may
//! fault has an entry in the `.ex_table` section. Eight bytes per step, sixty-four where there
//! are as many; a step that faults is taken again in smaller ones, so that the count of bytes
//! not copied is exact. Addresses need no alignment: main memory takes any, as the profiles for
//! application processors demand (Zicclsm).

use core::arch::global_asm;

use super::asm::{exception, status};
pub(in crate::arch) use crate::arch::copy_by_side::{clear, copy, copy_unresolved};
use crate::arch::fixup::Fixup;

/// A copy function: a0: to, a1: from, a2: bytes; returns the bytes not copied. Between `$open`
/// and `$close`, which may use t6, the accesses are made.
macro_rules! copy {
    ($name:literal, $open:literal, $close:literal) => {
        concat!(
            ".balign 16\n.global ",
            $name,
            "\n",
            $name,
            ":\n",
            $open,
            "\n",
            "li t5, 64\n",
            "bltu a2, t5, 20f\n",
            "11: ld t0, 0(a1)\n",
            "12: ld t1, 8(a1)\n",
            "13: ld t2, 16(a1)\n",
            "14: ld t3, 24(a1)\n",
            "15: ld t4, 32(a1)\n",
            "16: ld a3, 40(a1)\n",
            "17: ld a4, 48(a1)\n",
            "18: ld a5, 56(a1)\n",
            "31: sd t0, 0(a0)\n",
            "32: sd t1, 8(a0)\n",
            "33: sd t2, 16(a0)\n",
            "34: sd t3, 24(a0)\n",
            "35: sd t4, 32(a0)\n",
            "36: sd a3, 40(a0)\n",
            "37: sd a4, 48(a0)\n",
            "38: sd a5, 56(a0)\n",
            "addi a0, a0, 64\n",
            "addi a1, a1, 64\n",
            "addi a2, a2, -64\n",
            "bgeu a2, t5, 11b\n",
            "20: li t5, 8\n",
            "bltu a2, t5, 22f\n",
            "21: ld t0, 0(a1)\n",
            "41: sd t0, 0(a0)\n",
            "addi a0, a0, 8\n",
            "addi a1, a1, 8\n",
            "addi a2, a2, -8\n",
            "bgeu a2, t5, 21b\n",
            "22: beqz a2, 24f\n",
            "23: lbu t0, 0(a1)\n",
            "43: sb t0, 0(a0)\n",
            "addi a0, a0, 1\n",
            "addi a1, a1, 1\n",
            "addi a2, a2, -1\n",
            "j 22b\n",
            "24:\n",
            $close,
            "\n",
            "mv a0, a2\n",
            "ret\n",
        )
    };
}

/// The entries of the loads, or of the stores, of the last copy function.
macro_rules! loads_may_fault {
    ($kind:literal) => {
        concat!(
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
macro_rules! stores_may_fault {
    ($kind:literal) => {
        concat!(
            exception!("31b", "20b", $kind),
            exception!("32b", "20b", $kind),
            exception!("33b", "20b", $kind),
            exception!("34b", "20b", $kind),
            exception!("35b", "20b", $kind),
            exception!("36b", "20b", $kind),
            exception!("37b", "20b", $kind),
            exception!("38b", "20b", $kind),
            exception!("41b", "22b", $kind),
            exception!("43b", "24b", $kind),
        )
    };
}

// And zeros to user memory: a0: to, a1: bytes.
global_asm!(
    ".text",
    copy!("copy_from_user_resolving", "li t6, {user}\ncsrs sstatus, t6", "csrc sstatus, t6"),
    loads_may_fault!("{resolve}"),
    copy!("copy_from_user_not_resolving", "li t6, {user}\ncsrs sstatus, t6", "csrc sstatus, t6"),
    loads_may_fault!("{no_resolve}"),
    copy!("copy_from_kernel_not_resolving", "", ""),
    loads_may_fault!("{no_resolve}"),
    copy!("copy_to_user_resolving", "li t6, {user}\ncsrs sstatus, t6", "csrc sstatus, t6"),
    stores_may_fault!("{resolve}"),
    "
    .balign 16
    .global clear_user_resolving
clear_user_resolving:
    li t6, {user}
    csrs sstatus, t6
    li t5, 8
50: bltu a1, t5, 52f
51: sd zero, 0(a0)
    addi a0, a0, 8
    addi a1, a1, -8
    j 50b
52: beqz a1, 54f
53: sb zero, 0(a0)
    addi a0, a0, 1
    addi a1, a1, -1
    j 52b
54: csrc sstatus, t6
    mv a0, a1
    ret
    ",
    exception!("51b", "52b", "{resolve}"),
    exception!("53b", "54b", "{resolve}"),
    user = const status::USER_MEMORY,
    resolve = const Fixup::RESOLVE,
    no_resolve = const Fixup::NO_RESOLVE,
);
