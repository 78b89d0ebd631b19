//! Ways into the kernel that no program needs: instructions and processor modes that a hostile
//! one may try. Each ends at most the process that tried it. Which there are, the file of the
//! machine says; all have the same lists.

#[cfg_attr(target_arch = "x86_64", path = "traps/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "traps/aarch64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "traps/riscv64.rs")]
mod machine;

use super::family;
use crate::calls::in_child;
use crate::check::{Outcome, check, ok, skip};

family!("traps":
    compatibility_mode, breakpoints, single_step, privileged, bad_jumps, calls_by_interrupt
);

/// What is tried, how, and by which signals it may end, if it does not end with status 0.
type Case = (&'static str, fn(), &'static [u32]);

/// Runs each in a child, which must end as it should.
fn each(cases: &[Case]) -> Outcome {
    if cases.is_empty() {
        skip!("this machine has nothing of the kind");
    }
    for &(name, run, signals) in cases {
        let status = ok!(in_child(|| {
            run();
            0
        }));
        let expected = match status.signaled() {
            Some(signal) => signals.contains(&(signal as u32)),
            None => status.exited() == Some(0),
        };
        check!(expected, ": {name}: {status:?}");
    }
    Ok(())
}

fn compatibility_mode() -> Outcome {
    each(machine::OTHER_MODES)
}

fn breakpoints() -> Outcome {
    each(machine::BREAKPOINTS)
}

fn single_step() -> Outcome {
    each(machine::STEPS)
}

fn privileged() -> Outcome {
    each(machine::PRIVILEGED)
}

fn bad_jumps() -> Outcome {
    each(machine::JUMPS)
}

/// The older way in for system calls.
fn calls_by_interrupt() -> Outcome {
    machine::calls_by_interrupt()
}
