//! Pieces of assembly that several entry points share, as string literals: an assembler macro
//! would not be visible from one object file to the next.

/// Pushes the general registers of a `Frame` from rsi down; rdi is pushed already.
macro_rules! save_registers {
    () => {
        "push rsi
        push rdx
        push rcx
        push rax
        push r8
        push r9
        push r10
        push r11
        push rbx
        push rbp
        push r12
        push r13
        push r14
        push r15"
    };
}

/// Pops them all, and rdi.
macro_rules! restore_registers {
    () => {
        "pop r15
        pop r14
        pop r13
        pop r12
        pop rbp
        pop rbx
        pop r11
        pop r10
        pop r9
        pop r8
        pop rax
        pop rcx
        pop rdx
        pop rsi
        pop rdi"
    };
}

/// CLAC, noted so that it can be blanked on a CPU without SMAP.
macro_rules! forbid_user_access {
    () => {
        "771: clac
        .pushsection .smap_sites, \"a\"
        .quad 771b
        .popsection"
    };
}

/// STAC, noted likewise.
macro_rules! allow_user_access {
    () => {
        "772: stac
        .pushsection .smap_sites, \"a\"
        .quad 772b
        .popsection"
    };
}

/// A fault between the labels `$from` and `$end` goes on at label `$to`; `$kind` is a `Fixup`
/// constant's operand or a number.
macro_rules! exception {
    ($from:literal, $end:literal, $to:literal, $kind:literal) => {
        concat!(
            ".pushsection .ex_table, \"a\"\n.quad ",
            $from,
            ", ",
            $end,
            ", ",
            $to,
            ", ",
            $kind,
            "\n.popsection"
        )
    };
}

pub(super) use {
    allow_user_access, exception, forbid_user_access, restore_registers, save_registers,
};
