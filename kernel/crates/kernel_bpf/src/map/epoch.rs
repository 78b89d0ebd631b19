//! When is a map element that was taken out of its map no longer seen by anybody?
//!
//! [`Epoch`] answers by quiescent states: a CPU is online while programs may run on it, and says
//! with [`Epoch::quiesce`] when none does at a moment in between. What was unlinked before is safe
//! to reuse once every CPU that is online has said so since, or has come online since. A CPU may
//! stay online for good, or come ([`Epoch::enter`]) and go with each program. There is no lock
//! and no counter on the way into a program.
//!
//! Use: unlink; `tag = epoch.retire()`; later, when `epoch.is_safe(tag)`, reuse.
//!
//! The clock is generic over its words ([`Word`]), so that a test can run it in a model of the
//! memory orders that a machine may show (`tests/epoch_model.rs`).

use core::sync::atomic::{AtomicU64, Ordering, fence};

/// Most CPUs that an [`Epoch`] follows.
pub const MAX_CPUS: usize = 64;

const OFFLINE: u64 = u64::MAX;

/// An atomic number, and the fence that orders all of them.
pub trait Word {
    fn load(&self, order: Ordering) -> u64;
    fn store(&self, value: u64, order: Ordering);
    fn fetch_add(&self, value: u64, order: Ordering) -> u64;
    fn fetch_max(&self, value: u64, order: Ordering) -> u64;
    fn fence(order: Ordering);
}

impl Word for AtomicU64 {
    #[inline(always)]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    #[inline(always)]
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    #[inline(always)]
    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_add(value, order)
    }

    #[inline(always)]
    fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_max(value, order)
    }

    #[inline(always)]
    fn fence(order: Ordering) {
        fence(order);
    }
}

/// One CPU's last quiescent state, on a cache line of its own.
#[repr(align(64))]
struct Seen<W>(W);

/// The clock of retirements, and how far each CPU has followed it.
pub struct Epoch<W = AtomicU64, const CPUS: usize = MAX_CPUS> {
    current: W,
    /// One more than the highest CPU that was ever online.
    cpus: W,
    seen: [Seen<W>; CPUS],
}

impl Epoch {
    /// A clock that no CPU takes part in yet.
    #[expect(clippy::new_without_default, reason = "an epoch is a static, never a temporary")]
    pub const fn new() -> Self {
        Self {
            current: AtomicU64::new(0),
            cpus: AtomicU64::new(0),
            seen: [const { Seen(AtomicU64::new(OFFLINE)) }; MAX_CPUS],
        }
    }
}

impl<W: Word, const CPUS: usize> Epoch<W, CPUS> {
    /// A clock of words of another kind, that no CPU takes part in yet. `word` makes one from
    /// its first value.
    pub fn with_words(word: impl Fn(u64) -> W) -> Self {
        let seen = core::array::from_fn(|_| Seen(word(OFFLINE)));
        Self { current: word(0), cpus: word(0), seen }
    }

    /// `cpu` may run programs from now on. Out-of-range CPUs are ignored everywhere; they
    /// must not run programs.
    pub fn online(&self, cpu: usize) {
        if let Some(seen) = self.seen.get(cpu) {
            self.cpus.fetch_max(cpu as u64 + 1, Ordering::SeqCst);
            seen.0.store(self.current.load(Ordering::Acquire), Ordering::SeqCst);
            // With the fence in `retire`: either what this CPU reads from here on is what a
            // retirement left, or that retirement counts this CPU.
            W::fence(Ordering::SeqCst);
        }
    }

    /// As [`Epoch::online`], for a CPU that has been online before and calls this itself; but
    /// `false` if it is online already. So a section in which programs run, between this and
    /// [`Epoch::offline`], may be interrupted by another one, which changes nothing then.
    #[inline]
    pub fn enter(&self, cpu: usize) -> bool {
        let Some(seen) = self.seen.get(cpu) else { return false };
        if seen.0.load(Ordering::Relaxed) != OFFLINE {
            return false;
        }
        seen.0.store(self.current.load(Ordering::Acquire), Ordering::Relaxed);
        // As in `online`.
        W::fence(Ordering::SeqCst);
        true
    }

    /// `cpu` runs no program until it comes [`Epoch::online`] again.
    pub fn offline(&self, cpu: usize) {
        if let Some(seen) = self.seen.get(cpu) {
            seen.0.store(OFFLINE, Ordering::Release);
        }
    }

    /// `cpu`, which is online and calls this itself, runs no program at this moment and
    /// holds no pointer into a map.
    #[inline]
    pub fn quiesce(&self, cpu: usize) {
        if let Some(seen) = self.seen.get(cpu) {
            seen.0.store(self.current.load(Ordering::Acquire), Ordering::Release);
        }
    }

    /// The tag of something that has just been unlinked.
    #[inline]
    pub fn retire(&self) -> u64 {
        let tag = self.current.fetch_add(1, Ordering::AcqRel) + 1;
        W::fence(Ordering::SeqCst);
        tag
    }

    /// The tag that was given last: what was retired until now is safe when that is.
    #[inline]
    pub fn now(&self) -> u64 {
        self.current.load(Ordering::Acquire)
    }

    /// Whether every CPU has passed a quiescent state since `tag` was given. Not before there is a
    /// CPU.
    #[inline]
    pub fn is_safe(&self, tag: u64) -> bool {
        let cpus = self.cpus.load(Ordering::Acquire) as usize;
        cpus != 0 && self.seen.iter().take(cpus).all(|seen| seen.0.load(Ordering::Acquire) >= tag)
    }
}

#[cfg(test)]
mod tests {
    use super::Epoch;

    #[test]
    fn nothing_is_safe_before_there_is_a_cpu() {
        let epoch = Epoch::new();
        let tag = epoch.retire();
        assert!(!epoch.is_safe(tag));
        epoch.online(1);
        assert!(!epoch.is_safe(epoch.retire()));
        epoch.offline(1);
        assert!(epoch.is_safe(epoch.now()));
    }

    #[test]
    fn nothing_is_safe_before_every_online_cpu_was_quiet() {
        let epoch = Epoch::new();
        epoch.online(0);
        epoch.online(3);
        let tag = epoch.retire();
        assert!(!epoch.is_safe(tag));
        epoch.quiesce(0);
        assert!(!epoch.is_safe(tag));
        epoch.quiesce(3);
        assert!(epoch.is_safe(tag));
        let later = epoch.retire();
        assert!(epoch.is_safe(tag) && !epoch.is_safe(later));
        epoch.offline(3);
        epoch.quiesce(0);
        assert!(epoch.is_safe(later));
    }

    #[test]
    fn a_section_inside_another_does_not_end_it() {
        let epoch = Epoch::new();
        epoch.online(0);
        epoch.offline(0);
        let before = epoch.retire();
        assert!(epoch.is_safe(before));
        assert!(epoch.enter(0));
        assert!(!epoch.enter(0));
        let tag = epoch.retire();
        assert!(epoch.is_safe(before) && !epoch.is_safe(tag));
        epoch.offline(0);
        assert!(epoch.is_safe(tag));
    }

    #[test]
    fn a_cpu_that_comes_online_holds_nothing_older() {
        let epoch = Epoch::new();
        let before = epoch.retire();
        epoch.online(1);
        assert!(epoch.is_safe(before));
        assert!(!epoch.is_safe(epoch.retire()));
    }
}
