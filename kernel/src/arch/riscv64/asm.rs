//! Control and status registers by name, and pieces of assembly that several files share.

/// Reads a control and status register.
macro_rules! read_csr {
    ($name:literal) => {{
        let value: usize;
        // SAFETY: reading this register has no effect on memory.
        unsafe {
            core::arch::asm!(concat!("csrr {}, ", $name), out(reg) value,
                options(nostack, preserves_flags));
        }
        value
    }};
}

/// Writes one. Unsafe where the register can change what memory means.
macro_rules! write_csr {
    ($name:literal, $value:expr) => {
        core::arch::asm!(concat!("csrw ", $name, ", {}"), in(reg) $value, options(nostack))
    };
}

/// Sets the bits of a mask in one.
macro_rules! set_csr {
    ($name:literal, $mask:expr) => {
        core::arch::asm!(concat!("csrs ", $name, ", {}"), in(reg) $mask, options(nostack))
    };
}

/// Clears them.
macro_rules! clear_csr {
    ($name:literal, $mask:expr) => {
        core::arch::asm!(concat!("csrc ", $name, ", {}"), in(reg) $mask, options(nostack))
    };
}

/// A fault between the labels `$from` and `$end` goes on at label `$to`; `$kind` is a `Fixup`
/// constant's operand or a number.
macro_rules! exception {
    ($from:literal, $end:literal, $to:literal, $kind:literal) => {
        concat!(
            ".pushsection .ex_table, \"a\"\n.balign 8\n.quad ",
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

pub(super) use {clear_csr, exception, read_csr, set_csr, write_csr};

/// `sstatus` (RISC-V Privileged Architecture, 12.1.1).
pub(super) mod status {
    /// Interrupts are on.
    pub(in crate::arch::riscv64) const INTERRUPTS: usize = 1 << 1;
    /// They were, before the trap.
    pub(in crate::arch::riscv64) const PREVIOUS_INTERRUPTS: usize = 1 << 5;
    /// The trap came from the kernel.
    pub(in crate::arch::riscv64) const FROM_KERNEL: usize = 1 << 8;
    /// The floating-point unit's state: off, initial, clean, dirty.
    pub(in crate::arch::riscv64) const FLOATING: usize = 3 << 13;
    pub(in crate::arch::riscv64) const FLOATING_CLEAN: usize = 2 << 13;
    /// The kernel reaches users' pages.
    pub(in crate::arch::riscv64) const USER_MEMORY: usize = 1 << 18;
    /// What is executable is readable.
    pub(in crate::arch::riscv64) const EXECUTABLE_READABLE: usize = 1 << 19;
}
