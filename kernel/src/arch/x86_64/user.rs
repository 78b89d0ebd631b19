//! Reaching memory that may not be there: user memory, and kernel addresses that a program
//! made up.
//!
//! The copy loops run with SMAP lifted. The instructions in them that may fault have entries
//! in the `.ex_table` section; trap.rs asks `fixup` before it calls a kernel fault a bug.
//! What is left of a chunk that faulted is tried byte by byte, so that the count of bytes not
//! copied is exact.

use core::arch::global_asm;

use super::asm::{allow_user_access, exception, forbid_user_access};
use crate::arch::fixup::Fixup;

/// The body of a copy: rdi: to, rsi: from, rdx: bytes; returns in rax the bytes not copied.
macro_rules! copy_body {
    ($kind:literal) => {
        concat!(
            allow_user_access!(),
            "
            mov rcx, rdx
            shr rcx, 3
            jz 22f
        21: rep movsq
        27: and edx, 7
            jz 24f
        22: mov ecx, edx
        23: rep movsb
        24:
            ",
            forbid_user_access!(),
            "
            xor eax, eax
            ret
        25: and edx, 7
            lea rcx, [rdx + rcx * 8]
            jmp 23b
        26: mov rax, rcx
            ",
            forbid_user_access!(),
            "
            ret
            ",
            exception!("21b", "27b", "25b", $kind),
            "\n",
            exception!("23b", "24b", "26b", $kind),
        )
    };
}

global_asm!(
    ".text",
    ".balign 16",
    ".global copy_resolving",
    "copy_resolving:",
    copy_body!("{resolve}"),
    ".balign 16",
    ".global copy_not_resolving",
    "copy_not_resolving:",
    copy_body!("{no_resolve}"),
    resolve = const Fixup::RESOLVE,
    no_resolve = const Fixup::NO_RESOLVE,
);

// rdi: to, rsi: bytes; returns in rax the bytes not cleared. Blocks of 128 bytes are cleared by 16
// at a time, with a register of the user's that is put back; a task that waits for a page
// meanwhile keeps it with its other registers. A block that faulted is tried byte by byte.
global_asm!(
    ".text",
    ".balign 16",
    ".global clear_resolving",
    "clear_resolving:",
    allow_user_access!(),
    "
        xor eax, eax
        mov rcx, rsi
        shr rcx, 7
        jz 32f
        sub rsp, 16
        movups [rsp], xmm0
        xorps xmm0, xmm0
    40: movups [rdi], xmm0
        movups [rdi + 16], xmm0
        movups [rdi + 32], xmm0
        movups [rdi + 48], xmm0
        movups [rdi + 64], xmm0
        movups [rdi + 80], xmm0
        movups [rdi + 96], xmm0
        movups [rdi + 112], xmm0
    48: sub rdi, -128
        dec rcx
        jnz 40b
        movups xmm0, [rsp]
        add rsp, 16
        and esi, 127
        jz 34f
    32: mov ecx, esi
        shr ecx, 3
        jz 30f
    37: rep stosq
    39: and esi, 7
        jz 34f
    30: mov ecx, esi
    33: rep stosb
    34:
    ",
    forbid_user_access!(),
    "
        ret
    35: movups xmm0, [rsp]
        add rsp, 16
        and esi, 127
        shl rcx, 7
        add rcx, rsi
        jmp 33b
    38: and esi, 7
        lea rcx, [rsi + rcx * 8]
        jmp 33b
    36: mov rax, rcx
    ",
    forbid_user_access!(),
    "ret",
    exception!("40b", "48b", "35b", "{resolve}"),
    exception!("37b", "39b", "38b", "{resolve}"),
    exception!("33b", "34b", "36b", "{resolve}"),
    resolve = const Fixup::RESOLVE,
);

unsafe extern "C" {
    fn copy_resolving(to: usize, from: usize, length: usize) -> usize;
    fn copy_not_resolving(to: usize, from: usize, length: usize) -> usize;
    fn clear_resolving(to: usize, length: usize) -> usize;
}

/// See [`crate::arch::Architecture::copy_user`].
#[inline]
pub(in crate::arch) fn copy(to: usize, from: usize, length: usize) -> usize {
    // SAFETY: a fault at any of the user's addresses is fixed up; the kernel's side is valid
    // by the contract of the caller.
    unsafe { copy_resolving(to, from, length) }
}

/// See [`crate::arch::Architecture::clear_user`].
#[inline]
pub(in crate::arch) fn clear(to: usize, length: usize) -> usize {
    // SAFETY: as in `copy`.
    unsafe { clear_resolving(to, length) }
}

/// Copies from anywhere but devices' registers, resolving no fault.
#[inline]
pub(in crate::arch) fn copy_unresolved(to: usize, from: usize, length: usize) -> usize {
    // SAFETY: `to` is valid by the contract of the caller; a fault at `from` is fixed up.
    unsafe { copy_not_resolving(to, from, length) }
}
