//! Page-table entries (RISC-V Privileged Architecture, 12.4 and 12.5: Sv39, Sv48).

use crate::arch::traits::{CacheMode, PhysAddr, Protection};
use crate::arch::up;

bitflags::bitflags! {
    /// The bits of an entry beside the address.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::arch) struct Flags: u64 {
        const VALID = 1;
        /// With none of these three, a valid entry leads to a table.
        const READ = 1 << 1;
        const WRITE = 1 << 2;
        const EXECUTE = 1 << 3;
        const USER = 1 << 4;
        const GLOBAL = 1 << 5;
        const ACCESSED = 1 << 6;
        const DIRTY = 1 << 7;
        /// Ours: holds a frame that may not be accessed at all (`PROT_NONE`); not VALID.
        const NO_ACCESS = 1 << 8;
    }
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(in crate::arch) struct Entry(u64);

impl Entry {
    pub(in crate::arch) const EMPTY: Self = Self(0);
    /// The bits of the physical page number, and how far they are above the address's.
    const PAGE_NUMBER: u64 = 0x003f_ffff_ffff_fc00;
    const SHIFT: u32 = 2;

    pub(in crate::arch) const fn new(frame: u64, flags: Flags) -> Self {
        Self(frame >> Self::SHIFT & Self::PAGE_NUMBER | flags.bits())
    }

    pub(in crate::arch) const fn frame(self) -> u64 {
        (self.0 & Self::PAGE_NUMBER) << Self::SHIFT
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

    /// Of an inner entry of a user's half: how many entries of its table are used. An entry has
    /// no bits to spare for that, so the table's frame keeps it.
    pub(in crate::arch) fn used(self) -> u32 {
        up::table_use(PhysAddr(self.frame()))
    }

    /// The same entry with this count, at most 512.
    pub(in crate::arch) fn with_used(self, used: u32) -> Self {
        up::set_table_use(PhysAddr(self.frame()), used);
        self
    }

    /// A user page that can be read, but no longer written.
    pub(in crate::arch) const fn without_write(self) -> Self {
        Self(self.0 & !(Flags::WRITE.bits() | Flags::DIRTY.bits()))
    }

    /// Of an entry above the last level: maps memory itself.
    pub(in crate::arch) const fn is_huge(self) -> bool {
        const LEAF: u64 = Flags::READ.bits() | Flags::WRITE.bits() | Flags::EXECUTE.bits();
        self.is_present() && self.0 & LEAF != 0
    }

    /// A user page; not `accessible`: for nobody.
    pub(in crate::arch) fn user_page(
        frame: PhysAddr,
        protection: Protection,
        accessible: bool,
    ) -> Self {
        if !accessible {
            return Self::new(frame.0, Flags::NO_ACCESS);
        }
        let mut flags = Flags::VALID | Flags::READ | Flags::ACCESSED;
        flags.set(Flags::USER, protection.contains(Protection::USER));
        flags.set(Flags::WRITE | Flags::DIRTY, protection.contains(Protection::WRITE));
        flags.set(Flags::EXECUTE, protection.contains(Protection::EXECUTE));
        Self::new(frame.0, flags)
    }

    /// An inner entry of the kernel's half.
    pub(in crate::arch) const fn kernel_table(frame: u64) -> Self {
        Self::new(frame, Flags::VALID)
    }

    /// An inner entry of a user's half.
    pub(in crate::arch) const fn user_table(frame: u64) -> Self {
        Self::new(frame, Flags::VALID)
    }

    /// A page of the kernel's, or a large one. How memory is cached, its address alone decides
    /// (physical memory attributes, 3.6).
    pub(in crate::arch) fn kernel_page(
        frame: PhysAddr,
        protection: Protection,
        _cache: CacheMode,
        _huge: bool,
    ) -> Self {
        let mut flags = Flags::VALID | Flags::READ | Flags::ACCESSED | Flags::GLOBAL;
        flags.set(Flags::WRITE | Flags::DIRTY, protection.contains(Protection::WRITE));
        flags.set(Flags::EXECUTE, protection.contains(Protection::EXECUTE));
        Self::new(frame.0, flags)
    }

    /// Of a user page that is present: what users may do there.
    #[inline]
    pub(in crate::arch) fn user_rights(self) -> Protection {
        let flags = self.flags();
        let mut rights = Protection::READ;
        rights.set(Protection::WRITE, flags.contains(Flags::WRITE));
        rights.set(Protection::EXECUTE, flags.contains(Flags::EXECUTE));
        rights.set(Protection::USER, flags.contains(Flags::USER));
        rights
    }

    /// Of a page of the kernel's half: what the kernel may do there; `USER` if users may do
    /// anything there.
    pub(in crate::arch) fn kernel_rights(self) -> Protection {
        self.user_rights()
    }
}
