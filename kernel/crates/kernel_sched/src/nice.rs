//! Nice values (`sched(7)`): how much of a CPU a task gets beside others that want it.
//!
//! A task's virtual time passes the slower the more it weighs, so that in the long run two tasks get
//! shares in the ratio of their weights. One step is a quarter more or less; the weights are those of
//! Linux.

/// The least nice and the nicest that a task can be.
pub const LEAST: i32 = -20;
pub const MOST: i32 = 19;

/// The weight of a task of nice value 0.
const NORMAL: u64 = 1024;

/// The weights from [`LEAST`] on.
const WEIGHTS: [u32; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904,
    3906, 3121, 2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87,
    70, 56, 45, 36, 29, 23, 18, 15,
];

/// The virtual time that passes for a task with a nice value while it runs for `ran` nanoseconds.
#[inline]
pub fn virtual_time(ran: u64, nice: i8) -> u64 {
    if nice == 0 { ran } else { weighted(ran, nice) }
}

fn weighted(ran: u64, nice: i8) -> u64 {
    let index = (i32::from(nice) - LEAST) as usize;
    let weight = WEIGHTS.get(index).copied().map_or(NORMAL, u64::from);
    // A second is 2^30, so this does not overflow for hours.
    ran.saturating_mul(NORMAL) / weight
}

#[cfg(test)]
mod tests {
    use super::{LEAST, MOST, virtual_time};

    #[test]
    fn each_step_is_about_a_quarter() {
        assert_eq!(virtual_time(1_000_000, 0), 1_000_000);
        for nice in LEAST..MOST {
            let [one, next] = [nice, nice + 1].map(|nice| virtual_time(1 << 30, nice as i8) as f64);
            assert!((1.15..1.35).contains(&(next / one)), "{nice}");
        }
        assert_eq!(virtual_time(1500, 19), 102_400);
        // What no task has counts as nothing special.
        assert_eq!(virtual_time(7, 100), 7);
        assert_eq!(virtual_time(u64::MAX, 19), u64::MAX / 15);
    }
}
