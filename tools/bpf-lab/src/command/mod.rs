//! The commands on programs, one file each.

#![forbid(unsafe_code)]

pub(crate) mod asm;
pub(crate) mod bench;
pub(crate) mod cost;
pub(crate) mod disasm;
pub(crate) mod jit_dump;
pub(crate) mod run;
pub(crate) mod sign;
pub(crate) mod verify;

use anyhow::Result;
use serde_json::Value;

/// Prints a value as JSON.
fn print_json(value: &Value) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
