//! Clocks and timers that a machine may have in the place of the usual ones.

use std::time::{Duration, Instant};

use lemma::build::Options;
use lemma::machine::Arch;
use lemma::qemu::Outcome;

use crate::guest::boot_with;
use crate::{bpf, usertests};

/// Boots, and expects these words in what start-up says of the clock. Clocks advance, sleeps and
/// time limits end, on one CPU and on several.
fn keeps_time(options: &Options, words: &str) {
    for cpus in [1, 4] {
        let mut append = options.append.clone();
        append.push("loglevel=3".to_owned());
        let mut guest = boot_with(Options { cpus, append, ..options.clone() });
        let log = guest.prompt();
        assert!(log.contains(words), "no {words:?} in:\n{log}");
        let tests = "time_ events_ epoll_ cpus_ threads_futex_t threads_timed";
        usertests::pass(&mut guest, options.arch, cpus, tests);
        // An emulated machine may be slow, but its clock is never ahead of this one.
        let start = Instant::now();
        guest.succeed("sleep 2");
        assert!(start.elapsed() > Duration::from_millis(1900), "{:?}", start.elapsed());
        bpf::programs_keep_time(&mut guest);
        guest.shut_down(0);
    }
}

#[test]
fn riscv64_without_a_timer_of_its_own_asks_firmware() {
    let cpu = Some("rv64,sstc=off".to_owned());
    keeps_time(&Options { arch: Arch::Riscv64, cpu, ..Options::default() }, "timer by SBI");
    // The other tests have the other.
    let append = ["loglevel=3", "selftest=clock"].map(str::to_owned).into();
    let guest = boot_with(Options { arch: Arch::Riscv64, append, ..Options::default() });
    let console = guest.finish(&Outcome::Exited(0));
    assert!(console.contains("timer by Sstc"), "{console}");
}

#[test]
fn x86_64_keeps_time_by_the_hpet() {
    let append = vec!["clock=hpet".to_owned()];
    keeps_time(&Options { append, ..Options::default() }, "clock: HPET");
}
