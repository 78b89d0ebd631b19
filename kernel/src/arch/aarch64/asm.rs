//! System registers by name, and pieces of assembly that several files share.

/// Reads a system register.
macro_rules! read_register {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reading this register has no effect on memory.
        unsafe {
            core::arch::asm!(concat!("mrs {}, ", $name), out(reg) value,
                options(nostack, preserves_flags));
        }
        value
    }};
}

/// Writes a system register. Unsafe where the register can change what memory means.
macro_rules! write_register {
    ($name:literal, $value:expr) => {
        core::arch::asm!(concat!("msr ", $name, ", {}"), in(reg) $value,
            options(nostack, preserves_flags))
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
            "\n.popsection\n"
        )
    };
}

pub(super) use {exception, read_register, write_register};
