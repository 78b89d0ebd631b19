//! Page-table entries (Intel SDM vol. 3, section 4.5).

use crate::arch::traits::{CacheMode, PhysAddr, Protection};

bitflags::bitflags! {
    /// The bits of an entry beside the address.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::arch) struct Flags: u64 {
        const PRESENT = 1;
        const WRITABLE = 1 << 1;
        const USER = 1 << 2;
        const WRITE_THROUGH = 1 << 3;
        const NO_CACHE = 1 << 4;
        const ACCESSED = 1 << 5;
        const DIRTY = 1 << 6;
        /// In a table above the last: maps a large page.
        const HUGE = 1 << 7;
        const GLOBAL = 1 << 8;
        /// Ours: holds a frame that may not be accessed at all (`PROT_NONE`); not PRESENT.
        const NO_ACCESS = 1 << 9;
        const NO_EXECUTE = 1 << 63;

        /// An inner entry of the kernel's half: the leaves decide.
        const KERNEL_TABLE = Self::PRESENT.bits() | Self::WRITABLE.bits() | Self::ACCESSED.bits();
        /// An inner entry of a user's half.
        const USER_TABLE = Self::KERNEL_TABLE.bits() | Self::USER.bits();
    }
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(in crate::arch) struct Entry(u64);

impl Entry {
    pub(in crate::arch) const EMPTY: Self = Self(0);
    /// The bits of the physical address.
    pub(in crate::arch) const FRAME: u64 = 0x000f_ffff_ffff_f000;
    const USED_SHIFT: u32 = 52;

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
        self.0 & Flags::PRESENT.bits() != 0
    }

    /// Holds a frame, accessible or not.
    pub(in crate::arch) const fn is_used(self) -> bool {
        self.0 & (Flags::PRESENT.bits() | Flags::NO_ACCESS.bits()) != 0
    }

    /// Of an inner entry of a user's half: how many entries of its table are used. Bits 52 to 61
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
        Self(self.0 & !Flags::WRITABLE.bits())
    }

    pub(in crate::arch) const fn is_huge(self) -> bool {
        self.0 & Flags::HUGE.bits() != 0
    }

    /// A user page; not `accessible`: for nobody.
    pub(in crate::arch) fn user_page(
        frame: PhysAddr,
        protection: Protection,
        accessible: bool,
    ) -> Self {
        if !accessible {
            return Self::new(frame.0, Flags::NO_ACCESS | Flags::NO_EXECUTE);
        }
        let mut flags = Flags::PRESENT;
        flags.set(Flags::USER, protection.contains(Protection::USER));
        flags.set(Flags::WRITABLE, protection.contains(Protection::WRITE));
        flags.set(Flags::NO_EXECUTE, !protection.contains(Protection::EXECUTE));
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

    /// A page of the kernel's, or a large page.
    pub(in crate::arch) fn kernel_page(
        frame: PhysAddr,
        protection: Protection,
        cache: CacheMode,
        huge: bool,
    ) -> Self {
        let mut flags = Flags::PRESENT | Flags::GLOBAL | Flags::ACCESSED | Flags::DIRTY;
        flags.set(Flags::HUGE, huge);
        flags.set(Flags::WRITABLE, protection.contains(Protection::WRITE));
        flags.set(Flags::NO_EXECUTE, !protection.contains(Protection::EXECUTE));
        if cache == CacheMode::Device {
            // The page-attribute table's entry 3 is "uncacheable" after reset.
            flags |= Flags::NO_CACHE | Flags::WRITE_THROUGH;
        }
        Self::new(frame.0, flags)
    }

    /// Of a user page that is present: what users may do there.
    #[inline]
    pub(in crate::arch) fn user_rights(self) -> Protection {
        let flags = self.flags();
        let mut rights = Protection::READ;
        rights.set(Protection::WRITE, flags.contains(Flags::WRITABLE));
        rights.set(Protection::EXECUTE, !flags.contains(Flags::NO_EXECUTE));
        rights.set(Protection::USER, flags.contains(Flags::USER));
        rights
    }

    /// Of a page of the kernel's half: what the kernel may do there; `USER` if users may do
    /// anything there.
    pub(in crate::arch) fn kernel_rights(self) -> Protection {
        self.user_rights()
    }
}
