//! Helpers that read memory which may not be there: the kernel's, and users'.
//!
//! One of the crate's few modules with `unsafe`: the verifier proved that there is room for what is
//! read.

use super::call::{EFAULT, ERANGE, Environment, memory_mut};
use super::format;
use super::services::Fault;

/// How a read has failed that was, or may have been, of the kernel's memory (Linux:
/// `copy_from_kernel_nofault`).
fn kernel_fault(env: &Environment<'_>, address: u64) -> u64 {
    if env.services.is_kernel(address) { EFAULT } else { ERANGE }
}

fn any_fault(env: &Environment<'_>, address: u64) -> u64 {
    if env.services.is_user(address) { EFAULT } else { kernel_fault(env, address) }
}

pub(super) unsafe fn probe_read(env: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved that r1 points to r2 writable bytes.
    let out = unsafe { memory_mut(r1, r2 as usize) };
    read_or_zero(out, |out| env.services.read_any(out, r3), || any_fault(env, r3))
}

pub(super) unsafe fn probe_read_str(env: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: as in `probe_read`.
    let out = unsafe { memory_mut(r1, r2 as usize) };
    let read = |out: &mut [u8], address| env.services.read_any(out, address);
    read_string(out, r3, read, || any_fault(env, r3))
}

pub(super) unsafe fn probe_read_kernel(env: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved that r1 points to r2 writable bytes.
    let out = unsafe { memory_mut(r1, r2 as usize) };
    read_or_zero(out, |out| env.services.read_kernel(out, r3), || kernel_fault(env, r3))
}

pub(super) unsafe fn probe_read_user(env: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: as in `probe_read_kernel`.
    let out = unsafe { memory_mut(r1, r2 as usize) };
    read_or_zero(out, |out| env.services.read_user(out, r3), || EFAULT)
}

/// Linux zeroes what it could not fill.
fn read_or_zero(
    out: &mut [u8],
    read: impl FnOnce(&mut [u8]) -> Result<(), Fault>,
    fault: impl FnOnce() -> u64,
) -> u64 {
    if read(out).is_ok() {
        return 0;
    }
    out.fill(0);
    fault()
}

pub(super) unsafe fn probe_read_kernel_str(
    env: &Environment<'_>,
    [r1, r2, r3, ..]: [u64; 5],
) -> u64 {
    // SAFETY: as in `probe_read_kernel`.
    let out = unsafe { memory_mut(r1, r2 as usize) };
    let read = |out: &mut [u8], address| env.services.read_kernel(out, address);
    read_string(out, r3, read, || kernel_fault(env, r3))
}

pub(super) unsafe fn probe_read_user_str(env: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: as in `probe_read_kernel`.
    let out = unsafe { memory_mut(r1, r2 as usize) };
    read_string(out, r3, |out, address| env.services.read_user(out, address), || EFAULT)
}

/// Copies up to and with the terminating zero; returns the length with it. What is longer is
/// cut and terminated.
fn read_string(
    out: &mut [u8],
    address: u64,
    read: impl FnMut(&mut [u8], u64) -> Result<(), Fault>,
    fault: impl FnOnce() -> u64,
) -> u64 {
    if out.is_empty() {
        return 0;
    }
    match format::copy_string(out, address, read) {
        Ok(length) => length as u64,
        Err(Fault) => {
            out.fill(0);
            fault()
        }
    }
}
