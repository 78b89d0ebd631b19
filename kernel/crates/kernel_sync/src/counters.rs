//! Whether the counters of two CPUs go together, so that both can be one clock: whoever reads
//! later reads no less.

use crate::TaskLock;

/// What two CPUs that read their counters in turn have seen.
pub struct Comparison {
    seen: TaskLock<Seen>,
}

struct Seen {
    last: u64,
    worst: u64,
}

/// After so many readings it is enough, whatever the counter says.
const MOST_READINGS: u32 = 10_000_000;

impl Comparison {
    /// Nothing has been seen.
    pub const fn new() -> Self {
        Self { seen: TaskLock::new(Seen { last: 0, worst: 0 }) }
    }

    /// Forgets what was seen.
    pub fn reset(&self) {
        *self.seen.lock() = Seen { last: 0, worst: 0 };
    }

    /// Reads once, after whoever has read last: how much too little it is. `read` must not be done
    /// early, before the lock is taken.
    fn step(&self, read: &mut impl FnMut() -> u64) -> (u64, u64) {
        let mut seen = self.seen.lock();
        let now = read();
        let behind = seen.last.saturating_sub(now);
        seen.last = now;
        seen.worst = seen.worst.max(behind);
        (now, behind)
    }

    /// Reads again and again until the counter has counted `ticks`, while the other CPU does the
    /// same: how much this one's was behind at most.
    pub fn watch(&self, ticks: u64, mut read: impl FnMut() -> u64) -> u64 {
        let (start, mut worst) = self.step(&mut read);
        for _ in 0..MOST_READINGS {
            let (now, behind) = self.step(&mut read);
            worst = worst.max(behind);
            if now.wrapping_sub(start) >= ticks {
                break;
            }
        }
        worst
    }

    /// How much either counter was behind at most: 0 if they go together.
    pub fn worst(&self) -> u64 {
        self.seen.lock().worst
    }
}

impl Default for Comparison {
    fn default() -> Self {
        Self::new()
    }
}

/// By how much to set a CPU's counter forward, or back if that is less than zero, which was behind
/// by `own` when the worst of both was `worst`. It may have to be done again: what was seen is the
/// least that it can be.
pub const fn correction(own: u64, worst: u64) -> i64 {
    if own > 0 { own as i64 } else { -(worst as i64) }
}

#[cfg(test)]
mod tests {
    use super::{Comparison, correction};

    #[test]
    fn one_that_is_behind_is_seen_and_set_right() {
        let comparison = Comparison::new();
        // The second CPU's counter is 40 behind; one tick passes between two readings.
        let mut offset = -40i64;
        let mut attempts = 0;
        loop {
            comparison.reset();
            let mut own = 0;
            for time in (1000..1100).step_by(2) {
                comparison.step(&mut || time);
                let read = time.saturating_add(1).saturating_add_signed(offset);
                own = own.max(comparison.step(&mut || read).1);
            }
            if comparison.worst() == 0 {
                break;
            }
            offset += correction(own, comparison.worst());
            attempts += 1;
        }
        assert_eq!((offset, attempts), (-1, 1));
    }

    #[test]
    fn one_that_is_ahead_is_set_back() {
        let comparison = Comparison::new();
        comparison.step(&mut || 1000);
        let own = comparison.step(&mut || 1041).1;
        comparison.step(&mut || 1002);
        assert_eq!((own, comparison.worst()), (0, 39));
        assert_eq!(correction(own, comparison.worst()), -39);
        comparison.reset();
        assert_eq!(comparison.worst(), 0);
    }

    #[test]
    fn one_clock_that_two_read_goes_together() {
        let comparison = Comparison::new();
        let start = std::time::Instant::now();
        let watch = || comparison.watch(2_000_000, || start.elapsed().as_nanos() as u64);
        std::thread::scope(|scope| {
            let other = scope.spawn(watch);
            assert_eq!(watch(), 0);
            assert_eq!(other.join().unwrap(), 0);
        });
        assert_eq!(comparison.worst(), 0);
    }

    #[test]
    fn a_counter_that_stands_still_does_not_keep_a_cpu_for_ever() {
        assert_eq!(Comparison::new().watch(1, || 7), 0);
    }
}
