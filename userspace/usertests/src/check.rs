//! How a test says that something differs: each macro returns from the test with what was
//! expected, what was found, and where.

use alloc::string::String;
use alloc::vec::Vec;

/// Why a test did not pass.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something is not as on Linux.
    Differs(String),
    /// This system or this user cannot run the test; why.
    Skipped(String),
}

/// The result of a test.
pub(crate) type Outcome = Result<(), Failure>;

/// Measures until what is measured is as it should be more often than not, at most five times: other
/// things that the machine has to do may disturb it once. `measure` says what is not as it should be.
pub(crate) fn mostly(mut measure: impl FnMut() -> Result<Result<(), String>, Failure>) -> Outcome {
    let mut wrong = Vec::new();
    for round in 0..5 {
        if let Err(text) = measure()? {
            wrong.push(text);
        }
        if 2 * wrong.len() <= round {
            return Ok(());
        }
    }
    Err(Failure::Differs(wrong.join("; ")))
}

/// The condition holds.
macro_rules! check {
    ($condition:expr) => {
        check!($condition, "")
    };
    ($condition:expr, $($note:tt)+) => {
        if !$condition {
            return Err($crate::check::Failure::Differs(alloc::format!(
                "{}:{}: not so: {}{}",
                file!(),
                line!(),
                stringify!($condition),
                alloc::format!($($note)+)
            )));
        }
    };
}

/// Both are equal; the second is what is expected.
macro_rules! equal {
    ($found:expr, $expected:expr) => {
        match (&$found, &$expected) {
            (found, expected) => {
                if found != expected {
                    return Err($crate::check::Failure::Differs(alloc::format!(
                        "{}:{}: {} is {found:?}, expected {expected:?}",
                        file!(),
                        line!(),
                        stringify!($found),
                    )));
                }
            }
        }
    };
}

/// The call succeeds; gives its value.
macro_rules! ok {
    ($call:expr) => {
        match $call {
            Ok(value) => value,
            Err(error) => {
                return Err($crate::check::Failure::Differs(alloc::format!(
                    "{}:{}: {} failed: {}",
                    file!(),
                    line!(),
                    stringify!($call),
                    lemma_rt::error_text(error)
                )));
            }
        }
    };
}

/// The call fails with this error.
macro_rules! fails {
    ($call:expr, $errno:ident) => {
        match $call {
            Err(lemma_rt::Errno::$errno) => {}
            Err(other) => {
                return Err($crate::check::Failure::Differs(alloc::format!(
                    "{}:{}: {} failed with \"{}\", expected {}",
                    file!(),
                    line!(),
                    stringify!($call),
                    lemma_rt::error_text(other),
                    stringify!($errno)
                )));
            }
            Ok(value) => {
                return Err($crate::check::Failure::Differs(alloc::format!(
                    "{}:{}: {} gave {value:?}, expected {}",
                    file!(),
                    line!(),
                    stringify!($call),
                    stringify!($errno)
                )));
            }
        }
    };
}

/// Leaves the test: it cannot run here.
macro_rules! skip {
    ($($reason:tt)+) => {
        return Err($crate::check::Failure::Skipped(alloc::format!($($reason)+)))
    };
}

pub(crate) use {check, equal, fails, ok, skip};
