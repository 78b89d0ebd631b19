//! Helpers about text: formatted output with any number of arguments, and numbers in strings.

use super::bytes;
use super::call::{EINVAL, Environment, memory, memory_mut};
use super::format::{self, Error, MOST_ARGUMENTS};
use crate::map::MapError;

/// Longest line that is printed; what is longer is cut (Linux: `MAX_BPRINTF_BUF`).
const LINE_BYTES: usize = 1024;

/// The arguments that a program lends as an array of 64-bit words.
///
/// # Safety
/// `address` points to `length` readable bytes, or `length` is 0.
unsafe fn arguments(address: u64, length: u64) -> Option<([u64; MOST_ARGUMENTS], usize)> {
    let length = length as u32 as usize;
    if !length.is_multiple_of(8) || length > MOST_ARGUMENTS * 8 || length > 0 && address == 0 {
        return None;
    }
    let mut words = [0; MOST_ARGUMENTS];
    // SAFETY: as the caller promises.
    let given = unsafe { memory(address, length) };
    for (word, bytes) in words.iter_mut().zip(given.chunks_exact(8)) {
        *word = bytes.try_into().map_or(0, u64::from_ne_bytes);
    }
    Some((words, length / 8))
}

/// Prints the text of a template that ends within `template`; returns its length.
fn print(env: &Environment<'_>, template: &[u8], arguments: &[u64]) -> u64 {
    if !template.contains(&0) {
        return EINVAL;
    }
    let at = |place| template.get(place).copied().unwrap_or(0);
    let mut line = [0; LINE_BYTES];
    match format::format(at, arguments, &mut line, env.services) {
        Ok(length) => {
            let shown = line.len().saturating_sub(1).min(length as usize);
            env.services.trace_print(line.get(..shown).unwrap_or_default());
            length
        }
        Err(error) => number_of(error),
    }
}

fn number_of(error: Error) -> u64 {
    match error {
        Error::Invalid => EINVAL,
        Error::NoSpace => super::call::error(MapError::NoSpace),
    }
}

pub(super) unsafe fn trace_printk(env: &Environment<'_>, [r1, r2, r3, r4, r5]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved that r1 points to r2 readable bytes.
    print(env, unsafe { memory(r1, r2 as u32 as usize) }, &[r3, r4, r5])
}

pub(super) unsafe fn trace_vprintk(env: &Environment<'_>, [r1, r2, r3, r4, _]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved that r1 points to r2 and r3 to r4 readable bytes.
    let (template, given) = unsafe { (memory(r1, r2 as u32 as usize), arguments(r3, r4)) };
    let given = given.as_ref().and_then(|(words, count)| words.get(..*count));
    given.map_or(EINVAL, |given| print(env, template, given))
}

/// Returns the length of the whole text with its terminating zero, however much of it fits.
pub(super) unsafe fn snprintf(env: &Environment<'_>, [r1, r2, r3, r4, r5]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved that r1 points to r2 writable and r4 to r5 readable bytes, and
    // r3 to a zero-terminated string in a map that cannot change.
    let (out, template, given) = unsafe {
        let template = core::ffi::CStr::from_ptr(core::ptr::with_exposed_provenance(r3 as usize));
        (memory_mut(r1, r2 as u32 as usize), template.to_bytes(), arguments(r4, r5))
    };
    let at = |place| template.get(place).copied().unwrap_or(0);
    let given = given.as_ref().and_then(|(words, count)| words.get(..*count));
    let length =
        given.ok_or(Error::Invalid).and_then(|given| format::format(at, given, out, env.services));
    length.map_or_else(number_of, |length| length + 1)
}

/// Writes the number that a text begins with to `out`; returns how many bytes it takes.
///
/// # Safety
/// `out` points to 8 writable bytes.
unsafe fn store<T>(found: Result<(T, i64), i64>, out: u64, bytes: impl Fn(T) -> [u8; 8]) -> u64 {
    match found {
        Ok((value, used)) => {
            // SAFETY: as the caller promises.
            unsafe { memory_mut(out, 8) }.copy_from_slice(&bytes(value));
            used as u64
        }
        Err(error) => {
            // The program may look at it all the same.
            // SAFETY: as the caller promises.
            unsafe { memory_mut(out, 8) }.fill(0);
            error as u64
        }
    }
}

pub(super) unsafe fn strtol(_: &Environment<'_>, [r1, r2, r3, r4, _]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved that r1 points to r2 readable bytes and r4 to a number.
    unsafe { store(bytes::strtol(memory(r1, r2 as u32 as usize), r3), r4, i64::to_ne_bytes) }
}

pub(super) unsafe fn strtoul(_: &Environment<'_>, [r1, r2, r3, r4, _]: [u64; 5]) -> u64 {
    // SAFETY: as in `strtol`.
    unsafe { store(bytes::strtoul(memory(r1, r2 as u32 as usize), r3), r4, u64::to_ne_bytes) }
}
