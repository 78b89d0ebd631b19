//! The measurements: figures of the guest beside Linux's.

use anyhow::{Result, bail};

use crate::cli::BenchArguments;
use crate::workspace::Workspace;

/// Runs the measurements.
pub fn run(_workspace: &Workspace, _arguments: &BenchArguments) -> Result<u8> {
    bail!("the measurements are not there yet")
}
