//! What `usertests` reports: tests that were skipped have shown nothing, so it is said here which
//! may be.

use lemma::machine::Arch;

use crate::guest::Boot;

/// What the machine does not have.
fn of_machine(arch: Arch) -> &'static [&'static str] {
    match arch {
        Arch::X86_64 => &[],
        Arch::Aarch64 | Arch::Riscv64 => &[
            // Another segment base.
            "exec_segment_base_reset",
            // Instructions that enter another mode, or step singly.
            "traps_compatibility_mode",
            "traps_single_step",
            // A second way in for system calls.
            "traps_calls_by_interrupt",
            // Registers of which Linux here leaves handlers what it interrupted.
            "frames_handlers_begin_afresh",
        ],
    }
}

/// What guests have only where they are asked for: a display.
const DISPLAY: [&str; 3] = ["display_information", "display_edges", "display_pixels"];

/// What a guest of few CPUs cannot show.
const OF_CPUS: [&str; 1] = ["cpus_hogs_share_where_they_may"];

/// Runs `usertests` with these arguments, in a guest without a display: all tests must pass but
/// those that cannot run there.
pub(crate) fn pass(guest: &mut Boot, arch: Arch, cpus: u32, arguments: &str) {
    let report = guest.succeed(&format!("usertests {arguments}"));
    let of_cpus: &[_] = if cpus < 3 { &OF_CPUS } else { &[] };
    check(&report, &[of_machine(arch), &DISPLAY[..], of_cpus].concat());
}

/// Runs those tests whose names begin with `prefix`: all of them must pass.
pub(crate) fn pass_all(guest: &mut Boot, prefix: &str) {
    let report = guest.succeed(&format!("usertests {prefix}"));
    check(&report, &[]);
}

fn check(report: &str, may_be_skipped: &[&str]) {
    let skipped: Vec<_> = report
        .lines()
        .filter_map(|line| line.trim().strip_prefix("usertests: ")?.split_once(" SKIPPED: "))
        .map(|(name, _)| name)
        .collect();
    for name in &skipped {
        assert!(may_be_skipped.contains(name), "{name} may not be skipped:\n{report}");
    }
    let [passed, failed, counted] = counts(report);
    assert!(passed > 0 && failed == 0 && counted == skipped.len(), "{report}");
}

/// How many tests passed, failed and were skipped, as the report ends.
fn counts(report: &str) -> [usize; 3] {
    let last = report.lines().find_map(|line| {
        let counts = line.trim().strip_prefix("usertests: ")?.strip_suffix(" skipped")?;
        let (passed, rest) = counts.split_once(" passed, ")?;
        let (failed, skipped) = rest.split_once(" failed, ")?;
        Some([passed, failed, skipped].map(|count| count.parse().unwrap()))
    });
    last.unwrap_or_else(|| panic!("no counts in: {report}"))
}

/// On Linux it depends on the machine what is skipped; but most of all tests have to pass.
pub(crate) fn most_passed(report: &str) {
    let [passed, failed, _] = counts(report);
    assert!(passed > 200 && failed == 0, "{report}");
}

/// A report of nothing but skipped tests is not one of success.
#[test]
#[should_panic(expected = "bpf_array may not be skipped")]
fn skipped_tests_are_no_success() {
    let skipped = "usertests: bpf_array SKIPPED: bpf(2) is refused here: Operation not permitted";
    check(&format!("{skipped}\nusertests: 0 passed, 0 failed, 1 skipped\n"), &[]);
}
