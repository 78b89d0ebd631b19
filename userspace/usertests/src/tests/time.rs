//! Clocks and sleeping.

use super::family;
use crate::calls::{self, clock_gettime, monotonic, nanosleep};
use crate::check::{Outcome, check, equal, fails, ok};
use lemma_rt::general::{
    __NR_gettimeofday, CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW,
    CLOCK_PROCESS_CPUTIME_ID, CLOCK_REALTIME, TIMER_ABSTIME, timespec,
};

family!("time": clocks, monotonic_grows, sleeps, sleep_errors, absolute_sleep, processor_time);

const NONE: timespec = timespec { tv_sec: 0, tv_nsec: 0 };

fn clocks() -> Outcome {
    for clock in [CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME] {
        let mut time = timespec { tv_sec: -1, tv_nsec: -1 };
        ok!(clock_gettime(clock, &mut time));
        check!(time.tv_sec >= 0 && (0..1_000_000_000).contains(&time.tv_nsec));
        let mut resolution = NONE;
        ok!(calls::clock_getres(clock, &mut resolution));
        check!(resolution.tv_sec == 0 && resolution.tv_nsec > 0);
    }
    let mut time = NONE;
    // After 2024 began.
    ok!(clock_gettime(CLOCK_REALTIME, &mut time));
    check!(time.tv_sec > 1_704_067_200, " it is {}", time.tv_sec);
    let mut day = [0i64; 2];
    ok!(calls::raw(__NR_gettimeofday as usize, [day.as_mut_ptr() as usize, 0, 0, 0, 0, 0]));
    check!((day[0] - time.tv_sec).abs() <= 1);
    fails!(clock_gettime(9999, &mut time), INVAL);
    let number = lemma_rt::general::__NR_clock_gettime as usize;
    fails!(calls::raw(number, [0, 8, 0, 0, 0, 0]), FAULT);
    Ok(())
}

fn monotonic_grows() -> Outcome {
    let mut last = monotonic();
    for _ in 0..10_000 {
        let now = monotonic();
        check!(now >= last);
        last = now;
    }
    Ok(())
}

fn sleeps() -> Outcome {
    for milliseconds in [1i64, 10, 50] {
        let before = monotonic();
        let mut left = NONE;
        let time = timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
        equal!(nanosleep(&time, &mut left), Ok(0));
        let took = monotonic() - before;
        check!(took >= milliseconds as u64 * 1_000_000, " {took} ns");
        check!(took < 10_000_000_000, " {took} ns");
    }
    equal!(nanosleep(&NONE, &mut NONE.clone()), Ok(0));
    Ok(())
}

fn sleep_errors() -> Outcome {
    let mut left = NONE;
    for (seconds, nanoseconds) in [(-1, 0), (0, -1), (0, 1_000_000_000)] {
        let time = timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        fails!(nanosleep(&time, &mut left), INVAL);
    }
    fails!(calls::raw(lemma_rt::general::__NR_nanosleep as usize, [8, 0, 0, 0, 0, 0]), FAULT);
    Ok(())
}

fn absolute_sleep() -> Outcome {
    let mut now = NONE;
    ok!(clock_gettime(CLOCK_MONOTONIC, &mut now));
    let total = now.tv_nsec + 30_000_000;
    let until =
        timespec { tv_sec: now.tv_sec + total / 1_000_000_000, tv_nsec: total % 1_000_000_000 };
    let mut left = NONE;
    ok!(calls::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, &mut left));
    let after = monotonic();
    check!(after >= until.tv_sec as u64 * 1_000_000_000 + until.tv_nsec as u64);
    // What has passed is no sleep at all.
    ok!(calls::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, &mut left));
    fails!(calls::clock_nanosleep(9999, 0, &until, &mut left), INVAL);
    Ok(())
}

fn processor_time() -> Outcome {
    let used = || {
        let mut time = NONE;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &mut time)
            .map(|_| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    };
    let before = ok!(used());
    let start = monotonic();
    while monotonic() - start < 30_000_000 {}
    let busy = ok!(used()) - before;
    check!(busy > 0);
    Ok(())
}
