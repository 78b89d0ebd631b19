//! Page-table entries (Arm Architecture Reference Manual, D8.3: VMSAv8-64 descriptors, 4 KiB
//! granule).

use crate::arch::traits::{CacheMode, PhysAddr, Protection};

bitflags::bitflags! {
    /// The bits of an entry beside the address.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::arch) struct Flags: u64 {
        const VALID = 1;
        /// A table, or at the last level a page; without it, a block.
        const TABLE = 1 << 1;
        /// The second of the memory types in MAIR_EL1 (mmu.rs): device registers.
        const DEVICE = 1 << 2;
        const USER = 1 << 6;
        const READ_ONLY = 1 << 7;
        const INNER_SHAREABLE = 0b11 << 8;
        const ACCESSED = 1 << 10;
        /// Belongs to one address space.
        const NOT_GLOBAL = 1 << 11;
        const PRIVILEGED_NO_EXECUTE = 1 << 53;
        const USER_NO_EXECUTE = 1 << 54;
        /// Ours: holds a frame that may not be accessed at all (`PROT_NONE`); not VALID.
        const NO_ACCESS = 1 << 55;
        /// Of a table: nothing below is executable by the kernel.
        const TABLE_PRIVILEGED_NO_EXECUTE = 1 << 59;
        /// Of a table: nothing below is executable by users.
        const TABLE_USER_NO_EXECUTE = 1 << 60;

        /// An inner entry of the kernel's half: the leaves decide.
        const KERNEL_TABLE = Self::VALID.bits() | Self::TABLE.bits()
            | Self::TABLE_USER_NO_EXECUTE.bits();
        /// An inner entry of a user's half.
        const USER_TABLE = Self::VALID.bits() | Self::TABLE.bits()
            | Self::TABLE_PRIVILEGED_NO_EXECUTE.bits();
    }
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(in crate::arch) struct Entry(u64);

impl Entry {
    pub(in crate::arch) const EMPTY: Self = Self(0);
    /// The bits of the physical address.
    pub(in crate::arch) const FRAME: u64 = 0x0000_ffff_ffff_f000;
    const USED_SHIFT: u32 = 2;

    pub(in crate::arch) const fn new(frame: u64, flags: Flags) -> Self {
        Self(frame & Self::FRAME | flags.bits())
    }

    pub(in crate::arch) const fn frame(self) -> u64 {
        self.0 & Self::FRAME
    }

    pub(in crate::arch) const fn flags(self) -> Flags {
        Flags::from_bits_truncate(self.0)
    }

    /// The CPU follows it.
    pub(in crate::arch) const fn is_present(self) -> bool {
        self.0 & Flags::VALID.bits() != 0
    }

    /// Holds a frame, accessible or not.
    pub(in crate::arch) const fn is_used(self) -> bool {
        self.0 & (Flags::VALID.bits() | Flags::NO_ACCESS.bits()) != 0
    }

    /// Of an inner entry of a user's half: how many entries of its table are used. Bits 2 to 11
    /// are ignored by the CPU there.
    pub(in crate::arch) const fn used(self) -> u32 {
        (self.0 >> Self::USED_SHIFT) as u32 & 0x3ff
    }

    /// The same entry with this count, at most 512.
    pub(in crate::arch) const fn with_used(self, used: u32) -> Self {
        Self(self.0 & !(0x3ff << Self::USED_SHIFT) | (used as u64) << Self::USED_SHIFT)
    }

    /// A user page that can be read, but no longer written.
    pub(in crate::arch) const fn without_write(self) -> Self {
        Self(self.0 | Flags::READ_ONLY.bits())
    }

    /// Of an entry above the last level: maps memory itself.
    pub(in crate::arch) const fn is_huge(self) -> bool {
        self.0 & (Flags::VALID.bits() | Flags::TABLE.bits()) == Flags::VALID.bits()
    }

    /// A user page; not `accessible`: for nobody.
    pub(in crate::arch) fn user_page(
        frame: PhysAddr,
        protection: Protection,
        accessible: bool,
    ) -> Self {
        let mut flags = Flags::TABLE
            | Flags::INNER_SHAREABLE
            | Flags::ACCESSED
            | Flags::NOT_GLOBAL
            | Flags::PRIVILEGED_NO_EXECUTE;
        flags.set(Flags::VALID, accessible);
        flags.set(Flags::NO_ACCESS, !accessible);
        flags.set(Flags::USER, protection.contains(Protection::USER));
        flags.set(Flags::READ_ONLY, !protection.contains(Protection::WRITE));
        flags.set(Flags::USER_NO_EXECUTE, !protection.contains(Protection::EXECUTE));
        Self::new(frame.0, flags)
    }

    /// An inner entry of the kernel's half.
    pub(in crate::arch) const fn kernel_table(frame: u64) -> Self {
        Self::new(frame, Flags::KERNEL_TABLE)
    }

    /// An inner entry of a user's half.
    pub(in crate::arch) const fn user_table(frame: u64) -> Self {
        Self::new(frame, Flags::USER_TABLE)
    }

    /// A page of the kernel's, or a block.
    pub(in crate::arch) fn kernel_page(
        frame: PhysAddr,
        protection: Protection,
        cache: CacheMode,
        huge: bool,
    ) -> Self {
        let mut flags = Flags::VALID | Flags::ACCESSED | Flags::USER_NO_EXECUTE;
        flags.set(Flags::TABLE, !huge);
        flags.set(Flags::DEVICE, cache == CacheMode::Device);
        flags.set(Flags::INNER_SHAREABLE, cache == CacheMode::Normal);
        flags.set(Flags::READ_ONLY, !protection.contains(Protection::WRITE));
        flags.set(Flags::PRIVILEGED_NO_EXECUTE, !protection.contains(Protection::EXECUTE));
        Self::new(frame.0, flags)
    }

    /// Of a user page that is present: what users may do there.
    #[inline]
    pub(in crate::arch) fn user_rights(self) -> Protection {
        let flags = self.flags();
        let mut rights = Protection::READ;
        rights.set(Protection::WRITE, !flags.contains(Flags::READ_ONLY));
        rights.set(Protection::EXECUTE, !flags.contains(Flags::USER_NO_EXECUTE));
        rights.set(Protection::USER, flags.contains(Flags::USER));
        rights
    }

    /// Of a page of the kernel's half: what the kernel may do there; `USER` if users may do
    /// anything there.
    pub(in crate::arch) fn kernel_rights(self) -> Protection {
        let flags = self.flags();
        let mut rights = Protection::READ;
        rights.set(Protection::WRITE, !flags.contains(Flags::READ_ONLY));
        rights.set(Protection::EXECUTE, !flags.contains(Flags::PRIVILEGED_NO_EXECUTE));
        let users = flags.contains(Flags::USER) || !flags.contains(Flags::USER_NO_EXECUTE);
        rights.set(Protection::USER, users);
        rights
    }
}
