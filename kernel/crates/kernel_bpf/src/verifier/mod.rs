//! The verifier: accepts a program only when every path through it is safe.

#![forbid(unsafe_code)]

mod options;
mod proof;
mod rejection;

pub use options::VerifyOptions;
pub use proof::{BranchFact, InsnFacts, Proof, Region, Subprogram, Verified};
pub use rejection::{Cause, PathStep, Rejection, SourceLine};
