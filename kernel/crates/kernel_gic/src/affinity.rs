//! A CPU's place among the others, and how it is sent an interrupt.

/// A CPU's place: a number below 256 at each of four levels. CPUs that differ at level 0 only are
/// neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity(u64);

/// Neighbours that one register of targets holds.
const TARGETS: u64 = 16;

impl Affinity {
    /// From `MPIDR_EL1`, or a CPU's node in a device tree.
    #[must_use]
    pub const fn of(register: u64) -> Self {
        Self(register & 0xff_00ff_ffff)
    }

    /// As `MPIDR_EL1`, firmware and the distributor's routers (`GICD_IROUTER`) have it: level 3
    /// from bit 32 on, the others from bit 0 on.
    #[must_use]
    pub const fn register(self) -> u64 {
        self.0
    }

    /// From a redistributor's type register (`GICR_TYPER`): all levels from bit 32 on.
    #[must_use]
    pub const fn of_redistributor(kind: u64) -> Self {
        let levels = kind >> 32;
        Self(levels & 0xff_ffff | (levels >> 24) << 32)
    }

    /// The number at a level.
    const fn level(self, level: u32) -> u64 {
        let shift = if level == 3 { 32 } else { 8 * level };
        self.0 >> shift & 0xff
    }

    /// Whether only senders and distributors with a range selector (`ICC_CTLR_EL1.RSS`,
    /// `GICD_TYPER.RSS`) reach it.
    #[must_use]
    pub const fn needs_range(self) -> bool {
        self.level(0) >= TARGETS
    }

    /// What a CPU writes to `ICC_SGI1R_EL1` to send the interrupt `number`, below 16, to this one.
    /// Never 0.
    #[must_use]
    pub const fn signal(self, number: u32) -> u64 {
        let (range, target) = (self.level(0) / TARGETS, self.level(0) % TARGETS);
        self.level(3) << 48
            | range << 44
            | self.level(2) << 32
            | interrupt(number)
            | self.level(1) << 16
            | 1 << target
    }
}

/// What a CPU writes there to send it to all others.
#[must_use]
pub const fn signal_to_others(number: u32) -> u64 {
    1 << 40 | interrupt(number)
}

const fn interrupt(number: u32) -> u64 {
    (number as u64 & 15) << 24
}

#[cfg(test)]
mod tests {
    use super::{Affinity, signal_to_others};

    #[test]
    fn each_register_s_way_of_writing_an_affinity_is_read() {
        // Bit 31 is always one and bit 30 says that the CPU is alone; neither is a place.
        let affinity = Affinity::of(0x5a_c003_0201);
        assert_eq!(affinity.register(), 0x5a_0003_0201);
        assert_eq!(Affinity::of_redistributor(0x5a03_0201_0000_0011), affinity);
        assert_eq!(Affinity::of_redistributor(0xffff_ffff_0000_0000).register(), 0xff_00ff_ffff);
    }

    /// The fields of ICC_SGI1R_EL1 (IHI 0069H, 12.2.20): Aff3 from 48, RS from 44, IRM 40, Aff2
    /// from 32, INTID from 24, Aff1 from 16, targets from 0.
    #[test]
    fn an_interrupt_goes_to_one_cpu_by_all_four_levels() {
        assert_eq!(Affinity::of(0).signal(0), 1);
        assert_eq!(Affinity::of(3).signal(1), 0x0100_0008);
        assert_eq!(Affinity::of(0x0105).signal(2), 0x0201_0020);
        assert_eq!(Affinity::of(0x5a_0003_020f).signal(15), 0x005a_0003_0f02_8000);
        assert_eq!(Affinity::of(0x5a_0003_0225).signal(0), 0x005a_2003_0002_0020);
        assert_eq!(Affinity::of(0xff).signal(0), 0x0000_f000_0000_8000);
    }

    #[test]
    fn the_seventeenth_neighbour_needs_a_range() {
        assert!(!Affinity::of(0xff_00ff_ff0f).needs_range());
        assert!(Affinity::of(0x10).needs_range());
    }

    #[test]
    fn an_interrupt_goes_to_all_others() {
        assert_eq!(signal_to_others(0), 0x100_0000_0000);
        assert_eq!(signal_to_others(1), 0x100_0100_0000);
    }
}
